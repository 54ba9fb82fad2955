"""
Which agents a C{client.keys} names.
"""

from __future__ import annotations

from array import array
from io import BytesIO

from wazuh_cluster.interfaces import Slices

_STEP = 10_000


def keyIds(content: bytes) -> Slices[array[int]]:
    """
    The ids in a C{client.keys}, without those of removed agents.
    """
    ids: array[int] = array("L")
    for number, line in enumerate(BytesIO(content)):
        if number % _STEP == 0:
            yield
        fields = line.split(b" ", 2)
        # A removed agent's name has a mark before it; a comment has no id.
        if len(fields) == 3 and not fields[1].startswith((b"!", b"#")) and _isId(fields[0]):
            ids.append(int(fields[0]))
    return ids


def _isId(field: bytes) -> bool:
    return 0 < len(field) <= 8 and field.isdigit()
