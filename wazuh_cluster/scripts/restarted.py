"""
C{wazuh-cluster restarted}: clears the mark that a restart is due.
"""

from __future__ import annotations

from wazuh_cluster.errors import StateDamaged
from wazuh_cluster.home import checkHome
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.restartdue import DueRestart, RestartDue
from wazuh_cluster.scripts.homeoptions import HomeOptions
from wazuh_cluster.state import DirectoryState

_SHOWN = 10


class RestartedOptions(HomeOptions):
    """
    Options of C{restarted}.
    """

    longdesc = "Clears the mark that Wazuh must be restarted before new files are in use."


def run(options: RestartedOptions) -> int:
    """
    Clear the mark and say what it was.
    """
    home = options.home
    checkHome(home)
    keeper = RestartDue(DirectoryState(RealFileSystem(), home.stateFolder))
    try:
        due = keeper.read()
    except StateDamaged:
        keeper.clear()
        print("Cleared: a restart was due; because of which files could not be read.")
        return 0
    if due is None:
        print("No restart was due.")
        return 0
    keeper.clear()
    print(describe(due))
    return 0


def describe(due: DueRestart) -> str:
    """
    What was cleared, one line and one for each of the first files.
    """
    files = "1 file" if due.count == 1 else f"{due.count} files"
    lines = [f"Cleared: a restart was due because of {files}."]
    for path in due.files[:_SHOWN]:
        name = path.decode("utf-8", "backslashreplace")
        lines.append("  " + "".join(c if c.isprintable() else repr(c)[1:-1] for c in name))
    if due.count > _SHOWN:
        lines.append(f"  and {due.count - _SHOWN} more")
    return "\n".join(lines)
