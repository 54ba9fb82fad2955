"""
The carried files of a node: what they are, how two nodes' differ, and how the
one gets the other's. There is no network in here.

The functions behind L{DirectoryTree} are in modules of their own names.
"""

from __future__ import annotations

from wazuh_cluster.integrity.agreement import explainDifference, itemsDigest, itemsText
from wazuh_cluster.integrity.compare import Comparison
from wazuh_cluster.integrity.filesystem import RealFileSystem
from wazuh_cluster.integrity.folders import Owner
from wazuh_cluster.integrity.holds import Hold, Holds, agentsHold, findHolds
from wazuh_cluster.integrity.install import Outcome
from wazuh_cluster.integrity.installed import Installed
from wazuh_cluster.integrity.items import WAZUH_ITEMS, Item, Items
from wazuh_cluster.integrity.manifest import (
    DIGEST_SIZES,
    Manifest,
    newHash,
)
from wazuh_cluster.integrity.manifestdecoder import ManifestDecoder, decodeSlices
from wazuh_cluster.integrity.pack import IPackSink, PackReader, PackSource, Sent
from wazuh_cluster.integrity.paths import PathSet
from wazuh_cluster.integrity.plan import Plan, makePlan
from wazuh_cluster.integrity.receiver import Receiver
from wazuh_cluster.integrity.snapshot import Snapshot
from wazuh_cluster.integrity.staging import Needed, Staging
from wazuh_cluster.integrity.tree import DirectoryTree
from wazuh_cluster.integrity.wants import Want, Wants, WantsDecoder, WantsWriter

__all__ = [
    "DIGEST_SIZES",
    "WAZUH_ITEMS",
    "Comparison",
    "DirectoryTree",
    "Hold",
    "Holds",
    "IPackSink",
    "Installed",
    "Item",
    "Items",
    "Manifest",
    "ManifestDecoder",
    "Needed",
    "Outcome",
    "Owner",
    "PackReader",
    "PackSource",
    "PathSet",
    "Plan",
    "RealFileSystem",
    "Receiver",
    "Sent",
    "Snapshot",
    "Staging",
    "Want",
    "Wants",
    "WantsDecoder",
    "WantsWriter",
    "agentsHold",
    "decodeSlices",
    "explainDifference",
    "findHolds",
    "itemsDigest",
    "itemsText",
    "makePlan",
    "newHash",
]
