"""
A master in a twistd application of one's own, which needs no plugin::

    PORT=1516 HOME_FOLDER=/srv/siem KEY_FILE=/srv/key \\
        twistd --nodaemon --python embedded_master.py

Beside it runs something of the application's own: every second it shows the workers
that changed.
"""

import os

from twisted.application.internet import TimerService
from twisted.application.service import Application, MultiService
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger

from wazuh_cluster.integrity import WAZUH_ITEMS, DirectoryTree
from wazuh_cluster.master import MasterService
from wazuh_cluster.model import NodeName
from wazuh_cluster.trust import ClusterKey


class Table:
    """Writes a line about each worker to the application's log, when it changed."""

    log = Logger()

    def __init__(self, master):
        self.master = master
        self.shown = {}

    def show(self):
        now = {}
        for status in self.master.statuses():
            at = status.generation
            now[status.info.name] = "is behind" if at is None else f"has {at.describe()}"
        for name, text in now.items():
            if self.shown.get(name) != text:
                self.log.info("{name} {text}", name=name, text=text)
        self.shown = now


def makeService(port, home, keyFile):
    with open(keyFile) as file:
        key = ClusterKey(file.read().strip())
    top = MultiService()
    master = MasterService(
        reactor,
        NodeName("hub"),
        key,
        serverFromString(reactor, f"tcp:{port}"),
        DirectoryTree(home, WAZUH_ITEMS),
    )
    master.setServiceParent(top)
    TimerService(1.0, Table(master).show).setServiceParent(top)
    return top


application = Application("hub")
environ = os.environ
makeService(environ["PORT"], environ["HOME_FOLDER"], environ["KEY_FILE"]).setServiceParent(
    application
)
