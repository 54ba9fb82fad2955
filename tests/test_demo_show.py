"""
Tests for L{wazuh_cluster.demo.show}.
"""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.demo.show import Screen, bar, isTerminal, number, size, table


class Terminal(io.StringIO):
    """
    An output that is a terminal.
    """

    def isatty(self) -> bool:
        """
        It is.
        """
        return True


class FormatTests(SynchronousTestCase):
    """
    Tests for how values are shown.
    """

    def test_bar(self) -> None:
        """
        A bar grows with what is done, has always the same length, and is full
        only at the end.
        """
        self.assertEqual("[....]   0%", bar(0, 1000, 4))
        self.assertEqual("[##..]  50%", bar(500, 1000, 4))
        self.assertEqual("[###.]  99%", bar(999, 1000, 4))
        self.assertEqual("[####] 100%", bar(1000, 1000, 4))
        self.assertEqual("[####] 100%", bar(2000, 1000, 4))
        self.assertEqual("[####] 100%", bar(0, 0, 4))

    def test_size(self) -> None:
        """
        Bytes are shown in the unit that fits.
        """
        self.assertEqual(
            ["0 bytes", "999 bytes", "1.0 kB", "1.5 MB", "2000.0 MB"],
            [size(each) for each in (0, 999, 1000, 1_500_000, 2_000_000_000)],
        )

    def test_number(self) -> None:
        """
        One is not many.
        """
        self.assertEqual("1 worker", number(1, "worker"))
        self.assertEqual("0 workers", number(0, "worker"))

    def test_table(self) -> None:
        """
        Columns are aligned, those that were named to the right.
        """
        lines = table(("node", "files"), [("hub", 7), ("siem-1", 12345)], right=("files",))
        self.assertEqual(["node    files", "hub         7", "siem-1  12345"], lines)

    def test_isTerminal(self) -> None:
        """
        Only what is a terminal, and not a dumb one, can overwrite lines.
        """
        self.assertTrue(isTerminal(Terminal(), {"TERM": "xterm"}))
        self.assertFalse(isTerminal(Terminal(), {"TERM": "dumb"}))
        self.assertFalse(isTerminal(Terminal(), {}))
        self.assertFalse(isTerminal(io.StringIO(), {"TERM": "xterm"}))


class ScreenTests(SynchronousTestCase):
    """
    Tests for L{Screen}.
    """

    def test_plain(self) -> None:
        """
        Where lines cannot be overwritten, only those that stay are printed,
        and no control characters.
        """
        out = io.StringIO()
        screen = Screen(out, live=False)
        screen.show(["a 1%"])
        screen.show(["a 50%"])
        screen.settle(["a done"])
        screen.say("next")
        self.assertEqual("a done\nnext\n", out.getvalue())

    def test_steps(self) -> None:
        """
        The titles of steps are numbered.
        """
        out = io.StringIO()
        screen = Screen(out, live=False)
        screen.step("One")
        screen.say("   seen")
        screen.step("Another")
        self.assertEqual("\n1. One\n   seen\n\n2. Another\n", out.getvalue())

    def test_live(self) -> None:
        """
        On a terminal the lines are printed over those before, and once they
        stay, below them.
        """
        out = io.StringIO()
        screen = Screen(out, live=True, width=80)
        screen.show(["a 1%", "b 1%"])
        screen.show(["a 2%", "b 1%"])
        screen.settle(["a", "b"])
        screen.show(["c"])
        self.assertEqual(
            "\ra 1%\x1b[K\n\rb 1%\x1b[K\n"
            "\x1b[2A\ra 2%\x1b[K\n\rb 1%\x1b[K\n"
            "\x1b[2A\ra\x1b[K\n\rb\x1b[K\n"
            "\rc\x1b[K\n",
            out.getvalue(),
        )

    def test_nothingNew(self) -> None:
        """
        The same lines are not printed again.
        """
        out = io.StringIO()
        screen = Screen(out, live=True, width=80)
        screen.show(["a"])
        before = out.getvalue()
        screen.show(["a"])
        self.assertEqual(before, out.getvalue())

    def test_narrow(self) -> None:
        """
        A line that would wrap is cut as long as it is overwritten; what stays
        is whole.
        """
        out = io.StringIO()
        screen = Screen(out, live=True, width=10)
        screen.show(["0123456789abc"])
        self.assertEqual("\r012345678\x1b[K\n", out.getvalue())
        screen.settle(["0123456789abc"])
        self.assertTrue(out.getvalue().endswith("\r0123456789abc\x1b[K\n"))
