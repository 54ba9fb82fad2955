"""
Frozen values as JSON says them, and back.

The names of attributes become those of JSON: C{lastSync} is C{last_sync}. What
has its default is left out, unless all is wanted; what is not known is ignored
when it is read: so two versions of a value understand each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from attrs import NOTHING, Attribute, AttrsInstance, fields, has, resolve_types

T = TypeVar("T", bound=AttrsInstance)

#: The largest number that is taken for one.
_MOST = 2**63


def write(value: Any, full: bool = False) -> Any:
    """
    A value, or several in tuples and mappings, as what C{json.dumps} takes.

    @param full: whether to write defaults too.
    """
    kind: Any = type(value)
    if has(kind):
        return {
            name: write(getattr(value, each.name), full)
            for name, each in _table(kind).items()
            if full or getattr(value, each.name) != _default(each)
        }
    if isinstance(value, (tuple, list)):
        return [write(each, full) for each in value]
    if isinstance(value, Mapping):
        return {key: write(each, full) for key, each in value.items()}
    return value


def read(kind: type[T], found: Any) -> T:
    """
    A value from what C{json.loads} gave.

    @raise ValueError: if it is none: with the name of what is wrong.
    """
    known = readKnown(kind, found)
    for each in fields(kind):
        if each.default is NOTHING and each.name not in known:
            raise ValueError(f"{kind.__name__} without {_name(each.name)}")
    return kind(**known)


def readKnown(kind: type[T], found: Any) -> dict[str, Any]:
    """
    Those attributes of a value that JSON names, by their own names.

    @raise ValueError: if one of them cannot be what it says.
    """
    if not isinstance(found, dict):
        raise ValueError(f"{kind.__name__} that is no object")
    known: dict[str, Any] = {}
    for name, each in _table(kind).items():
        if name in found:
            try:
                known[each.name] = _read(each.type, found[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return known


def writeKnown(value: AttrsInstance, names: frozenset[str]) -> dict[str, Any]:
    """
    Some attributes of a value, by their own names, with defaults.
    """
    return {_name(name): write(getattr(value, name)) for name in sorted(names)}


@cache
def _table(kind: type[AttrsInstance]) -> dict[str, Attribute[Any]]:
    """
    The attributes of a class, by their names in JSON.
    """
    resolve_types(kind)
    return {_name(each.name): each for each in fields(kind)}


def _name(attribute: str) -> str:
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), attribute)


def _default(attribute: Attribute[Any]) -> Any:
    default: Any = attribute.default
    return default.factory() if hasattr(default, "factory") else default


def _read(kind: Any, found: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if found is None and NoneType in inner:
            return None
        (kind,) = (each for each in inner if each is not NoneType)
        return _read(kind, found)
    if origin is tuple:
        if not isinstance(found, list):
            raise ValueError("no array")
        return tuple(_read(inner[0], each) for each in found)
    if origin is not None:
        if not isinstance(found, dict):
            raise ValueError("no object")
        return {key: _read(inner[1], each) for key, each in found.items()}
    if has(kind):
        return read(kind, found)
    return _plain(kind, found)


def _plain(kind: Any, found: Any) -> Any:
    """
    A text, a number, or true or false.
    """
    if kind is float:
        if type(found) not in (int, float) or not abs(found) <= _MOST:
            raise ValueError("no number")
        return float(found)
    if type(found) is not kind:
        raise ValueError(f"no {_KINDS[kind]}")
    if kind is int and abs(found) > _MOST:
        raise ValueError("no number")
    return found


_KINDS = {str: "text", int: "number", bool: "flag"}
