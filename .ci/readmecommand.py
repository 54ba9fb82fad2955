"""
Print the command that README.rst gives under a sentence.

C{readmecommand.py "Run the tests"} prints the one line of the literal block after
the line C{Run the tests::}, so that what is checked is what people are told to run.
"""

from __future__ import annotations

import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.rst"


def readmeCommand(text: str, sentence: str) -> str:
    """
    Return the command that stands under C{sentence} in a README's text.

    @raise LookupError: unless the sentence is there once, with a block of one line.
    """
    lines = text.splitlines()
    starts = [at for at, line in enumerate(lines) if line == sentence + "::"]
    if len(starts) != 1:
        raise LookupError(f"{sentence!r} introduces {len(starts)} blocks, not one")
    block = []
    for line in lines[starts[0] + 1 :]:
        if line and not line.startswith(" "):
            break
        if line:
            block.append(line.strip())
    if len(block) != 1:
        raise LookupError(f"the block under {sentence!r} has {len(block)} lines, not one")
    return block[0]


def main() -> None:
    """
    Do it for the sentence on the command line.
    """
    if len(sys.argv) != 2:
        raise SystemExit("usage: readmecommand.py SENTENCE")
    try:
        print(readmeCommand(README.read_text(encoding="utf-8"), sys.argv[1]))
    except LookupError as problem:
        raise SystemExit(f"README.rst: {problem.args[0]}") from None


if __name__ == "__main__":
    main()
