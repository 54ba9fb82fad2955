"""
What a worker answers itself, and what it asks its master for.
"""

from __future__ import annotations

from wazuh_cluster.requests.table import Asker, IAnswers, Requests


class OwnFirst:
    """
    Answers what a node knows itself, whether or not it can ask anybody; all
    else somebody else answers.
    """

    def __init__(self, own: Requests, others: IAnswers) -> None:
        self._own = own
        self._others = others

    async def perform(self, asker: Asker, name: str, body: bytes) -> bytes:
        """
        See L{wazuh_cluster.requests.table.IAnswers.perform}.
        """
        answers = self._own if name in self._own else self._others
        return await answers.perform(asker, name, body)
