"""
Write a C{<cluster>} block: as a new C{ossec.conf}, or into that of a manager
that has none in use. Never over a configuration that somebody wrote.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from xml.sax.saxutils import escape

from attrs import evolve, field, frozen

from wazuh_cluster.clusterblock import clusterBlocks
from wazuh_cluster.config import readText
from wazuh_cluster.configvalues import checkKey
from wazuh_cluster.errors import ConfigError, HomeError
from wazuh_cluster.home import Home, Owner
from wazuh_cluster.ossecconf import Element

_MODE = 0o640


@frozen
class ClusterBlock:
    """
    What a C{<cluster>} block says. All values are checked already.
    """

    name: str
    nodeName: str
    role: str
    key: str = field(repr=False)
    port: int
    bindAddr: str
    master: str

    def render(self) -> str:
        """
        The block, each element on a line of its own: Wazuh's programs overlook
        a block without white space between its tags.
        """
        values = (
            ("name", self.name),
            ("node_name", self.nodeName),
            ("node_type", self.role),
            ("key", self.key),
            ("port", str(self.port)),
            ("bind_addr", self.bindAddr),
        )
        lines = [f"    <{tag}>{escape(value)}</{tag}>" for tag, value in values]
        return "\n".join(
            [
                "<cluster>",
                *lines,
                "    <nodes>",
                f"      <node>{escape(self.master)}</node>",
                "    </nodes>",
                "    <hidden>no</hidden>",
                "    <disabled>no</disabled>",
                "  </cluster>",
            ]
        )

    def renderFile(self) -> str:
        """
        The block in a root of its own.
        """
        return f"<ossec_config>\n  {self.render()}\n</ossec_config>\n"


@frozen
class PlannedFile:
    """
    One file that is to be written as a whole.

    @ivar path: absolute.
    @ivar content: all of it.
    @ivar mode: the permissions.
    @ivar owner: whose it is to be; C{None} for whoever writes it.
    @ivar replaces: the content that must still be there when it is replaced;
        C{None} if there must be no such file.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int
    owner: Owner | None
    replaces: bytes | None = field(repr=False)


def planConf(home: Home, block: ClusterBlock, owner: Owner | None) -> PlannedFile:
    """
    Decide what C{ossec.conf} is to become; nothing is written yet.

    Only on a real manager is a file that exists added to: where it has no
    C{<cluster>} block, in a root of its own at the end; or in place of the one
    block that Wazuh's installation leaves, which is disabled and has no key.

    @raise ConfigError: if what stands there is somebody's configuration.
    """
    path = home.conf
    planned = PlannedFile(
        path=path,
        content=block.renderFile().encode("ascii"),
        mode=_MODE,
        owner=owner,
        replaces=None,
    )
    if not os.path.lexists(path):
        return planned
    text, mode = readText(path)
    blocks = clusterBlocks(text, path)
    place = _placeForBlock(home, blocks)
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        before = file.read()
    # Latin-1 makes offsets of characters offsets of bytes.
    latin = before.decode("latin-1")
    if place is None:
        glue = "" if not latin or latin.endswith("\n") else "\n"
        after = latin + glue + "\n" + block.renderFile()
    else:
        (found,) = clusterBlocks(latin, path)
        after = latin[: found.start] + block.render() + latin[found.end :]
    return evolve(
        planned,
        path=os.path.realpath(path),
        content=after.encode("latin-1"),
        mode=stat.S_IMODE(mode),
        owner=Owner(status.st_uid, status.st_gid),
        replaces=before,
    )


def _placeForBlock(home: Home, blocks: list[Element]) -> Element | None:
    """
    The block to replace; C{None} to add one.
    """
    path = home.conf
    if not home.isRealManager():
        raise ConfigError(
            _whatStands(blocks),
            path,
            "start the node with it as it is, or choose another home or move the file away",
        )
    if not blocks:
        return None
    if len(blocks) > 1 or _last(blocks, "disabled", "no") != "yes":
        raise ConfigError(_whatStands(blocks), path, "use it as it is, or edit it")
    try:
        checkKey(_last(blocks, "key", ""), path)
    except ConfigError:
        return blocks[0]
    raise ConfigError(
        f"{_whatStands(blocks)}, which is disabled and has a key",
        path,
        "write <disabled>no</disabled> in it, or remove the block",
    )


def _whatStands(blocks: list[Element]) -> str:
    if not blocks:
        return "there is a configuration already"
    role = _last(blocks, "node_type", "master")
    node = _last(blocks, "node_name", "node01")
    cluster = _last(blocks, "name", "wazuh")
    return f"there is a configuration already, for the {role} {node!r} of the cluster {cluster!r}"


def _last(blocks: list[Element], name: str, default: str) -> str:
    found = [element for block in blocks for element in block.named(name)]
    return found[-1].value if found else default


def writePlanned(planned: PlannedFile) -> None:
    """
    Write a file whole and durably. At no moment does anybody see half of it, or
    see it with other permissions.

    @raise ConfigError: if the file changed, or appeared, since it was planned.
    @raise HomeError: if it cannot be written; nothing is left of it then.
    """
    try:
        _write(planned)
    except FileExistsError:
        raise ConfigError("somebody made it just now", planned.path, "look at it") from None
    except OSError as error:
        raise HomeError(
            f"it cannot be written ({error.strerror})",
            planned.path,
            "run as the home's owner or as root",
        ) from None


def _write(planned: PlannedFile) -> None:
    folder, name = os.path.split(planned.path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(handle, "wb") as file:
            if planned.owner is not None:
                _giveTo(handle, planned.owner)
            os.fchmod(handle, planned.mode)
            file.write(planned.content)
            file.flush()
            os.fsync(handle)
        if planned.replaces is None:
            _linkOrRename(temporary, planned.path)
        else:
            _requireUnchanged(planned)
            os.rename(temporary, planned.path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    folderHandle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folderHandle)
    finally:
        os.close(folderHandle)


def _linkOrRename(temporary: str, path: str) -> None:
    """
    Give a file its name, unless there is one of this name.
    """
    try:
        # Unlike a rename, a link never replaces what came meanwhile.
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # This file system has no links: the best that is left.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
        os.rename(temporary, path)


def _giveTo(handle: int, owner: Owner) -> None:
    status = os.fstat(handle)
    if (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
        os.fchown(handle, owner.uid, owner.gid)


def _requireUnchanged(planned: PlannedFile) -> None:
    with open(planned.path, "rb") as file:
        if file.read() != planned.replaces:
            raise ConfigError("somebody changed it just now", planned.path, "try again")
