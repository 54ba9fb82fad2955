"""
What an installation has just put in its place, so that the scan after it need
not read it all again.
"""

from __future__ import annotations

from attrs import field, frozen

from wazuh_cluster.integrity.items import Items
from wazuh_cluster.integrity.manifest import Manifest
from wazuh_cluster.interfaces import FileStat

_SECOND = 1_000_000_000


@frozen
class Installed:
    """
    Files whose content was proved by its digest before it was renamed to its
    place. A scan takes that digest for a file that looks as it was installed,
    and does not trust it: the next scan reads the file.

    @ivar manifest: what was installed.
    @ivar paths: of it.
    @ivar items: say which files have a time of their own.
    """

    manifest: Manifest
    paths: frozenset[bytes] = field(repr=False)
    items: Items = field(repr=False)

    def digest(self, path: bytes, status: FileStat) -> bytes | None:
        """
        The digest of a file with this status; C{None} if it must be read.
        """
        if path not in self.paths:
            return None
        index = self.manifest.index(path)
        if index is None or status.size != self.manifest.sizes[index]:
            return None
        if status.mtimeNs // _SECOND != self.manifest.mtimes[index]:
            item = self.items.find(path)
            if item is None or not item.ownTime:
                return None
        return self.manifest.digest(index)
