"""
Times and sizes in the words of people.
"""

from __future__ import annotations


def span(seconds: float) -> str:
    """
    How long something takes or is ago, in the largest unit that fits: C{3 min}.
    """
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def size(octets: int) -> str:
    """
    An amount of bytes, in the largest unit that fits: C{3.2 MB}.
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if octets >= factor:
            return f"{octets / factor:.1f} {unit}"
    return f"{octets} B"


def count(number: int, one: str, many: str = "") -> str:
    """
    How many of something: C{1 file}, C{1,234 files}.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
