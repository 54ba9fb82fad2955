"""
A list so large that its transfer takes a while.
"""

from __future__ import annotations

import os
from base64 import b64encode
from random import Random

from wazuh_cluster.demo.pace import Pace

#: One line is a key of 16 characters, a colon, a value of 31 and a newline.
_LINE = 49
_KEY = 16
_LINES = 16384
_BLOCK = _LINE * _LINES


def writeLargeList(path: str, size: int, seed: int, pace: Pace) -> int:
    """
    Write C{size} bytes, rounded up to whole lines, of C{key:value} in which
    nothing repeats itself. Nobody sees the file before it is whole.

    @return: how many bytes there are now.
    """
    random = Random(seed)
    temporary = f"{path}.tmp"
    lines = max(1, -(-size // _LINE))
    with open(temporary, "wb") as file:
        os.fchmod(file.fileno(), 0o660)
        for start in range(0, lines, _LINES):
            pace.check()
            file.write(_block(random)[: (min(_LINES, lines - start)) * _LINE])
    os.rename(temporary, path)
    return lines * _LINE


def _block(random: Random) -> bytearray:
    block = bytearray(b64encode(random.randbytes(_BLOCK))[:_BLOCK])
    block[_KEY::_LINE] = b":" * _LINES
    block[_LINE - 1 :: _LINE] = b"\n" * _LINES
    return block
