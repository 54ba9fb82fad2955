"""
The ports: what the rooms of this package need from the world, and what an
adapter must guarantee.

Blocking work is written as I{slices}: a generator that yields C{None} about
every 50 ms and at the latest every 100 ms of work, and returns its result. An
L{IRunner} drives it away from the reactor's thread, looks at its stop flag
between slices, and closes the generator when the work is no longer wanted, so
C{finally} blocks release what is held. A test's runner drives it at once.
"""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory, IReactorTime

    from wazuh_cluster.integrity.compare import Comparison
    from wazuh_cluster.integrity.folders import Owner
    from wazuh_cluster.integrity.install import Outcome
    from wazuh_cluster.integrity.installed import Installed
    from wazuh_cluster.integrity.manifest import Manifest
    from wazuh_cluster.integrity.pack import PackSource
    from wazuh_cluster.integrity.plan import Plan
    from wazuh_cluster.integrity.snapshot import Snapshot
    from wazuh_cluster.integrity.staging import Staging
    from wazuh_cluster.integrity.wants import Wants
    from wazuh_cluster.model import Identity, MasterInfo, SyncReport

T = TypeVar("T")

#: Blocking work in slices; see the module's text.
Slices = Generator[None, None, T]


class IRunner(Interface):
    """
    Where blocking work runs.
    """

    def run(work: Slices[T]) -> Deferred[T]:
        """
        Drive C{work} to its end.

        Works given to one runner never overlap and run in the order given.
        Cancelling the Deferred stops the work before its next slice, closes it
        and fires the Deferred with C{CancelledError} at once, whether or not a
        slice hangs.
        """

    def call(function: Callable[..., T], *args: object) -> Deferred[T]:
        """
        Call a function that takes at most about 100 ms.
        """

    def stop() -> None:
        """
        Stop all that runs or waits, as by cancelling, and take nothing more.
        Never waits: a slice that hangs is left to its daemon thread.
        """


class IFileSystem(Interface):
    """
    The file system, as primitives that can be counted, delayed and crashed.

    All calls block. Names are C{bytes}, one component each, never C{b"."},
    C{b".."}, empty, or with a slash or NUL: an adapter raises C{ValueError} for
    those. All failures are C{OSError} with C{errno}.
    """

    def openFolder(path: bytes) -> IFolder:
        """
        Open an absolute path that the operator chose, following links.
        """

    def syncAll(folders: Iterable[IFolder]) -> None:
        """
        Make everything written on the file systems of these folders durable,
        each file system once (C{syncfs}).
        """


class IFolder(Interface):
    """
    An open folder. What happens below it cannot leave it: no call but
    L{openLinked} follows a link.
    """

    device = Attribute("The number of the file system on which it is, an int.")
    inode = Attribute("Its number there, an int.")
    room = Attribute("How many bytes its file system still takes, as far as that tells, an int.")
    owner = Attribute("The folder's own user and group, two numbers.")

    def entries() -> list[tuple[bytes, FileStat]]:
        """
        What is in the folder, unsorted, each with its status (of the link
        itself where it is one). What vanishes meanwhile is left out.
        """

    def names() -> Iterator[tuple[bytes, bool]]:
        """
        The names in the folder, unsorted, each with whether it is a folder. It
        may be left before its end; two of them must not run at the same time.
        """

    def status(name: bytes) -> FileStat:
        """
        The status of one entry (of the link itself where it is one).
        """

    def countSame(
        names: Sequence[bytes],
        sizes: Sequence[int],
        mtimesNs: Sequence[int],
        ctimesNs: Sequence[int],
        inodes: Sequence[int],
    ) -> int:
        """
        How many of these entries, from the first on, have the size, the times
        and the inode that stand at their place; it ends at one that cannot be
        looked at. There may be more statuses than names.
        """

    def openFolder(name: bytes) -> IFolder:
        """
        Open the folder C{name}; C{ELOOP} or C{ENOTDIR} if it is a link.
        """

    def openRead(name: bytes) -> IOpenFile:
        """
        Open a regular file for reading without following a link and without
        waiting for a writer of a FIFO; C{ELOOP} for a link, C{EINVAL} for any
        other special file.
        """

    def openLinked(
        name: bytes, allowed: Sequence[bytes], denied: Sequence[bytes] = ()
    ) -> IOpenFile:
        """
        Open for reading the regular file to which the link C{name} leads, if
        what was opened lies in one of the C{allowed} folders and neither is nor
        lies in one of the C{denied} files and folders (absolute paths, whose
        own links are resolved); C{EACCES} otherwise, C{EINVAL} for a special
        file.
        """

    def create(name: bytes, mode: int) -> IOpenFile:
        """
        Create a file that must not exist yet and open it for writing, with
        exactly this mode whatever the umask.
        """

    def openWrite(name: bytes) -> IOpenFile:
        """
        Open an existing regular file for reading and writing without following
        a link and without cutting it.
        """

    def makeFolder(name: bytes, mode: int) -> None:
        """
        Make a folder with exactly this mode whatever the umask.
        """

    def rename(name: bytes, target: IFolder, newName: bytes) -> None:
        """
        Move to C{newName} in C{target}, replacing a file there.
        """

    def unlink(name: bytes) -> None:
        """
        Remove a file, or a link itself.
        """

    def removeFolder(name: bytes) -> None:
        """
        Remove an empty folder.
        """

    def setOwner(name: bytes, uid: int, gid: int) -> None:
        """
        Set the owner of an entry, of the link itself where it is one.
        """

    def setMode(name: bytes, mode: int) -> None:
        """
        Set the permissions of a regular file or folder; never of what a link
        leads to.
        """

    def setTimes(name: bytes, mtime: float) -> None:
        """
        Set the access and modification time of an entry, in seconds; of the
        link itself where it is one.
        """

    def sync() -> None:
        """
        Make the folder's entries durable.
        """

    def close() -> None:
        """
        Close it; a second time does nothing.
        """


class IOpenFile(Interface):
    """
    An open regular file.
    """

    def status() -> FileStat:
        """
        The status of the open file.
        """

    def read(size: int) -> bytes:
        """
        At most C{size} bytes; C{b""} at the end.
        """

    def write(data: bytes | memoryview) -> None:
        """
        Write all of C{data} at the position.
        """

    def seek(offset: int) -> None:
        """
        Go to a position, in bytes from the beginning.
        """

    def truncate(size: int) -> None:
        """
        Cut or lengthen the file.
        """

    def setMode(mode: int) -> None:
        """
        Set the permissions, whatever the umask.
        """

    def setOwner(uid: int, gid: int) -> None:
        """
        Set owner and group.
        """

    def setTimes(mtime: float) -> None:
        """
        Set access and modification time, in seconds.
        """

    def sync() -> None:
        """
        Make content and status durable (C{fsync}).
        """

    def again() -> IOpenFile:
        """
        Another handle on the same file, whatever became of its name, with a
        position of its own, at the beginning. Both are to be closed.
        """

    def close() -> None:
        """
        Close it; a second time does nothing.
        """


class FileStat(tuple[int, int, int, int, int, int, int, int, int]):
    """
    A file's status. A tuple, because there are a hundred thousand of them:
    (kind and permissions as C{st_mode}, size, mtime in ns, ctime in ns, inode,
    device, owner, group, links).
    """

    __slots__ = ()

    mode = property(lambda self: self[0])
    size = property(lambda self: self[1])
    mtimeNs = property(lambda self: self[2])
    ctimeNs = property(lambda self: self[3])
    inode = property(lambda self: self[4])
    device = property(lambda self: self[5])
    uid = property(lambda self: self[6])
    gid = property(lambda self: self[7])
    links = property(lambda self: self[8])


class IState(Interface):
    """
    Where a node keeps what it must know after a restart: small named texts.
    All calls block.
    """

    def load(name: str) -> bytes | None:
        """
        What was saved under C{name}, or C{None}.

        @raise wazuh_cluster.errors.StateDamaged: if it cannot be read.
        """

    def save(name: str, content: bytes) -> None:
        """
        Replace it as a whole, durably: after a crash either the old or the new
        is there.
        """

    def remove(name: str) -> None:
        """
        Forget it; fine if there is none.
        """


class ITree(Interface):
    """
    The carried files below one home. All calls block; those that return slices
    are for an L{IRunner}. See L{wazuh_cluster.integrity} for the values.
    """

    path = Attribute("The home, absolute, bytes; for people.")
    items = Attribute("The L{wazuh_cluster.integrity.items.Items} it carries.")
    algorithm = Attribute("C{'md5'} or C{'sha256'}: what a scan computes unless told otherwise.")

    def scan(
        previous: Snapshot | None = None,
        algorithm: str | None = None,
        carryLinks: bool = True,
        installed: Installed | None = None,
        only: Collection[bytes] | None = None,
    ) -> Slices[Snapshot]:
        """
        Look at all files; only those whose status changed since C{previous}, a
        snapshot of the same algorithm, are read.

        @param carryLinks: whether links to regular files are carried by
            content, as on a master; a worker holds them all. What packs are
            made of is held open then, as far as it may be replaced at any
            moment.
        @param installed: what was installed since C{previous}.
        @param only: the paths to look at, each with all below it, where the
            others are known to be as in C{previous}.
        """

    def compare(
        local: Snapshot, master: Manifest, lastApplied: Manifest | None
    ) -> Slices[Comparison]:
        """
        Compare a scan without carried links with a master's manifest.

        @param lastApplied: the manifest that was last applied here.
        """

    def findMends(local: Snapshot) -> Slices[tuple[bytes, ...]]:
        """
        The files whose mode or owner is not what the items say and this
        process may perhaps mend.
        """

    def findStrays(local: Snapshot, master: Manifest) -> tuple[bytes, ...]:
        """
        Links and special files where the master has nothing: extra, though a
        root does not show them.
        """

    def owner() -> Owner | None:
        """
        Whom carried files belong to: as the home's C{etc} does; C{None} if
        that does not say.
        """

    def content(path: bytes, most: int | None = None) -> bytes | None:
        """
        All of a carried file, for one that is small enough to look at, or its
        first C{most} bytes; C{None} if it is not there, C{OSError} if it cannot
        be read.
        """

    def openPack(wants: Wants, algorithm: str | None = None) -> PackSource:
        """
        The stream of what a worker wants. Opens nothing before it is read.
        """

    def openStaging(algorithm: str | None = None) -> Staging:
        """
        Open the staging folder of this home, which is made if it is missing.
        Only one may be open at a time.

        @raise wazuh_cluster.errors.HomeError: if it cannot be used.
        """

    def install(
        plan: Plan, staging: Staging, reasons: Mapping[bytes, str] | None = None
    ) -> Slices[Outcome]:
        """
        Do what a plan says.

        @param reasons: why the content of a path was not had, one line each.
        @raise wazuh_cluster.errors.InstallFailed: if the contents cannot be
            made ready; nothing has changed then.
        """

    def sweep() -> Slices[int]:
        """
        Remove this package's temporary files left beside targets by a process
        that died, and return how many there were.

        @raise OSError: if the system refused any of it. The rest was done.
        """

    def settle() -> None:
        """
        Make durable what is there, whoever did it: a process that died, or an
        installation that was stopped, may have changed files and not synced them.
        """

    def close() -> None:
        """
        Give back what is held open between calls. It can be used again.
        """


class IWatcher(Interface):
    """
    Tells soon when something changes in a tree's items. It only wakes scans
    up: it may miss changes, and tell of ones that were none.
    """

    watching = Attribute(
        "Whether it does now: where it cannot, only scans find changes. @type: C{bool}"
    )

    def start(runner: IRunner, changed: Callable[[Collection[bytes] | None], None]) -> None:
        """
        Begin; nothing is watched before L{follow}.

        @param runner: where its blocking work runs.
        @param changed: is called in the reactor's thread with paths, relative
            to the home, of files and folders that may have changed, each with
            all that is below it; with C{None} when anything may have.
        """

    def follow(folders: Collection[bytes]) -> Awaitable[None]:
        """
        Watch the items, and these folders below them; C{changed} is called with
        those that were not watched before. It does not fail.

        @param folders: those that a scan found, relative to the home. They are
            not changed afterwards.
        """

    def look() -> None:
        """
        Call C{changed} for all that has happened until now.
        """

    def stop() -> None:
        """
        Watch nothing more.
        """


class IClusterTrust(Interface):
    """
    Who belongs to the cluster, and the encryption of its links.
    """

    identity = Attribute("This node's L{wazuh_cluster.model.Identity}.")

    def wrapServer(factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """
        An C{IProtocolFactory} that speaks TLS with whoever connects and hands
        those that the cluster trusts to C{factory}'s protocols.

        A protocol of C{factory} is connected before the handshake, so that it
        can bound the time that it takes. If it provides C{IHandshakeListener},
        its C{handshakeCompleted} is called once the peer is trusted; before
        that it receives nothing. If the peer is not trusted, it is told why in
        C{connectionLost}, by a L{wazuh_cluster.errors.ClusterError}.
        """

    def wrapClient(factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """
        The same for the side that dials. What an endpoint's C{connect} fires
        with is a wrapper: take the protocol from C{factory}.
        """

    def peerIdentity(transport: object) -> Identity:
        """
        Who the peer of a protocol built by one of those factories is, once its
        handshake is complete; also after the connection is lost.

        @raise wazuh_cluster.errors.IdentityMismatch: if no peer was trusted on
            this transport.
        """


class IWideTransport(Interface):
    """
    A transport that can be made ready for bulk.
    """

    def widen(size: int) -> None:
        """
        From now on read up to C{size} bytes at once, and take about so many
        before a producer is paused.
        """


class IWorkerObserver(Interface):
    """
    What an application can be told of a worker's life.
    """

    def joined(master: MasterInfo) -> None:
        """
        The master answered Hello.
        """

    def synced(report: SyncReport) -> None:
        """
        An installation that changed something, or failed to, ended.
        """

    def lost(reason: Failure) -> None:
        """
        The link ended, or an attempt to join failed. The worker tries again by
        itself.
        """
