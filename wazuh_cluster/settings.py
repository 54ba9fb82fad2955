"""
From C{etc/wazuh_cluster.ini} to checked, frozen L{Settings}.

What this package has and Wazuh has not is set there, because Wazuh's programs
refuse elements of C{ossec.conf} that they do not know. Everything has a
default, and the file may be missing.
"""

from __future__ import annotations

import configparser
import difflib
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

from attrs import evolve, field, fields, frozen

from wazuh_cluster.configvalues import parseYesOrNo
from wazuh_cluster.errors import BadInput, BadName, ConfigError
from wazuh_cluster.integrity.items import LOCAL_FOLDER, WAZUH_ITEMS, Item, Items
from wazuh_cluster.integrity.paths import isWithin
from wazuh_cluster.model import CertificateFiles, checkName
from wazuh_cluster.protocol.limits import Limits

ALGORITHMS = ("md5", "sha256")
_ITEM = "item "
_T = TypeVar("_T")


@frozen
class Settings:
    """
    What an operator may set of a node, checked.

    @ivar algorithm: C{'md5'} or C{'sha256'}: what a master's manifest uses.
    @ivar interval: seconds between two runs of the integrity thread; C{None}
        for the role's own.
    @ivar compression: whether files may travel compressed.
    @ivar items: all that is carried: Wazuh's own items and those added here.
    @ivar followedFolders: absolute folders; a link in an item may lead to a
        file in one of them.
    @ivar administrators: on a master, the workers at which agents may be
        removed and groups changed.
    @ivar limits: what a peer is allowed.
    @ivar certificates: where the node's own certificate is, as it was written;
        C{None} if the cluster key is what it is trusted for.
    @ivar tokenFile: where the token is that those must show who look at the
        node over HTTP, as it was written; C{None} for no token.
    @ivar hosts: names and addresses by which browsers may ask for its pages.
    """

    algorithm: str = "md5"
    interval: float | None = None
    compression: bool = True
    items: Items = WAZUH_ITEMS
    followedFolders: tuple[str, ...] = ()
    administrators: tuple[str, ...] = ()
    limits: Limits = field(factory=Limits)
    certificates: CertificateFiles | None = None
    tokenFile: str | None = None
    hosts: tuple[str, ...] = ()

    def certificatesIn(self, home: str) -> CertificateFiles | None:
        """
        L{certificates} with absolute paths; relative ones begin at the home.

        @raise ConfigError: if one of them lies in an item: it would be carried
            to other nodes, or be taken for extra and removed.
        """
        if self.certificates is None:
            return None
        files = self.certificates.within(home)
        for name, path in files.named():
            for item in self.items:
                place = os.path.join(home, os.fsdecode(item.path))
                if _isWithin(path, place):
                    raise ConfigError(
                        f"{path} is within the item {os.fsdecode(item.path)}, which is carried",
                        f"{files.where} {name}",
                        f"move it to a folder of the node's own, such as {LOCAL_FOLDER}",
                    )
        return files


def _isWithin(path: str, folder: str) -> bool:
    """
    Whether a file, or where a link of that name leads, is within a folder.
    """
    places = (os.fsencode(os.path.abspath(folder)), os.fsencode(os.path.realpath(folder)))
    return any(
        isWithin(os.fsencode(form), place)
        for form in (os.path.abspath(path), os.path.realpath(path))
        for place in places
    )


def loadSettings(path: str) -> Settings:
    """
    Read and check the settings; the defaults if there is no such file.

    @raise ConfigError: if the file cannot be read or used.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise ConfigError(
            f"it cannot be read ({error.strerror})", path, "let this user read it"
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError("it is not UTF-8", path, "save it as UTF-8") from None
    return readSettings(text, path)


def readSettings(text: str, where: str) -> Settings:
    """
    Check settings.

    @param text: the whole file.
    @param where: its name, for errors.

    @raise ConfigError: one line that says what is wrong, where, and what to do.
    """
    sections = _parse(text, where)
    integrity = _Section(sections, where, "integrity", ("algorithm", "interval", "compression"))
    follow = _Section(sections, where, "follow", ("folders",))
    administration = _Section(sections, where, "administration", ("workers",))
    web = _Section(sections, where, "http", ("token_file", "hosts"))
    limitTypes = get_type_hints(Limits)
    limits = _Section(sections, where, "limits", tuple(a.name for a in fields(Limits)))
    items = [name for name in sections if name.startswith(_ITEM)]
    for name in sections:
        known = ("integrity", "follow", "administration", "limits", "certificates", "http")
        if name not in known and name not in items:
            raise ConfigError(
                f"there is no section [{name}]",
                where,
                _nearest(name, (*known, "item NAME"), "[{}]"),
            )
    numbers: dict[str, Any] = {
        name: limits.get(name, _positive(limitTypes[name]), None) for name in limits.values
    }
    return Settings(
        algorithm=integrity.get("algorithm", _algorithm, "md5"),
        interval=integrity.get("interval", _positive(float), None),
        compression=integrity.get("compression", parseYesOrNo, True),
        items=_allItems([_item(sections, where, name) for name in items], where),
        followedFolders=follow.get("folders", _folders, ()),
        administrators=administration.get("workers", _nodes, ()),
        limits=evolve(Limits(), **numbers),
        certificates=_certificates(sections, where),
        tokenFile=web.get("token_file", _file, None),
        hosts=web.get("hosts", _hosts, ()),
    )


def _parse(text: str, where: str) -> dict[str, dict[str, str]]:
    """
    The sections of a file and their keys, spelled as they are in it.
    """
    parser = configparser.ConfigParser(
        interpolation=None, default_section="", inline_comment_prefixes=None
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.DuplicateSectionError as error:
        raise ConfigError(
            f"section [{error.section}] stands there twice",
            f"{where}, line {error.lineno}",
            "put its keys into one",
        ) from None
    except configparser.DuplicateOptionError as error:
        raise ConfigError(
            f"{error.option!r} stands there twice",
            f"{where}, line {error.lineno}, [{error.section}]",
            "keep one",
        ) from None
    except configparser.MissingSectionHeaderError as error:
        raise ConfigError(
            "a key stands before any section",
            f"{where}, line {error.lineno}",
            "write a line such as [integrity] before it",
        ) from None
    except configparser.ParsingError as error:
        line = f", line {error.errors[0][0]}" if error.errors else ""
        raise ConfigError(
            "it cannot be read", f"{where}{line}", "write it as 'key = value'"
        ) from None
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _plainKey(key: str) -> str:
    return re.sub("[-_]", "", key).lower()


def _nearest(name: str, known: tuple[str, ...], form: str = "{!r}") -> str:
    """
    A remedy that names the most similar of the known names, or all.
    """
    near = difflib.get_close_matches(name, known, 1, 0.5)
    if near:
        return f"did you mean {form.format(near[0])}?"
    return f"use one of {', '.join(form.format(other) for other in known)}"


class _Section:
    """
    One section whose keys are all known.

    @ivar values: what is set, by the known spelling of each key. Hyphens and
        capitals do not tell keys apart.
    """

    def __init__(
        self,
        sections: Mapping[str, Mapping[str, str]],
        where: str,
        name: str,
        known: tuple[str, ...],
    ) -> None:
        self.where = f"{where}, [{name}]"
        self.values: dict[str, str] = {}
        spelled = {_plainKey(key): key for key in known}
        for key, value in sections.get(name, {}).items():
            if _plainKey(key) not in spelled:
                raise ConfigError(f"there is no key {key!r}", self.where, _nearest(key, known))
            proper = spelled[_plainKey(key)]
            if proper in self.values:
                raise ConfigError(f"{proper!r} stands there twice", self.where, "keep one")
            self.values[proper] = value.strip()

    def get(self, key: str, convert: Callable[[str, str], _T], default: _T | None) -> _T:
        """
        A key's value.

        @param convert: takes the text and where it stands.
        """
        if key not in self.values:
            return default  # type: ignore[return-value]
        return convert(self.values[key], f"{self.where} {key}")


def _algorithm(text: str, where: str) -> str:
    if text.lower() not in ALGORITHMS:
        raise ConfigError(f"{text!r} is not an algorithm", where, f"use {' or '.join(ALGORITHMS)}")
    return text.lower()


def _positive(kind: type) -> Callable[[str, str], float]:
    """
    A converter to a number above 0, whole if C{kind} is C{int}.
    """

    def convert(text: str, where: str) -> float:
        try:
            value = int(text) if kind is int else float(text)
        except ValueError:
            value = 0
        if not (value > 0 and math.isfinite(value)):
            whole = "whole " if kind is int else ""
            raise ConfigError(
                f"{text[:40]!r} is not a {whole}number above 0", where, "write one without a unit"
            )
        return value

    return convert


def _list(text: str) -> list[str]:
    """
    What is separated by commas, blanks or ends of lines.
    """
    return [word for word in re.split(r"[\s,]+", text) if word]


def _folders(text: str, where: str) -> tuple[str, ...]:
    # Folders may have blanks in their names: one a line, or commas.
    found = [word.strip() for word in re.split(r"[\n,]", text) if word.strip()]
    for folder in found:
        if not os.path.isabs(folder) or os.path.normpath(folder) != folder or folder == "/":
            raise ConfigError(
                f"{folder!r} is not a folder to follow links to",
                where,
                "write absolute paths without '..', and not all of '/'",
            )
    return tuple(found)


def _nodes(text: str, where: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_list(text)))
    for name in names:
        try:
            checkName(name)
        except BadName as error:
            raise ConfigError(
                str(error), where, "write the <node_name> of workers, with commas between them"
            ) from None
    return names


def _file(text: str, where: str) -> str:
    if not text or "\0" in text:
        raise ConfigError("it names no file", where, "write its path; it may begin at the home")
    return text


def _hosts(text: str, where: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_list(text)))
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+|\[?[0-9A-Fa-f:.]+\]?", name):
            raise ConfigError(
                f"{name[:80]!r} is no name or address",
                where,
                "write what stands between // and : in a browser, with commas between them",
            )
    return names


def _item(sections: Mapping[str, Mapping[str, str]], where: str, name: str) -> Item:
    known = ("path", "mode", "folderMode", "recursive", "names", "restart")
    section = _Section(sections, where, name, known)
    if not name[len(_ITEM) :].strip():
        raise ConfigError("an item has no name", section.where, "write [item NAME]")
    if not section.values.get("path"):
        raise ConfigError("it has no path", section.where, "add 'path = etc/FOLDER'")
    return Item(
        path=os.fsencode(section.values["path"].rstrip("/") or "/"),
        mode=section.get("mode", _mode, 0o660),
        recursive=section.get("recursive", parseYesOrNo, True),
        names=section.get("names", _names, (b"*",)),
        restart=section.get("restart", parseYesOrNo, False),
        folderMode=section.get("folderMode", _folderMode, 0o770),
    )


def _allItems(added: list[Item], where: str) -> Items:
    """
    Wazuh's items and these.
    """
    if not added:
        return WAZUH_ITEMS
    try:
        return Items((*WAZUH_ITEMS, *added))
    except BadInput as error:
        raise ConfigError(error.what, f"{where}, {error.where}", error.remedy) from None


def _certificates(sections: Mapping[str, Mapping[str, str]], where: str) -> CertificateFiles | None:
    needed = ("ca", "certificate", "private_key")
    section = _Section(sections, where, "certificates", (*needed, "revoked"))
    if "certificates" not in sections:
        return None
    paths = section.values
    for name in (*needed, *paths):
        if not paths.get(name):
            raise ConfigError(
                f"there is no {name!r}",
                section.where,
                f"add '{name} = {LOCAL_FOLDER}/{name}.pem'; 'wazuh-cluster certify' makes such "
                "files",
            )
    return CertificateFiles(
        paths["ca"],
        paths["certificate"],
        paths["private_key"],
        paths.get("revoked"),
        section.where,
    )


def _mode(text: str, where: str) -> int:
    return _checkedMode(text, where, 0o600, "0660 or 0640")


def _folderMode(text: str, where: str) -> int:
    return _checkedMode(text, where, 0o700, "0770 or 0750")


def _checkedMode(text: str, where: str, needed: int, usual: str) -> int:
    if not re.fullmatch(r"(0o?)?[0-7]{3}", text):
        raise ConfigError(
            f"{text[:40]!r} is not a mode", where, f"write three octal digits: {usual[:4]}"
        )
    mode = int(text[-3:], 8)
    if mode & needed != needed or mode & 0o002:
        raise ConfigError(
            f"{text} shuts the owner out or lets everybody write", where, f"use {usual}"
        )
    return mode


def _names(text: str, where: str) -> tuple[bytes, ...]:
    names = _list(text)
    if not names or any("/" in name for name in names):
        raise ConfigError(
            f"{text[:80]!r} is no list of patterns for names", where, "write such as '*.xml *.json'"
        )
    return tuple(os.fsencode(name) for name in names)
