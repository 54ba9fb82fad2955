"""
Every content that somebody meant to be somewhere.
"""

from __future__ import annotations

from hashlib import sha256
from random import Random

#: Sizes of lists: mostly up to some chunks of a transfer, seldom more than what may
#: be under way at once. What cannot be compressed travels as large as it is.
_LARGE = 150_000
_HUGE = 700_000
_SELDOM = 0.03

#: How many agents there are.
_AGENTS = 12

KEYS = b"etc/client.keys"


class Contents:
    """
    What may be found at a path, because somebody put it there or on the master.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._version = 0
        self._meant: dict[bytes, set[bytes]] = {}
        # What is at one path may be at the other: there was a link.
        self._linked: dict[bytes, set[bytes]] = {}

    def make(self, path: bytes) -> bytes:
        """
        A new content for a path.
        """
        self._version += 1
        mark = b"%d of %s\n" % (self._version, path)
        random = self._random
        if path == KEYS:
            # Now and then an agent is missing; seldom nearly all are.
            some = random.choice((_AGENTS, _AGENTS, _AGENTS - 1, _AGENTS - 2, 1))
            content = b"".join(
                b"%03d agent%d any %064x\n" % (n, n, self._version) for n in range(1, some + 1)
            )
        elif path.startswith(b"etc/lists/l"):
            if random.random() < _SELDOM:
                content = mark + random.randbytes(int(_HUGE * random.uniform(0.9, 1.1)))
            else:
                content = mark * int((_LARGE / len(mark)) ** random.random())
        else:
            content = mark * random.randrange(0, 40)
        return self.meant(path, content)

    def makeSlow(self, path: bytes) -> bytes:
        """
        A new content that takes some time to travel.
        """
        self._version += 1
        mark = b"%d of %s\n" % (self._version, path)
        return self.meant(path, mark + self._random.randbytes(_HUGE // 2))

    def meant(self, path: bytes, content: bytes) -> bytes:
        """
        This content may be found at a path.
        """
        self._meant.setdefault(path, set()).add(sha256(content).digest())
        return content

    def isMeant(self, path: bytes, content: bytes) -> bool:
        """
        Whether somebody meant this to be there.
        """
        digest = sha256(content).digest()
        return digest in self._meant.get(path, ()) or any(
            digest in self._meant.get(target, ()) for target in self._linked.get(path, ())
        )

    def linked(self, path: bytes, target: bytes) -> None:
        """
        Somebody makes a link to another path of which contents are known.
        """
        self._linked.setdefault(path, set()).add(target)
