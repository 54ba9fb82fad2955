"""
Tests for L{wazuh_cluster.integrity.staging} and
L{wazuh_cluster.integrity.receiver}.
"""

from __future__ import annotations

import errno
import hashlib

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.twohomes import NOW, TwoHomes, drive, manifestOf
from wazuh_cluster.errors import InstallFailed, MalformedStream
from wazuh_cluster.integrity import (
    WAZUH_ITEMS,
    IPackSink,
    Needed,
    Owner,
    Receiver,
    Sent,
    Staging,
)
from wazuh_cluster.integrity.prepare import isDressed
from wazuh_cluster.testing.filesystem import MemoryFileSystem

FILES = {
    b"etc/rules/a.xml": b"the first file",
    b"etc/rules/b.xml": b"the second file",
    b"etc/rules/same.xml": b"the first file",
}
A, B = b"etc/rules/a.xml", b"etc/rules/b.xml"


def nameOf(content: bytes) -> bytes:
    """
    How a content is staged.
    """
    return b"md5-" + hashlib.md5(content).hexdigest().encode("ascii")


class StagingTests(SynchronousTestCase):
    """
    Contents are staged whole and right, over cuts and deaths of the process.
    """

    def setUp(self) -> None:
        clock = Clock()
        clock.advance(NOW)
        self.fs = MemoryFileSystem(clock)
        self.fs.makeFolders(b"/staging")
        self.manifest = manifestOf(FILES)
        self.staging = self.restarted()

    def restarted(self) -> Staging:
        """
        The staging folder as a new process opens it.
        """
        return Staging(self.fs, b"/staging", "md5")

    def needed(self) -> Needed:
        return drive(self.staging.needed(self.manifest, range(3)))

    def receive(self, *pieces: bytes, status: Sent = Sent.OK, offset: int = 0) -> Receiver:
        """
        Receive the first needed file.
        """
        receiver = Receiver(self.staging, self.manifest, self.needed())
        receiver.begin(0, offset)
        for piece in pieces:
            receiver.data(piece)
        receiver.end(status, "cannot read it: Input/output error")
        receiver.close()
        return receiver

    def wanted(self) -> list[tuple[bytes, int]]:
        return [(want.path, want.offset) for want in self.needed().wants]

    def test_interface(self) -> None:
        """
        A receiver is a sink for packs.
        """
        receiver = Receiver(self.staging, self.manifest, self.needed())
        self.assertTrue(verifyObject(IPackSink, receiver))

    def test_needed(self) -> None:
        """
        Of two files with the same content one is wanted.
        """
        self.assertEqual(self.wanted(), [(A, 0), (B, 0)])

    def test_received(self) -> None:
        """
        A file that came in whole stands under its digest, unreadable for
        others, and is wanted no more.
        """
        receiver = self.receive(b"the first", b" file")
        self.assertEqual((receiver.received, receiver.files, receiver.failures), (14, 1, {}))
        name = b"/staging/" + nameOf(FILES[A])
        self.assertEqual(self.fs.get(name), FILES[A])
        self.assertEqual(self.fs.status(name).mode & 0o777, 0o600)
        self.assertEqual(self.wanted(), [(B, 0)])
        self.assertEqual(self.staging.content(self.manifest.digest(0)), FILES[A])

    def test_emptyFile(self) -> None:
        """
        A file without bytes is received as well.
        """
        self.manifest = manifestOf({A: b""})
        receiver = Receiver(
            self.staging, self.manifest, drive(self.staging.needed(self.manifest, [0]))
        )
        receiver.begin(0, 0)
        receiver.end(Sent.OK, "")
        self.assertTrue(self.staging.has(self.manifest.digest(0)))
        self.assertEqual(self.fs.get(b"/staging/" + nameOf(b"")), b"")

    def test_wrongContent(self) -> None:
        """
        Bytes of another digest, or too few, are thrown away and reported.
        """
        for pieces in ((b"another first!",), (b"the first",), ()):
            receiver = self.receive(*pieces)
            self.assertEqual(
                receiver.failures,
                {A: "it changed since the manifest was made; it comes with the next generation"},
            )
        self.assertEqual(self.fs.listTree(b"/staging"), [])
        self.assertEqual(self.wanted(), [(A, 0), (B, 0)])

    def test_tooLong(self) -> None:
        """
        Never more is written than the manifest announced.
        """
        most: list[int] = []
        self.fs.before("file.write", None, lambda: most.append(1), times=None)
        for pieces, writes in (((b"the first", b" file"), 2), ((FILES[A],), 0)):
            most.clear()
            receiver = self.receive(*pieces, b"x" * 1000, b"y" * 1000)
            self.assertEqual(list(receiver.failures), [A])
            self.assertEqual((len(most), self.fs.listTree(b"/staging")), (writes, []))

    def test_atOnce(self) -> None:
        """
        A file that comes in one piece is proved before anything is written,
        and written under its digest.
        """
        self.staging.open()
        del self.fs.operations[:]
        self.receive(b"another first!")
        self.assertEqual(self.fs.operations, [])
        self.receive(FILES[A])
        name = b"/staging/" + nameOf(FILES[A])
        self.assertEqual(self.fs.operations, [("create", name), ("file.write", name)])

    def test_atOnceOverRubbish(self) -> None:
        """
        What somebody put there in the meantime is replaced, not written to.
        """
        name = b"/staging/" + nameOf(FILES[A])
        self.needed()
        self.fs.put(b"/elsewhere", b"not ours")
        self.fs.link(name, b"/elsewhere")
        self.receive(FILES[A])
        self.assertEqual(self.fs.get(name), FILES[A])
        self.assertEqual(self.fs.get(b"/elsewhere"), b"not ours")

    def test_atOnceAndCut(self) -> None:
        """
        Of a file that came in one piece nothing is kept when the pack is cut
        before its end.
        """
        receiver = Receiver(self.staging, self.manifest, self.needed())
        receiver.begin(0, 0)
        receiver.data(FILES[A])
        receiver.close()
        self.assertEqual(self.fs.listTree(b"/staging"), [])
        self.assertEqual(self.wanted(), [(A, 0), (B, 0)])

    def test_dressed(self) -> None:
        """
        Told of the items, it gives files their mode, owner and time as they
        come in; what the system refuses there is left to the installation.
        """
        name = b"/staging/" + nameOf(FILES[A])
        for pieces in ((FILES[A],), (b"the first", b" file")):
            for refused in (None, "file.status", "file.setMode", "file.setOwner", "file.setTimes"):
                self.setUp()
                if refused is not None:
                    self.fs.failOn(refused, errno=errno.EIO)
                receiver = Receiver(
                    self.staging, self.manifest, self.needed(), WAZUH_ITEMS, Owner(7, 8)
                )
                receiver.begin(0, 0)
                for piece in pieces:
                    receiver.data(piece)
                receiver.end(Sent.OK, "")
                self.assertTrue(self.staging.has(self.manifest.digest(0)))
                self.assertEqual(self.fs.get(name), FILES[A])
                entry, status = self.manifest.entry(0), self.fs.status(name)
                dressed = isDressed(status, entry, WAZUH_ITEMS.check(A), Owner(7, 8))
                # What comes at once has its mode from the beginning.
                asked = refused is not None and not (refused == "file.setMode" and not pieces[1:])
                self.assertEqual(dressed, not asked, refused)

    def test_statuses(self) -> None:
        """
        A file that vanished or cannot be read on the master is reported so;
        what came of it before need not come again.
        """
        receiver = self.receive(status=Sent.VANISHED)
        self.assertEqual(receiver.failures, {A: "it vanished from the master"})
        self.assertEqual(self.wanted(), [(A, 0), (B, 0)])
        receiver = self.receive(b"the first", status=Sent.UNREADABLE)
        self.assertEqual(receiver.failures, {A: "the master cannot read it: Input/output error"})
        self.assertEqual(self.wanted(), [(A, 9), (B, 0)])
        self.receive(status=Sent.VANISHED, offset=9)
        self.assertEqual(self.wanted(), [(A, 9), (B, 0)])
        self.receive(b" file", offset=9)
        self.assertTrue(self.staging.has(self.manifest.digest(0)))

    def test_changedButRight(self) -> None:
        """
        What the digest proves is taken, although the file was touched
        meanwhile.
        """
        receiver = self.receive(FILES[A], status=Sent.CHANGED)
        self.assertEqual((receiver.failures, receiver.files), ({}, 1))

    def test_quota(self) -> None:
        """
        A disk that refuses a file for which it says that it has room is not
        taken for full.
        """
        self.fs.failOn("file.write", errno=errno.EDQUOT)
        receiver = self.receive(FILES[A])
        self.assertEqual(receiver.noRoom, {self.manifest.digest(0): False})

    def test_grown(self) -> None:
        """
        A list that was appended to since the manifest was made comes as it was
        then, and no byte more travels.
        """
        homes = TwoHomes()
        homes.put(b"/master", {b"etc/lists/l": b"a:1\n"})
        plan = homes.plan()
        homes.put(b"/master", {b"etc/lists/l": b"a:1\n" * 50_000})
        staging = homes.worker.openStaging()
        homes.fetch(plan, staging)
        self.assertEqual((homes.failures, homes.received), ({}, 4))
        self.assertEqual(staging.content(plan.manifest.digest(0)), b"a:1\n")

    def cut(self) -> None:
        """
        Receive the beginning of the first file.
        """
        receiver = Receiver(self.staging, self.manifest, self.needed())
        receiver.begin(0, 0)
        receiver.data(b"the first")
        receiver.close()

    def test_resumed(self) -> None:
        """
        After a cut only the rest is wanted, and proved with the beginning.
        """
        self.cut()
        self.assertEqual(self.wanted(), [(A, 9), (B, 0)])
        self.receive(b" file", offset=9)
        self.assertTrue(self.staging.has(self.manifest.digest(0)))

    def test_resumedAfterDeath(self) -> None:
        """
        The same for a new process.
        """
        self.cut()
        self.staging = self.restarted()
        self.assertEqual(self.wanted(), [(A, 9), (B, 0)])
        self.receive(b" file", offset=9)
        self.assertEqual(self.wanted(), [(B, 0)])

    def test_resumedWrong(self) -> None:
        """
        A beginning that is not the wanted file's costs one more try, no more.
        """
        self.fs.put(b"/staging/" + nameOf(FILES[A]) + b".part", b"rubbish")
        self.assertEqual(self.wanted(), [(A, 7), (B, 0)])
        receiver = self.receive(b"st file", offset=7)
        self.assertEqual(list(receiver.failures), [A])
        self.assertEqual(self.wanted(), [(A, 0), (B, 0)])

    def test_foundWhole(self) -> None:
        """
        Finished files of an earlier process are used once their digest is
        proved: after a power cut a renamed file can be empty or damaged.
        """
        name = b"/staging/" + nameOf(FILES[A])
        self.receive(FILES[A])
        self.staging = self.restarted()
        self.assertFalse(self.staging.has(self.manifest.digest(0)))
        self.assertEqual(self.wanted(), [(B, 0)])
        for damaged in (b"", b"the fi", b"the first fil\0", b"the first file and more"):
            self.fs.put(name, damaged)
            self.staging = self.restarted()
            self.assertEqual(self.wanted(), [(A, 0), (B, 0)])
            self.assertEqual(self.fs.listTree(b"/staging"), [])

    def test_foundWholePart(self) -> None:
        """
        A whole file whose rename did not come about is finished.
        """
        self.fs.put(b"/staging/" + nameOf(FILES[A]) + b".part", FILES[A])
        self.assertEqual(self.wanted(), [(B, 0)])
        self.assertEqual(self.fs.listTree(b"/staging"), [nameOf(FILES[A])])

    def test_foundUnreadable(self) -> None:
        """
        A staged file that the disk lost is fetched again.
        """
        name = b"/staging/" + nameOf(FILES[A])
        self.fs.put(name, FILES[A])
        self.fs.failOn("file.read", name, errno=errno.EIO)
        self.assertEqual(self.wanted(), [(A, 0), (B, 0)])

    def test_everyDeath(self) -> None:
        """
        Whenever the process dies, what stands under a digest is whole, and the
        next process gets everything. A file that came in one piece can be cut
        short under its digest: the next process sees that.
        """
        for death in range(1, 40):
            self.setUp()
            self.staging.open()
            count = [death]

            def die(count: list[int] = count) -> None:
                count[0] -= 1
                if count[0] <= 0:
                    raise KeyboardInterrupt

            self.fs.before("*", None, die, times=None)
            finished = False
            try:
                self.cut()
                self.receive(b" ", b"file", offset=9)
                finished = True
            except KeyboardInterrupt:
                pass
            count[0] = 1_000_000
            for name in self.fs.listTree(b"/staging"):
                if not name.endswith(b".part"):
                    self.assertEqual(self.fs.get(b"/staging/" + name), FILES[A])
            self.staging = self.restarted()
            wanted = dict(self.wanted())
            if A in wanted:
                self.receive(FILES[A][wanted[A] :], offset=wanted[A])
            self.assertTrue(self.staging.has(self.manifest.digest(0)), death)
        self.assertTrue(finished)

    def test_everyDeathAtOnce(self) -> None:
        """
        The same for files that come in one piece: what was not finished is
        not taken for whole by the next process.
        """
        for death in range(1, 10):
            self.setUp()
            needed = self.needed()
            count = [death]

            def die(count: list[int] = count) -> None:
                count[0] -= 1
                if count[0] <= 0:
                    raise KeyboardInterrupt

            self.fs.before("*", None, die, times=None)
            receiver = Receiver(self.staging, self.manifest, needed, WAZUH_ITEMS, Owner(7, 8))
            receiver.begin(0, 0)
            receiver.data(FILES[A])
            try:
                receiver.end(Sent.OK, "")
            except KeyboardInterrupt:
                self.assertFalse(self.staging.has(self.manifest.digest(0)))
            finished = count[0] > 0
            count[0] = 1_000_000
            self.staging = self.restarted()
            if (A, 0) in self.wanted():
                self.receive(FILES[A])
            self.assertTrue(self.staging.has(self.manifest.digest(0)), death)
            self.assertEqual(self.fs.listTree(b"/staging"), [nameOf(FILES[A])])
            self.assertEqual(self.staging.content(self.manifest.digest(0)), FILES[A])
        self.assertTrue(finished)

    def test_diskFull(self) -> None:
        """
        A file for which there is no room spoils only itself, with one clear
        line, and what room it took is given back.
        """
        for pieces in ([FILES[A]], [FILES[A][:3], FILES[A][3:]]):
            self.fs.free = 5
            receiver = self.receive(*pieces)
            line = "cannot stage it: No space left on device; it is tried again within a minute"
            self.assertEqual(receiver.failures, {A: line})
            self.assertEqual((receiver.files, self.fs.listTree(b"/staging")), (0, []))
            self.assertEqual(receiver.noRoom, {self.manifest.digest(0): True})
        self.fs.free = None
        self.receive(FILES[A])
        self.assertTrue(self.staging.has(self.manifest.digest(0)))

    def test_everyFault(self) -> None:
        """
        Whatever the disk refuses while a file comes in, it is one clear line,
        and the next try succeeds.
        """
        pieces = {"create": 1, "file.write": 1, "rename": 2}
        for operation, count in [*pieces.items(), ("create", 2), ("file.write", 2)]:
            for code in (errno.EROFS, errno.EIO, errno.EACCES):
                self.setUp()
                self.fs.failOn(operation, errno=code)
                received = [FILES[A]] if count == 1 else [FILES[A][:3], FILES[A][3:]]
                error = self.assertRaises(InstallFailed, self.receive, *received)
                self.assertEqual(error.path, A)
                self.assertNotIn("\n", str(error))
                self.receive(FILES[A])
                self.assertEqual(self.wanted(), [(B, 0)])

    def test_notAskedFor(self) -> None:
        """
        A pack with files or offsets that nobody wants is refused.
        """
        receiver = Receiver(self.staging, self.manifest, self.needed())
        self.assertRaises(MalformedStream, receiver.begin, 2, 0)
        self.assertRaises(MalformedStream, receiver.begin, 0, 1)
        receiver = Receiver(self.staging, self.manifest, self.needed())
        self.assertRaises(MalformedStream, receiver.data, b"x")

    def test_sweep(self) -> None:
        """
        What no manifest wants goes, and so does what an installation that died
        tried its file system with; what is wanted, and other people's files, stay.
        """
        for name in (
            nameOf(FILES[A]),
            nameOf(FILES[B]) + b".part",
            nameOf(b"old"),
            nameOf(b"old") + b".part",
            nameOf(FILES[A]) + b".copy1",
            b"sha256-" + b"00" * 32,
            b".probe.0123456789ab.wctmp.tmp",
            b"notes",
        ):
            self.fs.put(b"/staging/" + name, b"x")
        keep = {self.manifest.digest(0), self.manifest.digest(1)}
        self.assertEqual(drive(self.staging.sweep(keep)), 5)
        self.assertEqual(
            self.fs.listTree(b"/staging"),
            sorted([nameOf(FILES[A]), nameOf(FILES[B]) + b".part", b"notes"]),
        )

    def test_copy(self) -> None:
        """
        A second copy has the same content; one that the disk refuses leaves
        nothing behind.
        """
        self.receive(FILES[A])
        digest = self.manifest.digest(0)
        name = drive(self.staging.copy(digest, 1))
        self.assertEqual(self.fs.get(b"/staging/" + name), FILES[A])
        self.fs.failOn("file.write", errno=errno.ENOSPC)
        self.assertRaises(OSError, drive, self.staging.copy(digest, 2))
        self.assertEqual(len(self.fs.listTree(b"/staging")), 2)
