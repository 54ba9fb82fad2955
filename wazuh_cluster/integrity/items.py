"""
Items: which paths a cluster carries, and by which rules.

A path that a peer named is data from a stranger. L{Items.check} is the one gate
that every such path goes through, in both directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from attrs import field, frozen

from wazuh_cluster.errors import BadInput, HostilePath
from wazuh_cluster.integrity.paths import MAX_PATH, isName, isWithin, pathFault

#: Where a node keeps what is its own and not its state: certificates.
LOCAL_FOLDER = "etc/wazuh_cluster"

#: What no item may be, lie in, or have below it, and where no link that is
#: carried may lead: what is local to a node.
LOCAL_PATHS = (
    b"etc/ossec.conf",
    b"etc/sslmanager.key",
    LOCAL_FOLDER.encode("ascii"),
    b"etc/wazuh_cluster.ini",
    b"queue/wazuh_cluster",
)


#: Why a path of an item that only one of two nodes has is refused.
NO_ITEM = "it is in no item here: all nodes need the same [item] in etc/wazuh_cluster.ini"


@frozen
class Item:
    """
    A folder, or a single file, that the cluster carries.

    @ivar path: relative to the home, without a final slash.
    @ivar isFile: whether it is a single file.
    @ivar recursive: whether folders below it are carried too.
    @ivar names: C{fnmatch} patterns, case matters: a file is carried if its
        own name matches one of them.
    @ivar mode: the permissions that its files have on every node.
    @ivar folderMode: the permissions that its folders, and its own, have on
        workers.
    @ivar extraValid: whether a file that only a worker has is sent up rather
        than removed.
    @ivar ownTime: whether its files take the time of their installation; their
        mtime is left out of the root.
    @ivar order: the rank in which a set is installed, lowest first.
    @ivar restart: whether a change makes a restart of the manager due.
    """

    path: bytes
    isFile: bool = False
    recursive: bool = True
    names: tuple[bytes, ...] = (b"*",)
    mode: int = 0o660
    extraValid: bool = False
    ownTime: bool = False
    order: int = 2
    restart: bool = False
    folderMode: int = 0o770

    def matches(self, name: bytes) -> bool:
        """
        Whether a file of this name, somewhere in the item, is carried.
        """
        return b"*" in self.names or any(fnmatchcase(name, each) for each in self.names)


def _place(item: Item) -> bytes:
    """
    The key by which items are sorted as the paths of their files are.
    """
    return item.path if item.isFile else item.path + b"/"


def _sorted(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(sorted(items, key=_place))


@frozen
class Items:
    """
    The items of one home: an immutable sequence of L{Item}.

    @ivar items: sorted by path; none lies within another.
    @ivar excludedSuffixes: a file whose name ends so is never carried.
    @ivar excludedNames: a file of such a name is never carried.

    @raise BadInput: if an item's path is unsound, is within another item, or
        would carry what is local to a node.
    """

    items: tuple[Item, ...] = field(converter=_sorted)
    excludedSuffixes: tuple[bytes, ...] = (b"~", b".tmp", b".lock", b".swp")
    excludedNames: tuple[bytes, ...] = (b"ar.conf", b"ossec.conf")
    # The last folder in which a file was carried, and its item: paths come in
    # order. Always one pair, so that threads can share it.
    _last: list[tuple[bytes, Item | None]] = field(
        factory=lambda: [(b"", None)], init=False, eq=False, repr=False
    )

    def __attrs_post_init__(self) -> None:
        for n, item in enumerate(self.items):
            fault = pathFault(item.path)
            if fault is not None:
                raise _badItem(item, fault, "use a path relative to the home")
            for local in LOCAL_PATHS:
                if isWithin(local, item.path) or isWithin(item.path, local):
                    raise _badItem(
                        item,
                        f"it would carry {local.decode()}, which is local to a node",
                        "name the files or folders that all nodes share",
                    )
            if item.isFile and self.excludes(item.path.rpartition(b"/")[2]):
                raise _badItem(item, "files of this name are never carried", "leave it out")
            for other in self.items[:n]:
                if isWithin(item.path, other.path):
                    raise _badItem(
                        item, f"it is within the item {_shown(other.path)}", "leave one of them out"
                    )

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        return self.items[index]

    def excludes(self, name: bytes) -> bool:
        """
        Whether a file of this name is never carried, wherever it is.
        """
        return name.endswith(self.excludedSuffixes) or name in self.excludedNames

    def find(self, path: bytes) -> Item | None:
        """
        The item that carries the file C{path}, or C{None} if none does.
        """
        found = self._judge(path)
        return found if isinstance(found, Item) else None

    def check(self, path: bytes) -> Item:
        """
        The item that carries the file C{path}.

        @raise HostilePath: if the path is unsound or no item carries it.
        """
        found = self._judge(path)
        if isinstance(found, Item):
            return found
        raise HostilePath(path, found)

    def checkHeld(self, path: bytes) -> Item:
        """
        The item in which a held path lies: the item itself or anything below
        it, whatever its name; a final slash is allowed.

        @raise HostilePath: if the path is unsound or in no item.
        """
        plain = path[:-1] if path.endswith(b"/") else path
        fault = pathFault(plain)
        if fault is None:
            item = self.around(plain)
            if item is not None:
                return item
            fault = NO_ITEM
        raise HostilePath(path, fault)

    def around(self, path: bytes) -> Item | None:
        """
        The item within which a sound path lies, or whose path it is.
        """
        for item in self.items:
            place = item.path
            if path.startswith(place) and (len(path) == len(place) or path[len(place)] == 0x2F):
                return item
        return None

    def _judge(self, path: bytes) -> Item | str:
        """
        The item that carries a file, or why none does.
        """
        folder, _, name = path.rpartition(b"/")
        known, item = self._last[0]
        if item is not None and folder == known and isName(name) and len(path) <= MAX_PATH:
            return self._judgeName(item, name)
        fault = pathFault(path)
        if fault is not None:
            return fault
        item = self.around(path)
        if item is None:
            return NO_ITEM
        if item.isFile != (len(path) == len(item.path)):
            return "it is below a single file" if item.isFile else "it is a folder of items"
        if not item.isFile and not item.recursive and folder != item.path:
            return "the item has no folders"
        if not item.isFile:
            self._last[0] = (folder, item)
        return self._judgeName(item, name)

    def _judgeName(self, item: Item, name: bytes) -> Item | str:
        """
        The same by the file's own name.
        """
        if self.excludes(name):
            return "files of this name are never carried"
        if not item.isFile and not item.matches(name):
            return "its name matches none of the item's patterns"
        return item


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _badItem(item: Item, what: str, remedy: str) -> BadInput:
    return BadInput(what, f"item {_shown(item.path)}", remedy)


def _wazuhItems() -> Iterable[Item]:
    yield Item(b"etc/client.keys", isFile=True, mode=0o640, ownTime=True, order=0)
    yield Item(b"queue/agent-groups", recursive=False, extraValid=True, order=1)
    yield Item(b"etc/shared", order=1)
    yield Item(b"var/multigroups", names=(b"merged.mg",), order=1)
    yield Item(b"etc/rules", restart=True)
    yield Item(b"etc/decoders", restart=True)
    yield Item(b"etc/lists", restart=True)


#: What a Wazuh cluster carries.
WAZUH_ITEMS = Items(_wazuhItems())
