"""An application that embeds a worker tests itself in a simulated cluster, under faults."""

from twisted.application.service import MultiService
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.journal import Journal
from wazuh_cluster.periodic import Periodic
from wazuh_cluster.testing.simulation import Files, Part, Setup, describe, makeWorker, run


class Sensor(MultiService):  # a worker, and what loads a rule of its now and then
    def __init__(self, worker, clock, tree, runner):
        super().__init__()
        self.loaded, self.tree, self.thread = None, tree, runner("sensor")
        worker.setServiceParent(self)
        Periodic("Load", 10.0, self.load, clock, Journal("Sensor")).setServiceParent(self)

    async def load(self):
        self.loaded = await self.thread.call(self.tree.content, b"etc/rules/r0.xml")

    def stopService(self):
        self.thread.stop()
        return super().stopService()


class Loaded(Part):  # what is to be so when faults have ended
    def unwell(self):
        for machine in self.cluster.workers:
            rule = machine.disk.contentOf(machine.path(b"etc/rules/r0.xml"))
            if not machine.process or machine.process.service.loaded != rule:
                return f"{machine.name} has not loaded its rule"


class SensorTests(SynchronousTestCase):
    def test_whateverBefalls(self):
        make = lambda p: Sensor(makeWorker(p), p.clock, p.tree, p.makeRunner)  # noqa: E731
        for seed in range(5):
            result = run(Setup(seed), lambda: [Files(), Loaded()], makeWorker=make)
            self.assertIsNone(result.problem, describe(result))
