"""
Tests for L{wazuh_cluster.config}, its parts and L{wazuh_cluster.knownkeys}.
"""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wazuh_cluster.config import Config, loadConfig, readConfig
from wazuh_cluster.configvalues import checkKey, parseBind, parseHost, parsePort
from wazuh_cluster.errors import ConfigError
from wazuh_cluster.knownkeys import whyGuessable, whyPublic, whyWeak

KEY = "5e8f0b6c2d914a7f93b1c7d60a2e48f5"


def conf(*elements: str, key: str | None = KEY) -> str:
    """
    A configuration with these elements in its block.
    """
    lines = [*elements] if key is None else [f"<key>{key}</key>", *elements]
    body = "\n    ".join(lines)
    return f"<ossec_config>\n  <cluster>\n    {body}\n  </cluster>\n</ossec_config>\n"


def read(text: str, role: str | None = None, realManager: bool = False) -> Config:
    """
    Read it as C{ossec.conf}.
    """
    return readConfig(text, "ossec.conf", home="/h", role=role, realManager=realManager)


class Reading(SynchronousTestCase):
    """
    What tests of configurations share.
    """

    def refuse(self, text: str, role: str | None = None, realManager: bool = False) -> str:
        """
        The one line with which a text is refused.
        """
        error = self.assertRaises(ConfigError, read, text, role, realManager)
        self.assertNotIn("\n", str(error))
        self.assertTrue(error.remedy)
        return str(error)

    def warning(self, text: str) -> str:
        """
        The only warning about a text.
        """
        (warning,) = read(text).warnings
        return warning


class ReadConfigTests(Reading):
    """
    L{readConfig} takes the block that Wazuh 4.x takes.
    """

    def test_defaults(self) -> None:
        """
        A block with nothing but a key is Wazuh's default node.
        """
        expected = Config(
            home="/h",
            path="ossec.conf",
            clusterName="wazuh",
            nodeName="node01",
            role="master",
            key=KEY,
            port=1516,
            bindAddr="0.0.0.0",
        )
        self.assertEqual(expected, read(conf()))

    def test_everyElement(self) -> None:
        """
        Each element arrives where it belongs, without white space around it.
        """
        config = read(
            conf(
                "<name> c1\n</name>",
                "<node_name>w-1</node_name>",
                "<node_type>worker</node_type>",
                "<port> 2000 </port>",
                "<bind_addr>[::1]</bind_addr>",
                "<nodes>\n<node> siem.example.org </node></nodes>",
                "<hidden>yes</hidden>",
                "<disabled>no</disabled>",
            )
        )
        expected = Config(
            home="/h",
            path="ossec.conf",
            clusterName="c1",
            nodeName="w-1",
            role="worker",
            key=KEY,
            port=2000,
            bindAddr="::1",
            masters=("siem.example.org",),
            hidden=True,
        )
        self.assertEqual(expected, config)

    def test_keyIsNotShown(self) -> None:
        """
        The key is not part of what a configuration looks like in a log.
        """
        self.assertNotIn(KEY, repr(read(conf())))

    def test_surroundings(self) -> None:
        """
        A byte-order mark, a declaration, comments, stray characters and other
        sections do not matter.
        """
        text = (
            "\ufeff<?xml version='1.0'?>\n<!-- a -- b --><ossec_config><global>\n"
            "<regex>\\<script & 1 < 2</regex></global></ossec_config>\n"
            + conf("<!-- <port>1</port> -->", "<port>1600</port>")
        )
        self.assertEqual((1600, ()), (read(text).port, read(text).warnings))

    def test_lastValueCounts(self) -> None:
        """
        Of repeated elements and blocks each element's last value counts, and a
        warning names the blocks.
        """
        text = conf("<port>1600</port>", "<port>1601</port>", "<name>a</name>") + conf(
            "<name>b</name>", key=None
        )
        config = read(text)
        self.assertEqual(("b", 1601, KEY), (config.clusterName, config.port, config.key))
        self.assertIn("2 <cluster> blocks (lines 2, 10)", config.warnings[0])

    def test_noBlock(self) -> None:
        """
        Without a block the error says to add one.
        """
        self.assertEqual(
            "ossec.conf: there is no <cluster> block: add one inside <ossec_config>, "
            "or let 'wazuh-cluster init' write one",
            self.refuse("<ossec_config></ossec_config>"),
        )

    def test_blockOutside(self) -> None:
        """
        A block that is itself a root is not one.
        """
        self.assertIn("line 1: the <cluster> block stands outside", self.refuse("<cluster/>"))

    def test_client(self) -> None:
        """
        Wazuh 3's word for a worker is taken with a warning.
        """
        text = conf("<node_type>client</node_type>", "<nodes><node>m</node></nodes>")
        self.assertEqual("worker", read(text).role)
        self.assertIn("write 'worker'", self.warning(text))

    def test_severalNodes(self) -> None:
        """
        Of several nodes the first is the master, with a warning.
        """
        text = conf(
            "<node_type>worker</node_type>",
            "<nodes><node>[fe80::1]</node><node>10.0.0.2</node></nodes>",
        )
        self.assertEqual(("fe80::1", "10.0.0.2"), read(text).masters)
        self.assertIn("the first, fe80::1, is the master", self.warning(text))

    def test_tightBlock(self) -> None:
        """
        A block without white space, which Wazuh's own programs overlook, is
        read with a warning.
        """
        text = f"<ossec_config>\n<cluster><key>{KEY}</key></cluster></ossec_config>"
        self.assertIn("line 2: Wazuh's own programs take", self.warning(text))

    def test_oddPort(self) -> None:
        """
        A port that Wazuh's own programs refuse is taken with a warning.
        """
        for port in ("1024", "65535"):
            self.assertIn("use 1025 to 65534", self.warning(conf(f"<port>{port}</port>")))

    def test_unknownElement(self) -> None:
        """
        An unknown element is ignored with a warning that names its line.
        """
        self.assertIn("line 4: <prot> is not", self.warning(conf("<prot>1</prot>")))
        self.assertEqual((), read(conf("<interval>2m</interval>")).warnings)

    def test_readableByAll(self) -> None:
        """
        That everybody can read the key is warned of.
        """
        config = readConfig(conf(), "f", home="/h", readableByAll=True)
        self.assertIn("everybody on this machine can read the key", config.warnings[0])


class GlobalBlockTests(Reading):
    """
    What is read of the C{<global>} blocks.
    """

    def conf(self, *values: str) -> str:
        """
        A configuration with this time, once in each of some blocks.
        """
        name = "agents_disconnection_time"
        blocks = [f"<global><{name}>{value}</{name}></global>" for value in values]
        return f"{conf()}<ossec_config>{''.join(blocks)}</ossec_config>"

    def test_default(self) -> None:
        """
        Wazuh's own time, if there is none.
        """
        self.assertEqual(900.0, read(conf()).disconnectionTime)
        self.assertEqual(900.0, read(self.conf()).disconnectionTime)

    def test_units(self) -> None:
        """
        As Wazuh writes times; the last one counts.
        """
        for text, seconds in (
            ("900", 900.0),
            ("20s", 20.0),
            (" 15m ", 900.0),
            ("1h", 3600.0),
            ("1d", 86_400.0),
            ("1w", 604_800.0),
        ):
            self.assertEqual(seconds, read(self.conf("7s", text)).disconnectionTime, text)

    def test_refused(self) -> None:
        """
        What is no time is refused, with the line.
        """
        for text in ("", "0", "soon", "-5m", "15 m", "15M", "9" * 10):
            said = self.refuse(self.conf(text))
            self.assertIn("ossec.conf, line 6, <agents_disconnection_time>", said)
            self.assertIn("15m", said)


class RefusedConfigTests(Reading):
    """
    L{readConfig} refuses with one line: what, where, remedy.
    """

    def test_badValues(self) -> None:
        """
        Every bad value is refused with its line and element.
        """
        for element, name, what in [
            ("<name>.x</name>", "name", "cannot be a cluster name"),
            ("<name/>", "name", "it is empty"),
            ("<node_name>a b</node_name>", "node_name", "cannot be a node name"),
            ("<node_type>slave</node_type>", "node_type", "'slave' is not a node type"),
            ("<port></port>", "port", "'' is not a port"),
            ("<port>0</port>", "port", "'0' is not a port"),
            ("<port>65536</port>", "port", "'65536' is not a port"),
            ("<port>١٥</port>", "port", "is not a port"),
            ("<bind_addr>eth0</bind_addr>", "bind_addr", "'eth0' is not an IP address"),
            ("<hidden>true</hidden>", "hidden", "neither 'yes' nor 'no'"),
            ("<disabled>Yes</disabled>", "disabled", "neither 'yes' nor 'no'"),
        ]:
            line = self.refuse(conf(element))
            self.assertTrue(line.startswith(f"ossec.conf, line 4, <{name}>: "), line)
            self.assertIn(what, line)

    def test_badKeys(self) -> None:
        """
        A missing, short or malformed key is refused, without showing it, and
        the error says how to make one.
        """
        for key, what in [
            (None, "there is no key"),
            ("", "there is no key"),
            ("KEY", "there is no key"),
            ("0123abcd", "8 characters, not 32"),
            (KEY[:-1] + "_", "other characters"),
            (KEY[:-1] + "é", "other characters"),
        ]:
            line = self.refuse(conf(key=key))
            self.assertIn(what, line)
            self.assertIn("openssl rand -hex 16", line)
            self.assertNotIn(KEY[:-1], line)

    def test_keyNotNeeded(self) -> None:
        """
        Where certificates do what the key does, nobody judges the key.
        """
        for key in (None, "", "short", "c98b62a9b6169ac5f67dae55ae4a9088", "ab" * 16):
            config = readConfig(
                conf(key=key), "ossec.conf", home="/h", readableByAll=True, keyNeeded=False
            )
            self.assertEqual(key or "", config.key)
            self.assertEqual((None, ()), (config.keyProblem, config.warnings))

    def test_workerWithoutMaster(self) -> None:
        """
        A worker whose nodes are missing, empty or a placeholder is refused.
        """
        worker = "<node_type>worker</node_type>"
        self.assertIn("there is none", self.refuse(conf(worker)))
        self.assertIn("there is none", self.refuse(conf(worker, "<nodes></nodes>")))
        self.assertIn("no address", self.refuse(conf(worker, "<nodes><node/></nodes>")))
        self.assertIn(
            "ossec.conf, line 5, <node>: 'NODE_IP' is a placeholder",
            self.refuse(conf(worker, "<nodes><node>NODE_IP</node></nodes>")),
        )

    def test_masterNeedsNoNodes(self) -> None:
        """
        On a master the placeholder that Wazuh's installation leaves is fine.
        """
        self.assertEqual((), read(conf("<nodes><node>NODE_IP</node></nodes>")).masters)

    @settings(deadline=None, max_examples=150)
    @given(
        st.sampled_from(["name", "node_name", "node_type", "key", "port", "bind_addr", "node"]),
        st.text(max_size=40),
    )
    def test_anyValue(self, element: str, value: str) -> None:
        """
        Any text in any element is read or refused in one line.
        """
        text = conf(f"<{element}>{value}</{element}>")
        try:
            config = read(text)
        except ConfigError as error:
            self.assertNotIn("\n", str(error))
        else:
            self.assertEqual(32, len(config.key))


class RoleTests(Reading):
    """
    C{--role} against C{<node_type>}.
    """

    worker = conf("<node_type>worker</node_type>", "<nodes><node>m</node></nodes>")

    def test_override(self) -> None:
        """
        The option wins over the file.
        """
        self.assertEqual("master", read(self.worker, "master").role)

    def test_overrideNeedsMaster(self) -> None:
        """
        A worker by option needs a master's address too.
        """
        self.assertIn("needs its master's address", self.refuse(conf(), "worker"))

    def test_realManager(self) -> None:
        """
        On a real manager, where Wazuh's own programs read the file, the option
        must agree with it.
        """
        self.assertEqual("worker", read(self.worker, "worker", True).role)
        line = self.refuse(self.worker, "master", True)
        self.assertIn("it says worker, --role says master", line)

    def test_unknownRole(self) -> None:
        """
        There are two roles.
        """
        self.assertIn("'boss' is not a role", self.refuse(conf(), "boss"))


class DisabledTests(Reading):
    """
    A block that says that there is to be no cluster.
    """

    def test_template(self) -> None:
        """
        The block that Wazuh's installation leaves is read; using it is refused
        with the remedy.
        """
        config = read(conf("<disabled>yes</disabled>", key=""), "worker")
        self.assertTrue(config.disabled)
        error = self.assertRaises(ConfigError, config.requireEnabled)
        self.assertIn("<disabled>no</disabled>", str(error))

    def test_enabled(self) -> None:
        """
        An enabled configuration may be used.
        """
        config = read(conf())
        self.assertIs(config, config.requireEnabled())


class LoadConfigTests(SynchronousTestCase):
    """
    L{loadConfig} reads a file.
    """

    def write(self, content: bytes, mode: int = 0o640) -> str:
        """
        Make a file.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def test_latinElsewhere(self) -> None:
        """
        Bytes that are no UTF-8 elsewhere in the file do not matter.
        """
        path = self.write(b"<ossec_config><a>caf\xe9</a></ossec_config>" + conf().encode())
        self.assertEqual(KEY, loadConfig(path, home="/h").key)

    def test_byteOrderMark(self) -> None:
        """
        A byte-order mark does not matter.
        """
        self.assertEqual(
            (), loadConfig(self.write(b"\xef\xbb\xbf" + conf().encode()), home="/h").warnings
        )

    def test_mode(self) -> None:
        """
        A file that everybody can read is warned of.
        """
        path = self.write(conf().encode(), 0o644)
        self.assertIn(f"chmod 0640 {path}", loadConfig(path, home="/h").warnings[0])

    def test_missing(self) -> None:
        """
        A missing file, a folder and what is no text are refused.
        """
        missing = self.mktemp()
        folder = self.mktemp()
        os.mkdir(folder)
        wide = self.write(conf().encode("utf-16"))
        for path, what in [
            (missing, "no such file"),
            (folder, "cannot be read (Is a directory)"),
            (wide, "not plain text"),
        ]:
            error = self.assertRaises(ConfigError, loadConfig, path, home="/h")
            self.assertIn(what, str(error))

    def test_realManager(self) -> None:
        """
        A home with C{bin/wazuh-control} is a real manager.
        """
        home = self.mktemp()
        os.makedirs(os.path.join(home, "bin"))
        path = self.write(conf("<nodes><node>m</node></nodes>").encode())
        self.assertEqual("worker", loadConfig(path, home=home, role="worker").role)
        with open(os.path.join(home, "bin", "wazuh-control"), "wb"):
            pass
        self.assertRaises(ConfigError, loadConfig, path, home=home, role="worker")


class ValueTests(SynchronousTestCase):
    """
    The single values.
    """

    def test_hosts(self) -> None:
        """
        Addresses and names come back in one form.
        """
        for text, host in [
            ("10.0.0.1", "10.0.0.1"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("2001:db8:0::1", "2001:db8::1"),
            ("wazuh_master", "wazuh_master"),
            ("siem-1.example.org.", "siem-1.example.org."),
            ("localhost", "localhost"),
        ]:
            self.assertEqual(host, parseHost(text, "x"))

    def test_noHosts(self) -> None:
        """
        What nobody can dial is refused.
        """
        for text in (
            *("", "0.0.0.0", "::", "[10.0.0.1]", "10.0.0.256", "10.0.0.1:1516", "a b", "-a"),
            *("a..b", "http://a", "x" * 64, "a." * 127 + "ab", "café", "1516", "a/b"),
        ):
            self.assertRaises(ConfigError, parseHost, text, "x")

    def test_bind(self) -> None:
        """
        A listener's address is an IP address, or localhost.
        """
        self.assertEqual("::", parseBind("[::]", "x"))
        self.assertEqual("127.0.0.1", parseBind("localhost", "x"))
        for text in ("", "siem", "10.0.0.0/8", "*"):
            self.assertRaises(ConfigError, parseBind, text, "x")

    @settings(deadline=None, max_examples=100)
    @given(st.integers(-10, 70000))
    def test_ports(self, port: int) -> None:
        """
        A port is 1 to 65535.
        """
        if 1 <= port <= 65535:
            self.assertEqual(port, parsePort(str(port), "x"))
        else:
            self.assertRaises(ConfigError, parsePort, str(port), "x")

    @settings(deadline=None, max_examples=100)
    @given(st.text(max_size=40))
    def test_keys(self, text: str) -> None:
        """
        A key is 32 letters and digits and nothing else.
        """
        good = len(text) == 32 and text.isascii() and text.isalnum()
        try:
            checkKey(text, "x")
        except ConfigError:
            self.assertFalse(good)
        else:
            self.assertTrue(good)


class WeakKeyTests(Reading):
    """
    Keys that protect nothing.
    """

    def test_public(self) -> None:
        """
        Keys of public examples are known, in any case, and not guessable
        besides; a node with one reads it and says so as an error.
        """
        for key in (
            "c98b62a9b6169ac5f67dae55ae4a9088",
            "C98B62A9B6169AC5F67DAE55AE4A9088",
            "9d273b53510fef702b54a92e9cffc82e",
            "fd3350b86d239654e34866ab3c4988a8",
            "c98b6ha9b6169zc5f67rae55ae4z5647",
            "123a45bc67def891gh23i45jk67l8mn9",
            "01234567890123456789012345678912",
            "nso42FGdswR0805tnVqeww0u3Rubwk2a",
        ):
            self.assertIn("known to everybody", whyPublic(key) or "")
            self.assertEqual(whyPublic(key), whyWeak(key))
            config = read(conf(key=key))
            self.assertIn("ossec.conf, line 3, <key>: the key is known", config.keyProblem or "")
            self.assertNotIn(key, config.keyProblem or "")
            self.assertEqual((), config.warnings)

    def test_guessable(self) -> None:
        """
        Keys that look like no chance are warned of.
        """
        for key in (
            "a" * 32,
            "0123456789abcdef" * 2,
            "0123456789abcdefghijklmnopqrstuv",
            "zyxwvutsrqponmlkjihgfedcba987654",
            "deadbeef" * 4,
            "k7Qm2MyWazuhCluster9Xw4Rt8Yp3Zn6",
            "0101101001011010010110100101101101"[:32],
        ):
            self.assertIn("can be guessed", whyGuessable(key) or "")
            self.assertEqual(whyGuessable(key), whyWeak(key))
            self.assertIn("can be guessed", self.warning(conf(key=key)))
            self.assertIsNone(read(conf(key=key)).keyProblem)

    @settings(deadline=None, max_examples=150)
    @given(st.binary(min_size=16, max_size=16).filter(lambda b: len(set(b.hex())) >= 8))
    def test_short(self, key: bytes) -> None:
        """
        Every text of 32 hexadecimal digits is judged without an error.
        """
        why = whyWeak(key.hex())
        self.assertNotIn(key.hex(), why or "")

    def test_random(self) -> None:
        """
        A random key is neither.
        """
        self.assertIsNone(whyWeak(KEY))
