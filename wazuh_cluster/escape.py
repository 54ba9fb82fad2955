"""
Text from anywhere, made safe to show: on one line, and without a word to the
terminal.
"""

from __future__ import annotations

import re

# What could move a terminal's cursor, begin a line, or turn the order of what
# is read: C0, DEL, C1, marks of direction, separators of lines, the byte order
# mark, tags; and surrogates, which cannot be written as UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    """
    The text with every control character and mark of direction made visible:
    C{\\n}, C{\\x1b}, C{\\u202e}.
    """
    return _UNSAFE.sub(_escapeOne, text)


def _escapeOne(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in _SHORT:
        return _SHORT[match[0]]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
