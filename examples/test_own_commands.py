"""
How an application tests commands of its own: both ends of a link, in memory.
"""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.model import WORKER
from wazuh_cluster.protocol import ClusterCommand
from wazuh_cluster.testing.peers import connectPeers


class Double(ClusterCommand):
    """
    Twice the number, please. Sent by: worker.
    """

    commandName = b"example.Double"
    senders = frozenset({WORKER})
    arguments = [(b"number", amp.Integer())]
    response = [(b"number", amp.Integer())]


class Doubler(amp.CommandLocator):
    @Double.responder
    def double(self, number):
        return {"number": 2 * number}


class DoubleTests(SynchronousTestCase):
    def test_answered(self):
        """
        The master answers with twice the number.
        """
        pair = connectPeers(Clock(), masterLocators=[Doubler()])
        asked = Deferred.fromCoroutine(pair.worker.call(Double, number=21))
        self.assertNoResult(asked)
        pair.settle()
        self.assertEqual({"number": 42}, self.successResultOf(asked))
        pair.worker.close()
        pair.clock.pump([1, 1])
