"""
Tests for L{wazuh_cluster.ossecconf}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import ConfigError
from wazuh_cluster.ossecconf import readElements


class ReadElementsTests(SynchronousTestCase):
    """
    L{readElements} reads what Wazuh's programs read.
    """

    def refuse(self, text: str) -> str:
        """
        The error for a text.
        """
        return str(self.assertRaises(ConfigError, readElements, text, "f"))

    def test_nestedElements(self) -> None:
        """
        Elements keep their order, text, lines and places.
        """
        text = "<a>\n one <b>two</b> three\n  <c/>\n</a>\n<d>4</d>\n"
        a, d = readElements(text, "f")
        self.assertEqual(["b", "c"], [child.name for child in a.children])
        self.assertEqual("\n one  three\n  \n", a.text)
        self.assertEqual([1, 5], [a.line, d.line])
        self.assertEqual([2, 3], [child.line for child in a.children])
        self.assertEqual("<b>two</b>", text[a.children[0].start : a.children[0].end])
        self.assertEqual("<c/>", text[a.children[1].start : a.children[1].end])
        self.assertEqual("<d>4</d>", text[d.start : d.end])

    def test_strayCharacters(self) -> None:
        """
        An ampersand that begins no entity, a lone angle bracket and an escaped
        one are text.
        """
        (a,) = readElements(r"<a>b & c &unknown; &amp;&lt; 1 < 2 > 0 \<td\> \</td\></a>", "f")
        self.assertEqual(r"b & c &unknown; &< 1 < 2 > 0 \<td\> \</td\>", a.text)

    def test_escapedElement(self) -> None:
        """
        A backslash makes a whole tag text.
        """
        (a,) = readElements(r"<a>\<b>\</b></a>", "f")
        self.assertEqual((r"\<b>\</b>", []), (a.text, a.children))

    def test_backslashBeforeOwnEnd(self) -> None:
        """
        A Windows folder with a final backslash does not hide its own end tag.
        """
        (a,) = readElements("<a><b>C:\\Windows\\</b></a>", "f")
        self.assertEqual("C:\\Windows\\", a.children[0].text)

    def test_comments(self) -> None:
        """
        Comments, with C{--} and tags in them, are skipped, and count as lines.
        """
        (a,) = readElements("<!-- -- <x> \n --><a><!-- </a> --></a>", "f")
        self.assertEqual((2, ""), (a.line, a.text))

    def test_declarationAndCharacterData(self) -> None:
        """
        An XML declaration is skipped, a CDATA section is text.
        """
        (a,) = readElements("<?xml version='1.0'?>\n<a><![CDATA[<b>&amp;]]></a>", "f")
        self.assertEqual("<b>&amp;", a.text)

    def test_attributes(self) -> None:
        """
        Attributes are kept, whatever stands in their quotes.
        """
        (a,) = readElements("<a name=\"x > &amp;y\" other = '/>' >t</a>", "f")
        self.assertEqual("t", a.text)
        self.assertEqual({"name": "x > &y", "other": "/>"}, a.attributes)

    def test_documentTypeRefused(self) -> None:
        """
        A document type, with which entities could be made to explode, is
        refused.
        """
        text = "\n<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"
        self.assertEqual("f, line 2: a document type stands here: remove it", self.refuse(text))

    def test_mismatches(self) -> None:
        """
        Tags that do not match are refused with their lines.
        """
        self.assertIn("line 2: </b> stands where <c> of line 1", self.refuse("<b><c>\n</b>"))
        self.assertIn("line 1: </b> ends nothing", self.refuse("</b>"))
        self.assertIn("line 2: <b> never ends", self.refuse("<a/>\n<b>"))
        self.assertIn("'<!--' never ends", self.refuse("<a/><!-- "))
        self.assertIn("nest too deeply", self.refuse("<a>" * 100))

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(st.sampled_from(["<a>", "</a>", "<b/>", "\\", "<", "&", "x", "\n", "<!--", "]]>"]))
    )
    def test_anyTextIsReadOrRefused(self, pieces: list[str]) -> None:
        """
        Whatever the text is, it is read or refused in one line; each element's
        place holds what the element is.
        """
        text = "".join(pieces)
        try:
            elements = readElements(text, "f")
        except ConfigError as error:
            self.assertNotIn("\n", str(error))
            return
        for element in elements:
            self.assertTrue(text[element.start : element.end].startswith(f"<{element.name}"))
            self.assertEqual(text.count("\n", 0, element.start) + 1, element.line)
