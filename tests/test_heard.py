"""
Tests for records as they travel: L{wazuh_cluster.agents.records} and
L{wazuh_cluster.agents.heard}.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.agents import ACTIVE, DISCONNECTED, EVENTS, PENDING, AgentRecord
from wazuh_cluster.agents.heard import HeardBatch, decodeBatch, encodeRecord
from wazuh_cluster.agents.records import (
    MAX_DETAILS,
    MAX_RECORDS,
    checkRecord,
    decodeDetails,
    digestOf,
    encodeDetails,
)
from wazuh_cluster.errors import ProtocolViolation, RecordRefused
from wazuh_cluster.testing.agentcontracts import HOSTILE, NOW, fullRecord

_RECORDS = st.builds(
    AgentRecord,
    id=st.integers(1, 99_999_999),
    event=st.sampled_from(EVENTS),
    heard=st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000),
    version=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    statusCode=st.integers(0, 255),
    info=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        max_size=4,
    ),
    labels=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        ),
        max_size=4,
    ).map(tuple),
)


class RecordTests(SynchronousTestCase):
    """
    Single records, as programs report them.
    """

    def assertRefused(self, record: AgentRecord, words: str) -> None:
        """
        It is refused in one line that names the agent.
        """
        text = str(self.assertRaises(RecordRefused, checkRecord, record))
        self.assertIn(words, text)
        self.assertEqual([text], text.splitlines())
        self.assertLess(len(text), 200)

    def test_sound(self) -> None:
        """
        Whatever stands in texts, a record can be kept.
        """
        for text in HOSTILE:
            checkRecord(evolve(fullRecord(7, 1.0), version=text[:256], labels=((text, text),)))
        checkRecord(AgentRecord(1, PENDING, 0))
        checkRecord(AgentRecord(99_999_999, ACTIVE, -5.5))

    def test_wrong(self) -> None:
        """
        What is not a record is refused, with the agent and the reason.
        """
        sound = fullRecord(7, 1.0)
        nan = float("nan")
        cases: list[tuple[str, Any, str]] = [
            ("id", 0, "use an id from 1"),
            ("id", 100_000_000, "use an id from 1"),
            ("id", True, "use an id from 1"),
            ("id", "7", "use an id from 1"),
            ("event", "never_connected", "agent 007: the event 'never_connected'"),
            ("event", "\n", r"agent 007: the event '\n'"),
            ("heard", nan, "agent 007: nan is not a time"),
            ("heard", float("inf"), "agent 007: inf is not a time"),
            ("heard", "now", "agent 007: 'now' is not a time"),
            ("statusCode", -1, "agent 007: -1 is not a status code"),
            ("statusCode", 1.5, "agent 007: 1.5 is not a status code"),
            ("version", "v" * 257, "agent 007: its version"),
            ("version", 4, "agent 007: its version"),
            ("info", ["x"], "agent 007: its info"),
            ("info", {"os_name": 7}, "agent 007: its info"),
            ("labels", (("a", 7),), "agent 007: a label"),
            ("labels", (("a", "b", "c"),), "agent 007: a label"),
            ("labels", (("a", "\ud800"),), "agent 007: a text of it has half a character"),
            ("labels", (("a", "x" * 65_536),), f"more than {MAX_DETAILS}"),
        ]
        for name, value, words in cases:
            self.assertRefused(evolve(sound, **{name: value}), words)

    def test_readDetails(self) -> None:
        """
        What is no details is read as none, for a database can be edited.
        """
        for text in (None, "", "{", "[]", "7", '{"info":[]}', '{"labels":{}}', '{"version":5}'):
            self.assertEqual(("", {}, ()), decodeDetails(text), text)
        deep = "[" * 100_000
        self.assertEqual(("", {}, ()), decodeDetails(deep))
        self.assertEqual(("v", {}, ()), decodeDetails('{"version":"v","other":1}'))

    def test_digest(self) -> None:
        """
        A digest tells details apart, and nothing else.
        """
        record = fullRecord(7, 1.0)
        text = encodeDetails(record)
        assert text is not None
        self.assertEqual(text, encodeDetails(evolve(record, id=8, heard=2.0, event=PENDING)))
        other = encodeDetails(evolve(record, labels=()))
        assert other is not None
        self.assertNotEqual(digestOf(text), digestOf(other))
        self.assertIsNone(encodeDetails(AgentRecord(7, ACTIVE, 1.0)))


class BatchTests(SynchronousTestCase):
    """
    Batches, as they come over a link.
    """

    def decode(self, heads: Any, details: bytes = b"") -> tuple[HeardBatch, list[str]]:
        """
        Read a batch that was sent just now.
        """
        octets = heads if isinstance(heads, bytes) else json.dumps(heads).encode()
        return decodeBatch(octets, details, NOW)

    def head(self, **changes: Any) -> dict[str, Any]:
        """
        A sound head with some changes; C{None} leaves something out.
        """
        head = {"id": 7, "event": ACTIVE, "age": 1500, "code": 0, **changes}
        return {name: value for name, value in head.items() if value is not None}

    @given(st.lists(_RECORDS, min_size=1, max_size=6))
    def test_roundTrip(self, records: list[AgentRecord]) -> None:
        """
        What is written is read, with times that count back from the moment of
        sending.
        """
        now = 2_000_000.0
        parts = [encodeRecord(record, now - record.heard) for record in records]
        heads = b"[" + b",".join(head for head, _ in parts) + b"]"
        batch, refused = self.decode(heads, b"".join(details for _, details in parts))
        self.assertEqual([], refused)
        found = batch.records("w1")
        for record, read in zip(records, found, strict=True):
            # To the millisecond, and never newer than it was.
            older = NOW - (now - record.heard) - read.heard
            self.assertTrue(-1e-5 < older < 0.0011, older)
            self.assertEqual(evolve(record, heard=0.0, node="w1"), evolve(read, heard=0.0))

    def test_loosely(self) -> None:
        """
        Blanks, other orders of keys and keys from the future do no harm.
        """
        octets = b' [ {"age": 1500, "new": [{}], "event" : "active", "id":7} , {"id": 8,'
        octets += b'"event":"pending","age":0}\n]'
        batch, refused = self.decode(octets)
        self.assertEqual(([7, 8], []), (batch.ids, refused))
        self.assertEqual([NOW - 1.5, NOW], batch.heard)

    def test_oneIsSpoiled(self) -> None:
        """
        A record that is not one is named and left out; the others count.
        """
        cases: list[tuple[dict[str, Any], str]] = [
            ({"id": None}, "None is not an agent's id"),
            ({"id": "8"}, "'8' is not an agent's id"),
            ({"id": 8.0}, "8.0 is not an agent's id"),
            ({"id": True}, "True is not an agent's id"),
            ({"id": 0}, "0 is not an agent's id"),
            ({"id": 100_000_000}, "100000000 is not an agent's id"),
            ({"id": [8]}, "[8] is not an agent's id"),
            ({"event": None}, "agent 007: its event is None"),
            ({"event": "never_connected"}, "agent 007: its event is 'never_connected'"),
            ({"event": {}}, "agent 007: its event is {}"),
            ({"event": "\x1b[31m" + "x" * 100}, r"agent 007: its event is '\x1b[31m"),
            ({"age": None}, "agent 007: its age is None"),
            ({"age": -1}, "agent 007: its age is -1"),
            ({"age": 1.5}, "agent 007: its age is 1.5"),
            ({"age": "1"}, "agent 007: its age is '1'"),
            ({"age": True}, "agent 007: its age is True"),
            ({"age": 10**13}, "agent 007: its age is 10000000000000"),
            ({"code": -1}, "agent 007: its code is -1"),
            ({"code": 256}, "agent 007: its code is 256"),
            ({"code": "0"}, "agent 007: its code is '0'"),
            ({"digest": -1}, "agent 007: its digest is -1"),
            ({"digest": 2**48}, "agent 007: its digest is 281474976710656"),
            ({"digest": "x"}, "agent 007: its digest is 'x'"),
        ]
        for changes, why in cases:
            heads = [self.head(id=1), self.head(**changes, size=2), self.head(id=3, size=4)]
            batch, refused = self.decode(heads, b"{}{  }")
            self.assertEqual([1, 3], batch.ids, changes)
            self.assertEqual([None, "{  }"], batch.details, changes)
            (text,) = refused
            self.assertTrue(text.startswith(why), text)
            self.assertLess(len(text), 100)
            self.assertTrue(text.isprintable(), text)

    def test_allAreSpoiled(self) -> None:
        """
        A batch of which nothing can be used is still none that ends a link.
        """
        batch, refused = self.decode([{}, {"id": 1}])
        self.assertEqual((0, 2), (len(batch), len(refused)))
        batch, refused = self.decode([])
        self.assertEqual((0, []), (len(batch), refused))

    def test_violations(self) -> None:
        """
        What no node sends ends the link: no JSON, no array of objects, and
        details of which it cannot be told whose they are.
        """
        sound = self.head(size=4)
        cases: list[tuple[Any, bytes]] = [
            (b"", b""),
            (b"[", b""),
            (b"\xff\xfe", b""),
            (b'[{"id":NaN}]', b""),
            (b"[" + b"1" * 10_000 + b"]", b""),
            (b"[" * 50_000, b""),
            (b'[{"id":' + b"[" * 50_000, b""),
            ({}, b""),
            ([7], b""),
            ([[]], b""),
            ([None], b""),
            ([{}] * (MAX_RECORDS + 1), b""),
            ([sound], b""),
            ([sound], b"{}"),
            ([sound], b"{....}"),
            ([sound], b"{\xff\xff}"),
            ([self.head()], b"{..}"),
            ([self.head(size="4")], b"{..}"),
            ([self.head(size=4.0)], b"{..}"),
            ([self.head(size=True)], b"{"),
            ([self.head(size=-4), self.head(size=8)], b"{..}"),
            ([self.head(size=0), self.head(size=4)], b"{..}"),
        ]
        for heads, details in cases:
            violation = self.assertRaises(ProtocolViolation, self.decode, heads, details)
            self.assertLess(len(str(violation)), 200)

    @given(st.binary(max_size=200), st.binary(max_size=20))
    def test_anyOctets(self, heads: bytes, details: bytes) -> None:
        """
        Octets are a batch or a violation, and nothing else.
        """
        try:
            batch, _ = decodeBatch(heads, details, NOW)
        except ProtocolViolation:
            return
        self.assertEqual(len(batch.ids), len(batch.details))

    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(["id", "event", "age", "code", "digest", "size", "x"]),
                st.one_of(
                    st.none(),
                    st.booleans(),
                    st.integers(-3, 9),
                    st.integers(),
                    st.floats(allow_nan=False),
                    st.sampled_from([ACTIVE, DISCONNECTED, "", "x" * 70_000]),
                    st.lists(st.integers(), max_size=2),
                ),
            ),
            max_size=5,
        )
    )
    def test_anyRecords(self, heads: list[dict[str, Any]]) -> None:
        """
        Whatever heads say, what comes of them can be kept.
        """
        size = sum(head["size"] for head in heads if type(head.get("size")) is int)
        details = b"{" * size if 0 <= size < 1000 else b""
        try:
            batch, refused = self.decode(heads, details)
        except ProtocolViolation:
            return
        self.assertEqual(len(heads), len(batch) + len(refused))
        for record in batch.records("w1"):
            checkRecord(record)

    def test_unreadableDetails(self) -> None:
        """
        Details are kept as they came, and read as none if they are none.
        """
        batch, refused = self.decode([self.head(size=9, digest=1)], b'{"info":}')
        self.assertEqual([], refused)
        (record,) = batch.records("w1")
        self.assertEqual(AgentRecord(7, ACTIVE, NOW - 1.5, "w1"), record)

    def test_only(self) -> None:
        """
        Some rows of a batch.
        """
        batch = HeardBatch.of([fullRecord(agent, NOW) for agent in (7, 8, 9)])
        self.assertEqual(
            [fullRecord(7, NOW), fullRecord(9, NOW)], batch.only([True, False, True]).records("w1")
        )
