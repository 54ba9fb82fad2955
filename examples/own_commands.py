"""
Commands of one's own on the cluster's links, in both directions::

    own_commands.py master PORT HOME KEYFILE
    own_commands.py worker ADDRESS PORT HOME KEYFILE

The master asks each worker that joined for its load; a worker greets the master when
it joined.
"""

import os
import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, serverFromString
from twisted.internet.task import LoopingCall, react
from twisted.protocols import amp

from wazuh_cluster.errors import ClusterError
from wazuh_cluster.integrity import WAZUH_ITEMS, DirectoryTree
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import MASTER, WORKER, NodeName
from wazuh_cluster.protocol import ClusterCommand
from wazuh_cluster.trust import ClusterKey
from wazuh_cluster.worker import WorkerService


class AskLoad(ClusterCommand):
    """
    How busy are you? Sent by: master.
    """

    commandName = b"example.AskLoad"
    senders = frozenset({MASTER})
    arguments = [(b"minutes", amp.Integer())]
    response = [(b"load", amp.Float())]
    errors = {ValueError: b"NOT_MEASURED"}


class Greet(ClusterCommand):
    """
    I am here. Sent by: worker.
    """

    commandName = b"example.Greet"
    senders = frozenset({WORKER})
    arguments = [(b"processors", amp.Integer())]
    response = [(b"text", amp.Unicode())]


class WorkerCommands(amp.CommandLocator):
    """
    What a worker answers its master.
    """

    @AskLoad.responder
    def askLoad(self, minutes):
        if minutes not in (1, 5, 15):
            raise ValueError(f"the load of {minutes} minutes is not measured")
        return {"load": dict(zip((1, 5, 15), os.getloadavg(), strict=True))[minutes]}


class MasterCommands(amp.CommandLocator):
    """
    What the master answers one of its workers.
    """

    def __init__(self, session):
        super().__init__()
        self.session = session

    @Greet.responder
    def greet(self, processors):
        name = self.session.identity.name
        print(f"{name} has {processors} processors", flush=True)
        return {"text": f"welcome, {name}"}


class GreetingWorker(WorkerService):
    """
    A worker that says something as soon as it joined.
    """

    def linkUp(self, peer, master):
        super().linkUp(peer, master)
        Deferred.fromCoroutine(self.sayHello(peer)).addErrback(complain)

    async def sayHello(self, peer):
        answer = await peer.call(Greet, processors=os.cpu_count() or 1)
        print("the master says:", answer["text"], flush=True)


async def askAll(master):
    """Ask each worker that is joined now."""
    for session in master.node.roster:
        name = session.identity.name
        answer = await session.peer.call(AskLoad, minutes=1)
        print(f"{name} has a load of {answer['load']:.2f}", flush=True)
        try:
            await session.peer.call(AskLoad, minutes=2)
        except ValueError as error:
            print(f"{name} answers: {error}", flush=True)


def complain(failure):
    failure.trap(ClusterError, amp.UnhandledCommand)
    print("not answered:", failure.getErrorMessage(), flush=True)


def readKey(path):
    with open(path) as file:
        return ClusterKey(file.read().strip())


async def runMaster(reactor, port, home, keyFile):
    master = MasterService(
        reactor,
        NodeName("hub"),
        readKey(keyFile),
        serverFromString(reactor, f"tcp:{port}"),
        DirectoryTree(home, WAZUH_ITEMS),
        locators=[MasterCommands],
    )
    master.startService()
    reactor.addSystemEventTrigger("before", "shutdown", master.stopService)
    asking = LoopingCall(lambda: Deferred.fromCoroutine(askAll(master)).addErrback(complain))
    asking.clock = reactor
    await asking.start(1.0)


async def runWorker(reactor, address, port, home, keyFile):
    worker = GreetingWorker(
        reactor,
        NodeName("siem-7"),
        readKey(keyFile),
        HostnameEndpoint(reactor, address, int(port)),
        DirectoryTree(home, WAZUH_ITEMS),
        locators=[WorkerCommands()],
    )
    worker.startService()
    reactor.addSystemEventTrigger("before", "shutdown", worker.stopService)
    await Deferred()  # until the process is stopped


react({"master": runMaster, "worker": runWorker}[sys.argv[1]], sys.argv[2:])
