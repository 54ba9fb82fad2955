"""
Tests for L{wazuh_cluster.repeats}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.repeats import Latest, Repeats


class RepeatsTests(SynchronousTestCase):
    """
    L{Repeats}.
    """

    def setUp(self) -> None:
        """
        Make a clock.
        """
        self.clock = Clock()

    def test_onePerInterval(self) -> None:
        """
        One line goes through per interval, and says how many were held back.
        """
        repeats = Repeats(self.clock, 2.0)
        self.assertEqual([repeats.allow("a") for _ in range(4)], [0, None, None, None])
        self.clock.advance(1.9)
        self.assertIsNone(repeats.allow("a"))
        self.clock.advance(0.1)
        self.assertEqual(repeats.allow("a"), 4)
        self.clock.advance(2)
        self.assertEqual(repeats.allow("a"), 0)

    def test_keys(self) -> None:
        """
        Keys do not hold each other back.
        """
        repeats = Repeats(self.clock)
        self.assertEqual([repeats.allow(key) for key in "abab"], [0, 0, None, None])

    def test_inventedKeys(self) -> None:
        """
        However many keys are invented, the lines in one interval are bounded.
        """
        repeats = Repeats(self.clock, maxKeys=10)
        through = [n for n in range(1000) if repeats.allow(n) is not None]
        self.assertEqual(len(through), 11)

    def test_forgets(self) -> None:
        """
        Keys whose interval is over make room for new ones.
        """
        repeats = Repeats(self.clock, maxKeys=2)
        for key in "abc":
            repeats.allow(key)
        self.clock.advance(1)
        self.assertEqual([repeats.allow(key) for key in "dede"], [0, 0, None, None])

    def test_burst(self) -> None:
        """
        Of all keys together a burst goes through, then so many a second; what
        is held back is counted for its key.
        """
        repeats = Repeats(self.clock, maxKeys=1000, burst=5, rate=2.0)
        through = [n for n in range(100) if repeats.allow(n) is not None]
        self.assertEqual([0, 1, 2, 3, 4], through)
        self.clock.advance(1)
        self.assertEqual([1, 1, None], [repeats.allow(n) for n in (50, 60, 70)])
        self.clock.advance(100)
        through = [n for n in range(200, 300) if repeats.allow(n) is not None]
        self.assertEqual(5, len(through))


class LatestTests(SynchronousTestCase):
    """
    L{Latest}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.latest = Latest(self.clock, Repeats(self.clock, maxKeys=10))
        self.lines: list[tuple[str, int]] = []

    def say(self, subject: str, kind: str, text: str | None = None) -> None:
        line = text or f"{subject} {kind}"
        self.latest.note(subject, kind, lambda held: self.lines.append((line, held)))

    def test_atOnce(self) -> None:
        """
        What is new is said at once, and leaves nothing to do.
        """
        for kind in ("in", "out"):
            self.say("a", kind)
            self.say("b", kind)
        self.assertEqual(["a in", "b in", "a out", "b out"], [line for line, _ in self.lines])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_endsWithHowThingsAre(self) -> None:
        """
        However often it changes, each kind is said once an interval; and in
        the end what is so.
        """
        for n in range(10):
            self.say("a", "in", f"in {n}")
            self.say("a", "out", f"out {n}")
        self.say("a", "in", "in at last")
        self.assertEqual([("in 0", 0), ("out 0", 0)], self.lines)
        self.clock.advance(1)
        self.assertEqual([("in at last", 9)], self.lines[2:])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_newerReplacesWhatWasHeldBack(self) -> None:
        """
        What was held back is not said after something newer was.
        """
        self.say("a", "in")
        self.say("a", "in", "in again")
        self.say("a", "out")
        self.clock.advance(5)
        self.assertEqual(["a in", "a out"], [line for line, _ in self.lines])

    def test_bounded(self) -> None:
        """
        What is held back of invented subjects is bounded, and forgotten at the
        end.
        """
        for n in range(1000):
            self.say(f"{n}", "in")
        self.clock.advance(1)
        self.assertLess(len(self.lines), 25)
        self.say("0", "in")
        self.say("0", "in")
        self.latest.close()
        self.assertEqual([], self.clock.getDelayedCalls())
