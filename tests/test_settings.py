"""
Tests for L{wazuh_cluster.settings}.
"""

from __future__ import annotations

import os

from attrs import asdict, evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.errors import ConfigError
from wazuh_cluster.integrity.items import WAZUH_ITEMS, Item
from wazuh_cluster.protocol.limits import Limits
from wazuh_cluster.settings import Settings, loadSettings, readSettings

EVERYTHING = """
# a comment
[integrity]
algorithm = SHA256
interval = 2.5
compression = no

[item extra rules]
path = etc/extra rules/
mode = 0640
folder-mode = 0750
recursive = no
names = *.xml, *.json
restart = yes

[item more]
path = queue/more

[follow]
folders = /srv/rules
    /mnt/my lists

[administration]
workers = siem-1, siem-2
    siem-1

[limits]
window = 65536
stall-timeout = 4.5

[certificates]
ca = /srv/ca.pem
certificate = etc/own/node.pem
private-key = etc/own/node.key
"""

CERTIFICATES = """
[certificates]
ca = etc/wazuh_cluster/ca.pem
certificate = etc/wazuh_cluster/certificate.pem
private_key = etc/wazuh_cluster/private_key.pem
"""


class ReadSettingsTests(SynchronousTestCase):
    """
    L{readSettings} takes what an operator may set.
    """

    def refuse(self, text: str) -> str:
        """
        The one line with which a text is refused.
        """
        error = self.assertRaises(ConfigError, readSettings, text, "w.ini")
        self.assertNotIn("\n", str(error))
        self.assertTrue(str(error).startswith("w.ini"))
        return str(error)

    def test_defaults(self) -> None:
        """
        An empty file sets nothing.
        """
        self.assertEqual(Settings(), readSettings("", "w.ini"))
        self.assertEqual(
            ("md5", None, WAZUH_ITEMS, Limits()),
            (Settings().algorithm, Settings().interval, Settings().items, Settings().limits),
        )

    def test_everything(self) -> None:
        """
        Each key arrives where it belongs; other limits keep their defaults.
        """
        found = readSettings(EVERYTHING, "w.ini")
        self.assertEqual(("sha256", 2.5), (found.algorithm, found.interval))
        self.assertFalse(found.compression)
        self.assertEqual(("/srv/rules", "/mnt/my lists"), found.followedFolders)
        self.assertEqual(("siem-1", "siem-2"), found.administrators)
        self.assertEqual(evolve(Limits(), window=65536, stallTimeout=4.5), found.limits)
        self.assertEqual(
            {
                *WAZUH_ITEMS,
                Item(
                    b"etc/extra rules",
                    mode=0o640,
                    folderMode=0o750,
                    recursive=False,
                    names=(b"*.xml", b"*.json"),
                    restart=True,
                ),
                Item(b"queue/more"),
            },
            set(found.items),
        )

    def test_certificates(self) -> None:
        """
        Relative paths begin at the home; the list of revoked ones is optional.
        """
        self.assertIsNone(Settings().certificatesIn("/h"))
        found = readSettings(EVERYTHING, "w.ini").certificatesIn("/h")
        assert found is not None
        self.assertEqual("w.ini, [certificates]", found.where)
        self.assertEqual(
            {
                "ca": "/srv/ca.pem",
                "certificate": "/h/etc/own/node.pem",
                "private_key": "/h/etc/own/node.key",
            },
            dict(found.named()),
        )
        found = readSettings(CERTIFICATES + "revoked = r.pem", "w.ini").certificatesIn("/h")
        assert found is not None
        self.assertEqual("/h/r.pem", dict(found.named())["revoked"])

    def test_certificatesNeedAll(self) -> None:
        """
        A section with a part of it says what is missing.
        """
        for key in ("ca", "certificate", "private_key"):
            for text in ("", f"{key} =\n"):
                lines = [
                    line for line in CERTIFICATES.splitlines() if not line.startswith(f"{key} =")
                ]
                error = self.refuse("\n".join([*lines, text]))
                self.assertTrue(
                    error.startswith(f"w.ini, [certificates]: there is no '{key}': add '{key} = ")
                )
        error = self.refuse(CERTIFICATES + "revoked =\n")
        self.assertIn("there is no 'revoked'", error)
        self.assertIn("there is no 'ca'", self.refuse("[certificates]\n"))

    def test_certificatesDoNotTravel(self) -> None:
        """
        Files in an item would be carried, or removed: they are refused, also
        where a link or an item that is a link hides it.
        """
        home = os.path.realpath(self.mktemp())
        for folder in ("etc/shared", "etc/own", "elsewhere"):
            os.makedirs(os.path.join(home, folder))
        os.symlink("../shared/key", os.path.join(home, "etc/own/link"))
        os.symlink("../elsewhere", os.path.join(home, "etc/rules"))
        for path in (
            "etc/shared/key",
            "etc/own/../shared/key",
            "etc/own/link",
            "elsewhere/key",
            "etc/rules/key",
            "etc/client.keys",
        ):
            text = CERTIFICATES.replace("etc/wazuh_cluster/private_key.pem", path)
            error = self.assertRaises(ConfigError, readSettings(text, "w.ini").certificatesIn, home)
            self.assertIn("w.ini, [certificates] private_key: ", str(error))
            self.assertIn("is within the item etc/", str(error))
            self.assertIn("etc/wazuh_cluster", error.remedy)
        for path in ("etc/own/key", "etc/sharedkey", "/srv/key"):
            text = CERTIFICATES.replace("etc/wazuh_cluster/private_key.pem", path)
            self.assertIsNotNone(readSettings(text, "w.ini").certificatesIn(home))

    def test_percent(self) -> None:
        """
        A percent sign in a value is one.
        """
        self.assertEqual(
            ("/srv/50%",), readSettings("[follow]\nfolders=/srv/50%", "w.ini").followedFolders
        )

    def test_unknownSection(self) -> None:
        """
        An unknown section is refused with the nearest one.
        """
        self.assertEqual(
            "w.ini: there is no section [integrty]: did you mean [integrity]?",
            self.refuse("[integrty]\n"),
        )
        self.assertIn("use one of [integrity], [follow]", self.refuse("[zzz]\n"))
        self.assertIn("no section [DEFAULT]", self.refuse("[DEFAULT]\nwindow=1"))

    def test_unknownKey(self) -> None:
        """
        An unknown key is refused with its section and the nearest one.
        """
        self.assertEqual(
            "w.ini, [limits]: there is no key 'windw': did you mean 'window'?",
            self.refuse("[limits]\nwindw=1\n"),
        )
        self.assertIn("use one of 'folders'", self.refuse("[follow]\nx=1\n"))

    def test_badValues(self) -> None:
        """
        Every bad value is refused with its section and key.
        """
        for section, line, what in [
            ("integrity", "algorithm = sha1", "use md5 or sha256"),
            ("integrity", "interval = 9s", "number above 0"),
            ("integrity", "compression = zstd", "neither 'yes' nor 'no'"),
            ("integrity", "interval = inf", "number above 0"),
            ("integrity", "interval =", "number above 0"),
            ("limits", "window = 0", "whole number above 0"),
            ("limits", "window = 1.5", "whole number above 0"),
            ("limits", "stallTimeout = nan", "number above 0"),
            ("follow", "folders = srv", "absolute paths"),
            ("follow", "folders = /srv/../etc", "absolute paths"),
            ("follow", "folders = /", "absolute paths"),
            ("administration", "workers = ../etc", "<node_name> of workers"),
            ("administration", "workers = ok, \x1b[31m", "<node_name> of workers"),
            ("item a", "path = etc/a\nmode = 0662", "lets everybody write"),
            ("item a", "path = etc/a\nmode = rw", "octal"),
            ("item a", "path = etc/a\nfolderMode = 0660", "use 0770 or 0750"),
            ("item a", "path = etc/a\nfolderMode = 0772", "lets everybody write"),
            ("item a", "path = etc/a\nnames = a/b", "patterns"),
            ("item a", "path = etc/a\nrecursive = true", "'yes' nor 'no'"),
        ]:
            error = self.refuse(f"[{section}]\n{line}\n")
            key = line.rpartition("\n")[2].split()[0]
            self.assertTrue(error.startswith(f"w.ini, [{section}] {key}: "), error)
            self.assertIn(what, error)

    def test_badItems(self) -> None:
        """
        An item that would carry what is local, or what another carries, is
        refused.
        """
        for path, what in [
            ("etc", "local to a node"),
            ("/etc/a", "absolute"),
            ("etc/../a", "'..'"),
            ("etc/rules/mine", "within the item etc/rules"),
            ("queue/wazuh_cluster", "local to a node"),
            ("etc/wazuh_cluster", "local to a node"),
        ]:
            self.assertIn(what, self.refuse(f"[item a]\npath={path}\n"))
        self.assertIn("it has no path", self.refuse("[item a]\n"))
        self.assertIn("no section [item]", self.refuse("[item]\npath=etc/a\n"))

    def test_malformed(self) -> None:
        """
        A file that is no such file is refused with the line.
        """
        self.assertIn("line 1: a key stands before", self.refuse("a=1\n"))
        self.assertIn("line 3: section [limits] stands", self.refuse("[limits]\n\n[limits]\n"))
        self.assertIn("line 2", self.refuse("[limits]\nwindow\n"))
        self.assertIn("stands there twice", self.refuse("[limits]\nwindow=1\nwindow=2\n"))
        self.assertIn("stands there twice", self.refuse("[limits]\nboxKeys=1\nbox-keys=2\n"))

    @settings(deadline=None, max_examples=50)
    @given(st.dictionaries(st.sampled_from(sorted(asdict(Limits()))), st.integers(1, 10**9)))
    def test_anyLimit(self, values: dict[str, int]) -> None:
        """
        Every limit can be set under its own name.
        """
        text = "[limits]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
        expected = {**asdict(Limits()), **values}
        self.assertEqual(expected, asdict(readSettings(text, "w.ini").limits))

    @settings(deadline=None, max_examples=100)
    @given(st.text(alphabet="[]=:#; \nabitem/.%\x00\ufeff", max_size=60))
    def test_anyText(self, text: str) -> None:
        """
        Any text is read, or refused in one line.
        """
        try:
            readSettings(text, "w.ini")
        except ConfigError as error:
            self.assertNotIn("\n", str(error))


class LoadSettingsTests(SynchronousTestCase):
    """
    L{loadSettings} reads a file.
    """

    def test_missing(self) -> None:
        """
        No file is the defaults.
        """
        self.assertEqual(Settings(), loadSettings(self.mktemp()))

    def test_file(self) -> None:
        """
        A file is read, with a byte-order mark or without.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"\xef\xbb\xbf[integrity]\ninterval=3\n")
        self.assertEqual(3.0, loadSettings(path).interval)

    def test_unreadable(self) -> None:
        """
        A folder, or what is not UTF-8, is refused.
        """
        folder = self.mktemp()
        os.mkdir(folder)
        latin = self.mktemp()
        with open(latin, "wb") as file:
            file.write(b"[follow]\nfolders=/caf\xe9")
        self.assertRaises(ConfigError, loadSettings, folder)
        self.assertRaises(ConfigError, loadSettings, latin)
