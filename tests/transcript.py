"""
Record what two nodes say to each other, for C{protocol.rst}.

A master and a worker of this package run in one process, over TLS, on a network and a
file system in memory and a clock that only this module moves. What is recorded is
therefore the same each time. L{tests.manual} keeps it in C{docs/transcript.txt}.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from twisted.internet.task import Clock
from twisted.protocols import amp
from twisted.protocols.policies import WrappingFactory
from zope.interface import implementer

from wazuh_cluster import __version__
from wazuh_cluster.integrity import DirectoryTree
from wazuh_cluster.interfaces import IClusterTrust
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import NodeName
from wazuh_cluster.protocol import COMMANDS, KeepAlive, Limits
from wazuh_cluster.protocol.arguments import Octets
from wazuh_cluster.protocol.boxes import BoxParser
from wazuh_cluster.testing.filesystem import MemoryFileSystem
from wazuh_cluster.testing.network import MemoryNetwork
from wazuh_cluster.testing.runner import ImmediateRunner
from wazuh_cluster.testing.state import MemoryState
from wazuh_cluster.testing.trust import testTrust
from wazuh_cluster.worker import WorkerService

#: When it happens, in seconds since the epoch.
NOW = 1_800_000_000

#: Octets of a value that are shown.
SHOWN = 24


class Conversation:
    """
    All boxes of a link, in the order in which they arrive.
    """

    def __init__(self) -> None:
        self.boxes: list[tuple[str, dict[bytes, bytes]]] = []

    def text(self, since: int = 0) -> str:
        """
        It as people read it.
        """
        asked: dict[tuple[str, bytes], bytes] = {}
        parts = []
        for number, (sender, box) in enumerate(self.boxes):
            if amp.ASK in box:
                asked[sender, box[amp.ASK]] = box[amp.COMMAND]
            if number >= since:
                parts.append("\n".join(_lines(sender, box, asked)))
        return "\n\n".join(parts) + "\n"


class Ear:
    """
    Hears what a peer receives.
    """

    def __init__(self, peer: Any, sender: str, conversation: Conversation) -> None:
        self._sender = sender
        self._conversation = conversation
        self._parser = BoxParser(self._heard, 16, 70_000)
        self._received = peer.dataReceived

    def dataReceived(self, data: bytes) -> None:
        self._parser.feed(data)
        self._received(data)

    def _heard(self, box: amp.AmpBox) -> None:
        self._conversation.boxes.append((self._sender, dict(box)))


class _Listening(WrappingFactory):
    """
    Puts an ear on each peer of a factory.
    """

    noisy = False

    def __init__(self, factory: Any, sender: str, conversation: Conversation) -> None:
        super().__init__(factory)
        self._sender = sender
        self._conversation = conversation

    def buildProtocol(self, addr: Any) -> Any:
        peer: Any = self.wrappedFactory.buildProtocol(addr)
        peer.dataReceived = Ear(peer, self._sender, self._conversation).dataReceived
        return peer


@implementer(IClusterTrust)
class HeardTrust:
    """
    A trust whose links are heard within TLS.
    """

    def __init__(self, inner: Any, conversation: Conversation) -> None:
        self.identity = inner.identity
        self._inner = inner
        self._conversation = conversation

    def wrapServer(self, factory: Any, clock: Any) -> Any:
        return self._inner.wrapServer(_Listening(factory, "worker", self._conversation), clock)

    def wrapClient(self, factory: Any, clock: Any) -> Any:
        return self._inner.wrapClient(_Listening(factory, "master", self._conversation), clock)

    def peerIdentity(self, transport: object) -> Any:
        return self._inner.peerIdentity(transport)


def record() -> str:
    """
    Let a worker join a master, take over its files, and follow an edit.
    """
    clock = Clock()
    clock.advance(NOW)
    files = MemoryFileSystem(clock)
    network = MemoryNetwork(clock)
    heard = Conversation()
    for home in (b"/hub", b"/siem"):
        files.makeFolders(home + b"/etc")
    for path, content in _FILES.items():
        files.put(b"/hub/" + path, content, 0o660, NOW - 86_400)
    master = MasterService(
        clock,
        NodeName("hub"),
        HeardTrust(testTrust("master", "hub"), heard),
        network.server("hub"),
        _tree(b"/hub", files, clock),
        state=_state(b"\x11"),
        runner=lambda name: ImmediateRunner(),
        wallClock=clock.seconds,
        memory=lambda: 40_000_000,
        uptime=clock.seconds,
    )
    worker = WorkerService(
        clock,
        NodeName("siem-7"),
        HeardTrust(testTrust("worker", "siem-7"), heard),
        network.client("hub"),
        _tree(b"/siem", files, clock),
        state=_state(b"\x77"),
        # So small that a word of credit is heard.
        limits=Limits(window=1024 * 1024),
        runner=lambda name: ImmediateRunner(),
        wallClock=clock.seconds,
        memory=lambda: 40_000_000,
        uptime=clock.seconds,
        random=lambda size: b"\x70" * size,
        jitter=lambda: 0.0,
        wazuhStarts=lambda: (),
    )
    master.startService()
    worker.startService()
    clock.advance(0)
    joining = len(heard.boxes)
    # Some seconds before the next look of the worker, so that it is the master's word
    # that wakes it up.
    clock.pump([1.0] * 5)
    files.put(b"/hub/etc/rules/local_rules.xml", b"<group>two</group>\n", 0o660, NOW)
    clock.pump([1.0] * 3)
    for service in (worker, master):
        service.stopService()
    clock.pump([0.5] * 6)
    assert not clock.getDelayedCalls(), clock.getDelayedCalls()
    assert joining < len(heard.boxes)
    return heard.text().replace(f"wazuh_cluster {__version__}", "wazuh_cluster VERSION")


def boxInFull() -> str:
    """
    One small box, octet by octet.
    """
    box = amp.AmpBox(
        {
            b"_ask": b"2",
            b"_command": KeepAlive.commandName,
            b"clock": KeepAlive.arguments[0][1].toString(NOW * 1_000_000),
        }
    )
    octets = box.serialize()
    lines = []
    position = 0
    for key, value in sorted(box.items()):
        for what, part in (("key", key), ("value", value)):
            lines.append(f"{_hex(octets[position : position + 2])}  length of the {what}")
            position += 2
            for start in range(0, len(part), 16):
                piece = part[start : start + 16]
                assert octets[position : position + len(piece)] == piece
                lines.append(f"{_hex(piece)}  {piece.decode('ascii')}")
                position += len(piece)
    lines.append(f"{_hex(octets[position:])}  end of the box")
    assert octets[position:] == b"\0\0"
    width = max(len(line.partition("  ")[0]) for line in lines)
    return "".join(
        f"{before:<{width}}  {after}\n" for before, _, after in (x.partition("  ") for x in lines)
    )


_FILES = {
    b"etc/client.keys": b"001 web-1 any " + b"3f" * 32 + b"\n",
    b"etc/lists/blocked": b"".join(b"10.0.%d.%d:bad\n" % (n >> 8, n & 255) for n in range(18_000)),
    b"etc/rules/local_rules.xml": b"<group>one</group>\n",
}


def _tree(path: bytes, files: MemoryFileSystem, clock: Clock) -> DirectoryTree:
    numbers = count()
    return DirectoryTree(
        path,
        fileSystem=files,
        wallClock=clock.seconds,
        randomBytes=lambda size: next(numbers).to_bytes(size, "big"),
    )


def _state(octet: bytes) -> MemoryState:
    state = MemoryState()
    state.save("home-id", (octet * 16).hex().encode("ascii") + b"\n")
    return state


def _lines(
    sender: str, box: dict[bytes, bytes], asked: dict[tuple[str, bytes], bytes]
) -> Iterator[str]:
    other = "worker" if sender == "master" else "master"
    if amp.COMMAND in box:
        name = box[amp.COMMAND]
        kinds = dict(COMMANDS[name].arguments)
        title = name.decode("ascii")
    else:
        kind = amp.ANSWER if amp.ANSWER in box else amp.ERROR
        name = asked[other, box[kind]]
        kinds = dict(COMMANDS[name].response)
        title = f"{'answer to' if kind == amp.ANSWER else 'refusal of'} {name.decode('ascii')}"
    yield f"{sender} to {other}: {title}"
    order = [amp.ASK, amp.ANSWER, amp.ERROR, amp.COMMAND, *kinds]
    for key in sorted(box, key=lambda each: order.index(each) if each in order else 99):
        yield f"    {key.decode('ascii')} = {_shown(box[key], kinds.get(key))}"


def _shown(value: bytes, kind: object) -> str:
    if not isinstance(kind, Octets):
        text = value.decode("utf-8")
        return text.replace("\n", "\n        ") if text else "(empty)"
    if len(value) <= 32:
        return _hex(value).replace(" ", "")
    return f"{len(value)} octets, {_hex(value[:SHOWN])} ..."


def _hex(octets: bytes) -> str:
    return octets.hex(" ")
