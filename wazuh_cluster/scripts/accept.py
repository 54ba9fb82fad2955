"""
C{wazuh-cluster accept}: lets a worker do what it holds back.
"""

from __future__ import annotations

from wazuh_cluster.errors import HomeError
from wazuh_cluster.home import checkHome
from wazuh_cluster.integrity import WAZUH_ITEMS
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.scripts.homeoptions import HomeOptions
from wazuh_cluster.state import DirectoryState
from wazuh_cluster.worker.memory import KeptHold, WorkerMemory


class AcceptOptions(HomeOptions):
    """
    Options of C{accept}.
    """

    synopsis = "[options] [ID ...]"
    longdesc = (
        "A worker holds back what looks like a mishap on its master. Without an ID this releases "
        "all that it holds now, and nothing that comes later."
    )
    optFlags = [["list", "l", "Only show what is held."]]

    def parseArgs(self, *ids: str) -> None:
        """
        The holds to release.
        """
        self.ids = ids


def run(options: AcceptOptions) -> int:
    """
    Release, and say what.
    """
    home = options.home
    checkHome(home)
    memory = WorkerMemory(DirectoryState(RealFileSystem(), home.stateFolder), WAZUH_ITEMS)
    held = {hold.id: hold for hold in memory.keptHolds()}
    unknown = [each for each in options.ids if each not in held]
    if unknown:
        raise HomeError(
            f"nothing is held under {unknown[0]!r}",
            home.path,
            "see what is held with 'wazuh-cluster accept --list'",
        )
    if not held:
        print("Nothing is held.")
        return 0
    chosen = [held[each] for each in dict.fromkeys(options.ids)] or list(held.values())
    if not options["list"]:
        memory.release(hold.id for hold in chosen)
    for hold in chosen:
        print(describe(hold, "Held" if options["list"] else "Accepted"))
    if not options["list"]:
        print("The worker acts on it at its next look, within seconds.")
    return 0


def describe(hold: KeptHold, word: str) -> str:
    """
    One hold, one line.
    """
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in hold.text)
    return f"{word} {hold.id}: {text}"
