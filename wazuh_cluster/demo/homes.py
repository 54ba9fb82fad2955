"""
The homes of a demo's nodes, and what stands in them.
"""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import ExitStack

from wazuh_cluster.demo.ownruleset import OwnFile
from wazuh_cluster.demo.pace import Pace
from wazuh_cluster.errors import BadInput
from wazuh_cluster.home import Home, makeHome
from wazuh_cluster.newconf import ClusterBlock, planConf
from wazuh_cluster.plannedfile import writePlanned

ADDRESS = "127.0.0.1"
CLUSTER = "demo"


def freePorts(count: int, address: str = ADDRESS) -> list[int]:
    """
    So many different TCP ports on which nobody listens just now.
    """
    with ExitStack() as probes:
        ports = []
        for _ in range(count):
            probe = probes.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind((address, 0))
            ports.append(probe.getsockname()[1])
        return ports


def makeNodeHome(
    home: Home, role: str, name: str, port: int, key: str, interval: float | None
) -> None:
    """
    Make a home with a node's configuration.

    @param interval: seconds between two runs of the integrity thread; C{None}
        for the role's own.
    """
    makeHome(home)
    block = ClusterBlock(
        name=CLUSTER,
        nodeName=name,
        role=role,
        key=key,
        port=port,
        bindAddr=ADDRESS,
        master=ADDRESS,
    )
    writePlanned(planConf(home, block, None))
    if interval is not None:
        with open(home.settings, "w", encoding="ascii") as file:
            file.write(f"[integrity]\ninterval = {interval:g}\n")


def fill(home: Home, files: dict[str, bytes], pace: Pace) -> int:
    """
    Write files into a home.

    @return: how many bytes that was.
    """
    for name, content in files.items():
        pace.check()
        path = _place(home, name)
        with open(path, "wb") as file:
            os.fchmod(file.fileno(), 0o660)
            file.write(content)
    return sum(map(len, files.values()))


def copyInto(home: Home, files: list[OwnFile], pace: Pace) -> int:
    """
    Copy files into a home.

    @return: how many bytes that was.
    """
    for each in files:
        pace.check()
        path = _place(home, each.target)
        shutil.copyfile(each.source, path)
        os.chmod(path, 0o660)
    return sum(each.size for each in files)


def requireRoom(folder: str, needed: int, free: int | None = None) -> None:
    """
    See that a folder's disk has room for so many bytes.

    @param free: how many there are, instead of looking.

    @raise BadInput: if it has not.
    """
    if free is None:
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadInput(
            f"there is room for {free // 1_000_000} MB, and the demo needs "
            f"{-(-needed // 1_000_000)} MB",
            folder,
            "set TMPDIR to a folder with more, or take fewer --workers or a smaller --size",
        )


def _place(home: Home, name: str) -> str:
    path = home.join(name)
    os.makedirs(os.path.dirname(path), mode=0o770, exist_ok=True)
    return path
