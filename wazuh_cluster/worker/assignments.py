"""
What a worker has first: the groups of agents that showed up here, which go up
to the master.

Nothing of it is remembered but the file itself, so neither node's death loses
any: until the master's manifest carries it, it is offered again with each
generation and each link.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import UnhandledCommand, UnknownRemoteError

from wazuh_cluster.agents.groupnames import MAX_ASSIGNMENT, agentOf, readGroups
from wazuh_cluster.agents.model import formatId
from wazuh_cluster.agents.offers import MOST_OFFERS, readRefusals, splitOffers, writeOffers
from wazuh_cluster.errors import GroupRefused, StoreFailed
from wazuh_cluster.integrity import Manifest
from wazuh_cluster.interfaces import IRunner, ITree, Slices
from wazuh_cluster.journal import INTEGRITY_SYNC, Journal
from wazuh_cluster.model import Generation
from wazuh_cluster.protocol import AssignGroups, Peer
from wazuh_cluster.repeats import Repeats

#: How often the same failure or refusal is said again, in seconds.
REMIND_AFTER = 300.0

_SHOWN = 20
_STEPS = 128


@frozen
class Offered:
    """
    What became of the extra valid files.

    @ivar refused: paths that the master does not want: they go.
    @ivar settled: path to digest, of those that stay as they are: what the
        master took, and what is no assignment. While they are so, nothing is to
        be done about them.
    """

    refused: frozenset[bytes] = frozenset()
    settled: Mapping[bytes, bytes] = field(factory=dict)


@define
class _Part:
    """
    Some files that were read.
    """

    paths: dict[int, bytes] = field(factory=dict)
    groups: dict[int, tuple[str, ...]] = field(factory=dict)
    odd: dict[bytes, str] = field(factory=dict)


class Offers:
    """
    Offers extra valid files to the master, over all links.
    """

    def __init__(self, tree: ITree, runner: IRunner, clock: IReactorTime) -> None:
        self._tree = tree
        self._runner = runner
        self._log = Journal(INTEGRITY_SYNC)
        self._repeats = Repeats(clock, REMIND_AFTER)
        # What the generation's master took, with its digest then.
        self._generation: Generation | None = None
        self._taken: dict[bytes, bytes] = {}
        self._unheard = False
        self._odd: dict[bytes, bytes] = {}

    def joined(self) -> None:
        """
        There is a new link: who is at its end may know nothing of the last.
        """
        self._generation = None
        self._unheard = False

    async def offer(
        self, peer: Peer, paths: Sequence[bytes], local: Manifest, generation: Generation
    ) -> Offered:
        """
        Send up what the master was not asked about yet.

        @param paths: the extra valid files.
        @param local: has their sizes and digests.
        @param generation: the master's, which lacks them.
        @raise LinkClosed: if the link ends meanwhile.
        """
        if not paths:
            return Offered()
        if generation != self._generation:
            self._generation = generation
            self._taken = {}
        digests = await self._runner.run(self._digests(paths, local))
        self._odd = {path: self._odd[path] for path in self._odd.keys() & digests.keys()}
        waiting = (path for path in paths if not self._isSettled(path, digests[path]))
        refused: dict[bytes, tuple[int, str]] = {}
        sent = 0
        while not self._unheard and (some := tuple(islice(waiting, MOST_OFFERS))):
            part = await self._runner.run(self._read(some, local))
            self._sayOdd(part.odd)
            self._odd.update((path, digests[path]) for path in part.odd)
            for offers in splitOffers(part.groups):
                answer = await self._ask(peer, offers)
                if answer is None:
                    return self._offered(digests, refused, sent)
                for agent in offers:
                    path = part.paths[agent]
                    if agent in answer:
                        refused[path] = agent, answer[agent]
                    else:
                        self._taken[path] = digests[path]
                        sent += 1
        return self._offered(digests, refused, sent)

    def _offered(
        self, digests: dict[bytes, bytes], refused: Mapping[bytes, tuple[int, str]], sent: int
    ) -> Offered:
        if sent:
            self._log.info("The master took the groups of {count} agents.", count=sent)
        new = [each for each in refused.values() if self._repeats.allow(each) is not None]
        for agent, why in new[:_SHOWN]:
            self._log.warn(
                "The master refused the groups of agent {agent}: {why}.",
                agent=formatId(agent),
                why=why,
            )
        if len(new) > _SHOWN:
            self._log.warn("And {more} more agents.", more=len(new) - _SHOWN)
        settled = {
            path: digest
            for path, digest in digests.items()
            if path not in refused and (self._unheard or self._isSettled(path, digest))
        }
        return Offered(frozenset(refused), settled)

    def _isSettled(self, path: bytes, digest: bytes) -> bool:
        return self._taken.get(path) == digest or self._odd.get(path) == digest

    async def _ask(
        self, peer: Peer, offers: Mapping[int, tuple[str, ...]]
    ) -> Mapping[int, str] | None:
        """
        Offer some.

        @return: those that were refused, and why; C{None} if the master cannot
            say now.
        """
        try:
            answer = await peer.call(AssignGroups, assignments=writeOffers(offers))
        except UnhandledCommand:
            # It keeps no assignments, or is of a version without them.
            self._unheard = True
            return None
        except (GroupRefused, StoreFailed, UnknownRemoteError) as error:
            reason = str(error) or type(error).__name__
            if self._repeats.allow(reason) is not None:
                self._log.error(
                    "The master could not take the groups of {count} agents: {reason}. They are "
                    "offered again.",
                    count=len(offers),
                    reason=reason,
                )
            return None
        return readRefusals(answer["refused"], offers.keys())

    def _digests(self, paths: Sequence[bytes], local: Manifest) -> Slices[dict[bytes, bytes]]:
        digests: dict[bytes, bytes] = {}
        for steps, path in enumerate(paths):
            if steps % 2048 == 0:
                yield
            index = local.index(path)
            digests[path] = b"" if index is None else local.digest(index)
        return digests

    def _read(self, paths: Collection[bytes], local: Manifest) -> Slices[_Part]:
        part = _Part()
        for steps, path in enumerate(paths):
            if steps % _STEPS == 0:
                yield
            agent = agentOf(path.rpartition(b"/")[2])
            try:
                if agent is None:
                    raise ValueError("its name is no agent's id")
                content = self._tree.content(path, MAX_ASSIGNMENT + 1)
                if content is None:
                    # It went meanwhile.
                    continue
                part.groups[agent] = readGroups(content)
                part.paths[agent] = path
            except ValueError as error:
                part.odd[path] = str(error)
            except OSError:
                # A moment ago the scan could read it, the next one will say.
                continue
        return part

    def _sayOdd(self, odd: Mapping[bytes, str]) -> None:
        for path, why in list(odd.items())[:_SHOWN]:
            self._log.warn(
                "{path} is no assignment of an agent, and stays as it is: {why}.",
                path=path.decode("utf-8", "backslashreplace"),
                why=why,
            )
        if len(odd) > _SHOWN:
            self._log.warn("And {more} more paths.", more=len(odd) - _SHOWN)
