"""
Cluster keys that protect nothing: those that stand in public examples, and
those that anybody would guess.

Who dials a node can test guesses of the key without being noticed, so a key
must be random.
"""

from __future__ import annotations

import re
from itertools import pairwise

#: Keys that a cluster can have only by copying: each with where it stands.
_PUBLIC = {
    "c98b62a9b6169ac5f67dae55ae4a9088": "Wazuh's documentation",
    "c98b62a9b6169ac5f67dfe55b73a8d2a": "Wazuh's documentation",
    "9d273b53510fef702b54a92e9cffc82e": "Wazuh's deployment scripts",
    "fd3350b86d239654e34866ab3c4988a8": "the defaults of Wazuh's own cluster",
    "c98b6ha9b6169zc5f67rae55ae4z5647": "Wazuh's containers",
    "123a45bc67def891gh23i45jk67l8mn9": "Wazuh's Kubernetes manifests",
    "01234567890123456789012345678912": "Wazuh's Puppet module",
    "nso42FGdswR0805tnVqeww0u3Rubwk2a": "examples of Wazuh 3",
    "abcdefghijklmnopqrstuvwxyz012345": "deployment scripts for Wazuh",
}
_PUBLIC_FOLDED = {key.casefold(): source for key, source in _PUBLIC.items()}

_WORDS = re.compile("wazuh|ossec|cluster|secret|password|changeme|example|master|worker", re.I)
_FEWEST_CHARACTERS = 8
_LONGEST_PERIOD = 16
_MOST_STEPS = 20


def whyPublic(key: str) -> str | None:
    """
    Say in which public text C{key} stands, or return C{None}.
    """
    source = _PUBLIC_FOLDED.get(key.casefold())
    return None if source is None else f"the key is known to everybody: it stands in {source}"


def whyGuessable(key: str) -> str | None:
    """
    Say why C{key} does not look random, or return C{None}.
    """
    if len(set(key.casefold())) < _FEWEST_CHARACTERS:
        return (
            f"the key can be guessed: it has fewer than {_FEWEST_CHARACTERS} different characters"
        )
    for period in range(1, _LONGEST_PERIOD + 1):
        if key[period:] == key[:-period]:
            return f"the key can be guessed: it repeats every {period} characters"
    steps = [ord(after) - ord(before) for before, after in pairwise(key)]
    if steps.count(1) >= _MOST_STEPS or steps.count(-1) >= _MOST_STEPS:
        return "the key can be guessed: its characters follow each other in order"
    word = _WORDS.search(key)
    if word is not None:
        return f"the key can be guessed: it contains the word {word.group().lower()!r}"
    return None


def whyWeak(key: str) -> str | None:
    """
    Say why C{key} protects nothing, or return C{None}: L{whyPublic} before
    L{whyGuessable}.
    """
    return whyPublic(key) or whyGuessable(key)
