"""
Read C{ossec.conf}, which looks like XML and is not.

Wazuh's programs accept several roots, C{--} in comments, stray C{&} and C{<},
C{\\<} for a C{<} in a regular expression, and any encoding. This reader accepts
what they accept, knows the line and place of everything, and expands nothing:
a document type is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from attrs import Factory, define

from wazuh_cluster.errors import ConfigError

_TOKEN = re.compile(
    r"""
      (?P<comment><!--)
    | (?P<cdata><!\[CDATA\[)
    | (?P<instruction><\?)
    | (?P<declaration><![A-Za-z])
    | (?P<escape>\\)?
      <(?P<close>/)?(?P<name>[A-Za-z_][\w:.-]*)
      (?P<attributes>(?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)
      \s*(?P<empty>/)?>
    """,
    re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_ENDS = {"comment": "-->", "cdata": "]]>", "instruction": "?>"}
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos);")
_CHARACTERS = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_DEEPEST = 64


@define
class Element:
    """
    One element.

    @ivar name: its tag.
    @ivar line: where it begins, from 1.
    @ivar start: the offset of its first character in the text that was read.
    @ivar end: the offset behind its last one.
    @ivar text: its own text, without that of its children and of comments.
    @ivar children: the elements in it, in their order.
    @ivar attributes: what stands in its tag, by name.
    """

    name: str
    line: int
    start: int
    end: int = -1
    text: str = ""
    children: list[Element] = Factory(list)
    attributes: dict[str, str] = Factory(dict)

    def named(self, name: str) -> list[Element]:
        """
        The children that go by C{name}.
        """
        return [child for child in self.children if child.name == name]

    @property
    def value(self) -> str:
        """
        The text without white space around it.
        """
        return self.text.strip()


def readElements(text: str, where: str) -> list[Element]:
    """
    Read a whole file and return its roots.

    @param where: the file's name, for errors.

    @raise ConfigError: if tags do not match or something does not end; it
        names the line.
    """
    top = Element(name="", line=0, start=0)
    stack = [top]
    lines = _Lines(text)
    pieces: list[list[str]] = [[]]

    def refuse(what: str, offset: int, remedy: str) -> ConfigError:
        return ConfigError(what, f"{where}, line {lines.at(offset)}", remedy)

    position = 0
    for match, kind, resume in _tokens(text, refuse):
        pieces[-1].append(_plain(text[position : match.start()]))
        position = resume
        if kind == "cdata":
            pieces[-1].append(text[match.end() : resume - len("]]>")])
        elif kind == "tag":
            name = match["name"]
            closesTop = bool(match["close"]) and name == stack[-1].name
            if match["escape"] and not closesTop:
                # "\<" stands for "<"; but "C:\folder\</directories>" ends there.
                pieces[-1].append(match.group())
            elif not match["close"]:
                child = Element(
                    name=name,
                    line=lines.at(match.start()),
                    start=match.start(),
                    attributes=_attributes(match["attributes"]),
                )
                stack[-1].children.append(child)
                if match["empty"]:
                    child.end = resume
                    continue
                stack.append(child)
                pieces.append([])
                if len(stack) > _DEEPEST:
                    raise refuse("elements nest too deeply", match.start(), "remove some")
            elif closesTop:
                if match["escape"]:
                    pieces[-1].append("\\")
                ended = stack.pop()
                ended.text = "".join(pieces.pop())
                ended.end = resume
            elif len(stack) == 1:
                raise refuse(f"</{name}> ends nothing", match.start(), "remove it")
            else:
                opened = stack[-1]
                raise refuse(
                    f"</{name}> stands where <{opened.name}> of line {opened.line} is still open",
                    match.start(),
                    f"write </{opened.name}> before it",
                )
    if len(stack) > 1:
        opened = stack[-1]
        raise refuse(f"<{opened.name}> never ends", opened.start, f"add </{opened.name}>")
    return top.children


def _tokens(
    text: str, refuse: Callable[[str, int, str], ConfigError]
) -> Iterator[tuple[re.Match[str], str, int]]:
    """
    Find what is not plain text: each match, its kind, and where to go on.
    """
    position = 0
    while True:
        match = _TOKEN.search(text, position)
        if match is None:
            return
        kind = match.lastgroup if match["name"] is None else "tag"
        assert kind is not None
        position = match.end()
        if kind == "declaration":
            raise refuse("a document type stands here", match.start(), "remove it")
        if kind in _ENDS:
            end = text.find(_ENDS[kind], position)
            if end < 0:
                raise refuse(f"{match.group()!r} never ends", match.start(), f"add {_ENDS[kind]!r}")
            position = end + len(_ENDS[kind])
        yield match, kind, position


def _attributes(text: str) -> dict[str, str]:
    return {
        match[1]: _plain(match[2] if match[2] is not None else match[3])
        for match in _ATTRIBUTE.finditer(text)
    }


def _plain(text: str) -> str:
    """
    Text with the five entities that Wazuh knows replaced; any other C{&} is
    one.
    """
    return _ENTITY.sub(lambda match: _CHARACTERS[match[1]], text)


class _Lines:
    """
    The line numbers of offsets that are asked for in rising order, mostly.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self._line = 1

    def at(self, offset: int) -> int:
        """
        The line of an offset, from 1.
        """
        if offset < self._offset:
            self._offset, self._line = 0, 1
        self._line += self._text.count("\n", self._offset, offset)
        self._offset = offset
        return self._line
