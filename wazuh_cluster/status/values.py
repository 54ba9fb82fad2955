"""
What is known of a cluster and its nodes: frozen values that travel as JSON, see
L{wazuh_cluster.status.codec}.

All times are in seconds since the epoch by the clock of the node that answers.
Texts of a node are its own words: who shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, evolve, frozen

#: What a node is.
JOINED = "joined"
LEFT = "left"
FAILED = "failed"
STATES = (JOINED, LEFT, FAILED)

#: The verdicts, from the best to the worst.
OK = "OK"
WARN = "WARN"
ERROR = "ERROR"
VERDICTS = (OK, WARN, ERROR)


@frozen
class ThreadStatus:
    """
    One thread of a node.

    @ivar interval: seconds from one run to the next.
    @ivar running: whether a run is under way.
    @ivar started: when the last run began.
    @ivar ended: when the last one that ended did so, if none runs now.
    @ivar duration: how long that took, in seconds.
    @ivar result: one line that it gave.
    @ivar failure: one line, if it failed.
    @ivar kind: what kind of failure that is: C{disk}, C{damaged}, C{link} or
        C{other}.
    @ivar runs: how many were begun since the process was.
    @ivar failures: how many of them failed.
    @ivar hung: whether the run under way takes far too long.
    """

    name: str
    interval: float
    running: bool = False
    started: float | None = None
    ended: float | None = None
    duration: float | None = None
    result: str | None = None
    failure: str | None = None
    kind: str | None = None
    runs: int = 0
    failures: int = 0
    hung: bool = False


@frozen
class Completion:
    """
    How far a node's files are the master's.

    @ivar files: how many the master has.
    @ivar bytes: how many bytes that is.
    @ivar filesToGo: how many the node does not have as they are there.
    @ivar bytesToGo: how many bytes of them are still to come.
    """

    files: int = 0
    bytes: int = 0
    filesToGo: int = 0
    bytesToGo: int = 0

    @property
    def percent(self) -> float:
        """
        From 0 to 100; 100 only if nothing is to go.
        """
        if not (self.filesToGo or self.bytesToGo):
            return 100.0
        total, left = self.files + self.bytes, self.filesToGo + self.bytesToGo
        return min(99.9, max(0.0, round(100 * (1 - left / total), 1))) if total else 0.0


@frozen
class LastSync:
    """
    What the last installation on a node did.

    @ivar at: when it ended.
    @ivar generation: the number of the generation that it was about.
    @ivar created: how many files were.
    @ivar updated: likewise.
    @ivar deleted: likewise.
    @ivar mended: of how many only time, mode or owner were.
    @ivar failed: how many could not be installed.
    @ivar received: how many bytes came.
    @ivar seconds: how long it took.
    """

    at: float
    generation: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    mended: int = 0
    failed: int = 0
    received: int = 0
    seconds: float = 0.0


@frozen
class FileTrouble:
    """
    A file, and one line on what is wrong with it.
    """

    path: str
    why: str


@frozen
class RestartStatus:
    """
    That Wazuh must be restarted on a node before files are in use.

    @ivar since: when the first of the files came.
    @ivar count: how many there are.
    @ivar files: the first of them.
    """

    since: float
    count: int
    files: tuple[str, ...] = ()


@frozen
class Trouble:
    """
    Something that a node says of itself.

    @ivar name: that of a reason.
    @ivar text: one line: what it is, and what to do.
    """

    name: str
    text: str


@frozen
class NodeReport:
    """
    What a node knows of itself, and a worker tells its master of that.

    @ivar started: when its process began.
    @ivar memory: how many bytes of memory it has.
    @ivar completion: how far its files are the master's.
    @ivar lastSync: C{None} before the first; always on a master.
    @ivar failed: the first files that could not be installed.
    @ivar holds: what it holds back for a person, a line each.
    @ivar restartDue: C{None} if none is.
    @ivar troubles: what else is wrong.
    @ivar threads: by name.
    @ivar chunks: how many batches its last run of Agent info sent.
    @ivar roundTrip: of its last keep-alive, in seconds.
    @ivar clockOffset: its wall clock minus the master's, in seconds.
    """

    started: float | None = None
    memory: int = 0
    completion: Completion = Completion()
    lastSync: LastSync | None = None
    failed: tuple[FileTrouble, ...] = ()
    holds: tuple[str, ...] = ()
    restartDue: RestartStatus | None = None
    troubles: tuple[Trouble, ...] = ()
    threads: tuple[ThreadStatus, ...] = ()
    chunks: int = 0
    roundTrip: float | None = None
    clockOffset: float | None = None

    def brief(self) -> NodeReport:
        """
        The same without what can be of any size.
        """
        due = self.restartDue
        return evolve(
            self,
            failed=(),
            holds=(),
            restartDue=None if due is None else evolve(due, files=()),
            troubles=(),
            threads=(),
        )

    def shifted(self, seconds: float) -> NodeReport:
        """
        The same by another clock, which is ahead by so much.
        """

        def moved(time: float | None) -> float | None:
            return None if time is None else time + seconds

        sync, due = self.lastSync, self.restartDue
        return evolve(
            self,
            started=moved(self.started),
            lastSync=None if sync is None else evolve(sync, at=sync.at + seconds),
            restartDue=None if due is None else evolve(due, since=due.since + seconds),
            threads=tuple(
                evolve(each, started=moved(each.started), ended=moved(each.ended))
                for each in self.threads
            ),
        )


@frozen
class NodeStatus:
    """
    One node, as far as whoever answers knows.

    @ivar role: L{MASTER<wazuh_cluster.model.MASTER>} or
        L{WORKER<wazuh_cluster.model.WORKER>}.
    @ivar state: C{joined}; C{left}, if it was stopped; C{failed}, if its link
        ended otherwise and did not come back.
    @ivar since: since when it is that.
    @ivar why: one line on why it is not joined.
    @ivar address: where it is, for people.
    @ivar software: name and version of its cluster software.
    @ivar wazuhVersion: the manager's version; or empty.
    @ivar lastKeepAlive: when the master heard one of it.
    @ivar lastCheck: when its files were last compared with the master's.
    @ivar generation: the number of the generation that it was last seen to
        have; 0 if none is known.
    @ivar current: whether that is the master's now.
    @ivar behindSince: since when its files are not, if they are not.
    @ivar agents: how many agents were heard there last, by their status.
    @ivar report: what it says of itself.
    """

    name: str
    role: str
    state: str = JOINED
    since: float = 0.0
    why: str = ""
    address: str = ""
    software: str = ""
    wazuhVersion: str = ""
    lastKeepAlive: float | None = None
    lastCheck: float | None = None
    generation: int = 0
    current: bool = False
    behindSince: float | None = None
    agents: Mapping[str, int] = Factory(dict)
    report: NodeReport = NodeReport()

    @property
    def version(self) -> str:
        """
        What tables show: the manager's version, else that of the software.
        """
        return self.wazuhVersion or self.software.rpartition(" ")[2]


@frozen
class Reason:
    """
    One reason for a verdict that is not L{OK}.

    @ivar name: see L{wazuh_cluster.status.reasons}.
    @ivar severity: L{WARN} or L{ERROR}.
    @ivar node: which node it is about; or empty.
    @ivar text: one line: what it is, and what to do.
    """

    name: str
    severity: str
    node: str
    text: str

    def line(self) -> str:
        """
        For people: C{NODE_STALE: worker-2, last seen 3 min ago}.
        """
        about = f"{self.node}, " if self.node else ""
        return f"{self.name}: {about}{self.text}"


@frozen
class Health:
    """
    A verdict and its reasons.

    @ivar verdict: L{OK}, L{WARN} or L{ERROR}.
    @ivar reasons: the worst first.
    @ivar more: how many there are besides.
    """

    verdict: str = OK
    reasons: tuple[Reason, ...] = ()
    more: int = 0


@frozen
class ClusterStatus:
    """
    A cluster, as its master knows it.

    @ivar now: when this was so.
    @ivar cluster: its name.
    @ivar master: the master's node name.
    @ivar health: the verdict.
    @ivar generation: the number of the current generation; 0 before the first.
    @ivar root: its root, in hexadecimal digits.
    @ivar files: how many files it has.
    @ivar bytes: how many bytes that is.
    @ivar nodes: how many nodes have each state, the master included.
    @ivar agents: how many agents have each status; empty where none are kept.
    @ivar events: the number of the last event.
    """

    now: float
    cluster: str
    master: str
    health: Health
    generation: int = 0
    root: str = ""
    files: int = 0
    bytes: int = 0
    nodes: Mapping[str, int] = Factory(dict)
    agents: Mapping[str, int] = Factory(dict)
    events: int = 0


@frozen
class OwnStatus:
    """
    What a node knows itself, without asking anybody.

    @ivar now: when this was so.
    @ivar cluster: the cluster's name.
    @ivar node: the node.
    @ivar health: of this node alone.
    """

    now: float
    cluster: str
    node: NodeStatus
    health: Health


@frozen
class Event:
    """
    Something that happened.

    @ivar number: counts up by one with each; from 1 when a process begins.
    @ivar at: when.
    @ivar kind: one word: see L{wazuh_cluster.status.events}.
    @ivar node: which node it is about; or empty.
    @ivar text: one line.
    """

    number: int
    at: float
    kind: str
    node: str
    text: str


@frozen
class EventPage:
    """
    Some events.

    @ivar ring: names the process that counts: with another one, numbers begin
        anew.
    @ivar events: by number; if the first does not follow what was asked for,
        those between are gone.
    @ivar last: the number of the last event that there is.
    """

    ring: str
    events: tuple[Event, ...]
    last: int


@frozen
class FileFacts:
    """
    A file as one node has it.

    @ivar size: in bytes.
    @ivar mtime: in seconds since the epoch.
    @ivar digest: in hexadecimal digits.
    """

    size: int
    mtime: int
    digest: str


@frozen
class Explanation:
    """
    Why a file is, or is not, in sync on a node.

    @ivar node: which.
    @ivar path: relative to the home.
    @ivar verdict: one of L{wazuh_cluster.status.explaining}.
    @ivar text: one line on that, and what to do.
    @ivar item: the rule that applies, for people.
    @ivar algorithm: of the digests.
    @ivar here: the file there; C{None} if it has none.
    @ivar master: the file on the master; likewise.
    @ivar generation: the number of the generation that is compared with.
    @ivar looked: when the node looked last.
    @ivar held: why the node leaves it as it is, if it does; or empty.
    @ivar failure: the last error about this file; or empty.
    @ivar again: in how many seconds it is tried again, if that is known.
    """

    node: str
    path: str
    verdict: str = ""
    text: str = ""
    item: str = ""
    algorithm: str = ""
    here: FileFacts | None = None
    master: FileFacts | None = None
    generation: int = 0
    looked: float | None = None
    held: str = ""
    failure: str = ""
    again: float | None = None


@frozen
class SyncOutcome:
    """
    What came of a run that somebody asked for.

    @ivar node: where.
    @ivar thread: which thread it is.
    @ivar ended: whether it has ended.
    @ivar result: one line that it gave.
    @ivar failure: one line, if it failed.
    @ivar seconds: how long it took, or takes already.
    @ivar sync: what was installed, if anything was.
    @ivar files: of each file what was done with it, or why that failed: the
        first of them, if that was asked for.
    @ivar more: how many files there are besides.
    @ivar completion: how far it is, while it runs.
    """

    node: str
    thread: str
    ended: bool
    result: str = ""
    failure: str = ""
    seconds: float = 0.0
    sync: LastSync | None = None
    files: tuple[FileTrouble, ...] = ()
    more: int = 0
    completion: Completion = Completion()
