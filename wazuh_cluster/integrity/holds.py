"""
What a worker holds back, because it looks like a mishap on the master.

An item that would lose all of its files, or most of them; C{client.keys} when
most of its agents would go; and everything that a master with another id than
the one that was joined first would overwrite or remove. A hold is shown to the
operator by its text and waits until its id is released; the id stands for that
very set, so a release lets nothing else through. Whoever keeps the releases
forgets one once it was used.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Iterator

from attrs import field, frozen

from wazuh_cluster.integrity.compare import Comparison
from wazuh_cluster.integrity.items import Item, Items
from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.interfaces import Slices

#: Kinds of holds.
ITEM = "item"
AGENTS = "agents"
MASTER = "master"

#: From how many on the loss of more than half is a mishap.
MANY = 10

_LINES = 8192


@frozen
class Hold:
    """
    One set of changes that waits for the operator.

    @ivar id: 16 hexadecimal digits, the same for the same set at all times.
    @ivar kind: L{ITEM}, L{AGENTS} or L{MASTER}.
    @ivar paths: what is neither overwritten nor removed meanwhile.
    @ivar text: one line for the operator.
    """

    id: str
    kind: str
    paths: tuple[bytes, ...] = field(repr=False)
    text: str


@frozen
class Holds(Collection[bytes]):
    """
    The paths that holds keep as they are.

    @ivar all: the holds that are not released.
    """

    all: tuple[Hold, ...] = ()
    paths: frozenset[bytes] = field(init=False, repr=False)

    @paths.default
    def _gather(self) -> frozenset[bytes]:
        return frozenset(path for hold in self.all for path in hold.paths)

    @property
    def otherMaster(self) -> bool:
        """
        Whether one of them is about what another master would do.
        """
        return any(hold.kind == MASTER for hold in self.all)

    def __contains__(self, path: object) -> bool:
        return path in self.paths

    def __iter__(self) -> Iterator[bytes]:
        return iter(sorted(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def plus(self, hold: Hold | None, released: Container[str] = ()) -> Holds:
        """
        These and one more, unless it is C{None} or released.
        """
        return self if hold is None or hold.id in released else Holds((*self.all, hold))


def isMishap(lost: int, total: int) -> bool:
    """
    Whether losing so many of so many is more than the daily business: all of
    two or more, or more than half and at least ten.
    """
    return (total >= 2 and lost >= total) or (lost >= MANY and 2 * lost > total)


def findHolds(
    comparison: Comparison,
    local: Manifest,
    master: Manifest,
    items: Items,
    otherMaster: bool = False,
    released: Container[str] = (),
    refused: Iterable[bytes] = (),
) -> Holds:
    """
    What has to be held of a comparison, as far as the paths tell. For the
    agents of C{client.keys} there is L{agentsHold}.

    @param local: the worker's manifest.
    @param otherMaster: whether the master is not the one joined first.
    @param released: ids of holds that the operator accepted.
    @param refused: extra valid files that the master refused.
    """
    refusedNow = set(refused).intersection(comparison.extraValid)
    removed = sorted({*comparison.extra, *comparison.inTheWay, *refusedNow})
    found: list[Hold] = []
    if otherMaster:
        overwritten = [master.paths[index] for index in comparison.shared]
        if overwritten or removed:
            text = (
                f"this is another master than the one joined first: {len(overwritten)} files that "
                f"it would overwrite and {len(removed)} that it would remove "
                f"({_some(overwritten + removed)}) are kept until that is accepted"
            )
            found.append(_hold(MASTER, [*overwritten, *removed], text, MASTER))
    else:
        # Links are no carried files: nothing is lost with them.
        removed = [path for path in removed if local.index(path) is not None]
        if not master and len(removed) >= 2:
            # However few there are in each item.
            text = (
                f"the master has no files at all: {len(removed)} files ({_some(removed)}) are "
                "kept until that is accepted"
            )
            found.append(_hold(ITEM, removed, text, ""))
        for item in items if master else ():
            first = bisect_left(removed, item.path)
            last = bisect_left(removed, item.path + b"0")
            gone = [path for path in removed[first:last] if _isIn(path, item)]
            own = 1 if item.isFile else len(local.below(item.path))
            if isMishap(len(gone), own):
                text = (
                    f"{_shown(item.path)}: the master lacks {len(gone)} of {own} files "
                    f"({_some(gone)}); they are kept until that is accepted"
                )
                found.append(_hold(ITEM, gone, text, _shown(item.path)))
    return Holds(tuple(hold for hold in found if hold.id not in released))


def agentsHold(old: bytes, new: bytes, path: bytes = b"etc/client.keys") -> Slices[Hold | None]:
    """
    Whether C{client.keys} has to be held, by the agents that would be lost. An
    agent is its id and name: a new key or address is not a loss.

    @param old: the worker's file.
    @param new: the master's, C{b""} if it has none.
    """
    lost: set[bytes] = set()
    for n, agent in enumerate(_agents(old)):
        lost.add(agent)
        if n % _LINES == 0:
            yield
    total = len(lost)
    for n, agent in enumerate(_agents(new)):
        lost.discard(agent)
        if n % _LINES == 0:
            yield
    if not isMishap(len(lost), total):
        return None
    names = [agent.partition(b" ")[2] for agent in sorted(lost)[:3]]
    text = (
        f"{_shown(path)}: the master lacks {len(lost)} of {total} agents "
        f"({_some(names, len(lost))}); the file is kept until that is accepted"
    )
    return Hold(_identify(AGENTS, sorted(lost)), AGENTS, (path,), text)


def _isIn(path: bytes, item: Item) -> bool:
    return path == item.path if item.isFile else path.startswith(item.path + b"/")


def _agents(text: bytes) -> Iterator[bytes]:
    """
    The agents of a C{client.keys}, as id and name; without removed ones.
    """
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        fields = text[start:end].split(b" ", 3)
        start = end + 1
        if len(fields) < 4 or not fields[0].isdigit() or len(fields[0]) > 8:
            continue
        if fields[1][:1] not in (b"!", b"#", b""):
            yield b"%d %s" % (int(fields[0]), fields[1])


def _hold(kind: str, paths: Iterable[bytes], text: str, where: str) -> Hold:
    ordered = tuple(sorted(paths))
    return Hold(_identify(f"{kind} {where}", ordered), kind, ordered, text)


def _identify(kind: str, parts: Iterable[bytes]) -> str:
    whole = b"\0".join([kind.encode("utf-8", "surrogateescape"), *parts])
    return hashlib.sha256(whole).hexdigest()[:16]


def _some(paths: Collection[bytes], total: int | None = None) -> str:
    total = len(paths) if total is None else total
    shown = [_shown(path) for path in list(paths)[:3]]
    more = total - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _shown(path: bytes) -> str:
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
