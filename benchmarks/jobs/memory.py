"""
Rows about memory, which several jobs have.
"""

from __future__ import annotations

from attrs import define, field

from benchmarks.figures import excess, mib
from benchmarks.processes import Memory
from benchmarks.report import Section

_ROLES = ("master", "worker")


@define
class MemoryRuns:
    """
    The memory of both nodes, and of bare twistds, in each run.
    """

    nodes: dict[str, list[Memory]] = field(factory=lambda: {role: [] for role in _ROLES})
    bare: dict[str, list[Memory]] = field(factory=lambda: {role: [] for role in _ROLES})

    def addNodes(self, master: Memory, worker: Memory) -> None:
        """
        What one run found.
        """
        self.nodes["master"].append(master)
        self.nodes["worker"].append(worker)

    def addBare(self, found: dict[str, Memory]) -> None:
        """
        What one run found.
        """
        for role, memory in found.items():
            self.bare[role].append(memory)

    def addRows(self, section: Section, when: str) -> None:
        """
        Append the rows.

        @param when: when the nodes' memory was looked at.
        """
        for role in _ROLES:
            mine, bare = self.nodes[role], self.bare[role]
            plain = section.add(
                f"bare {role} resident",
                f"bare twistd, {role}'s imports: resident",
                mib(each.resident for each in bare),
            )
            now = mib(each.resident for each in mine)
            peak = mib(each.peak for each in mine)
            section.add(
                f"{role} resident",
                f"{role}: resident {when}",
                now,
                above_bare=excess(now, plain),
            )
            section.add(
                f"{role} peak",
                f"{role}: resident at the peak",
                peak,
                above_bare=excess(peak, plain),
            )
            shares = [each.proportional for each in mine if each.proportional is not None]
            bareShares = [each.proportional for each in bare if each.proportional is not None]
            if shares and len(shares) == len(bareShares):
                share = mib(shares)
                section.add(
                    f"{role} proportional",
                    f"{role}: proportional (PSS) {when}",
                    share,
                    above_bare=excess(share, mib(bareShares)),
                )
