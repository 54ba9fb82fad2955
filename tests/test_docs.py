"""
Tests of the manual: what it says of the code is what the code does.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from attrs import fields
from twisted.application.internet import backoffPolicy
from twisted.protocols import amp
from twisted.trial.unittest import SynchronousTestCase

from tests.manual import FILES, FOLDER
from wazuh_cluster import model
from wazuh_cluster.agents import EVENTS, MAX_AGENT_ID, STATUSES, statusjson
from wazuh_cluster.agents.assignments import FRESH_ENOUGH
from wazuh_cluster.agents.fleet import DISCONNECTION_TIME
from wazuh_cluster.agents.groupnames import MAX_GROUP_NAME, MAX_GROUPS
from wazuh_cluster.agents.offers import MOST_OFFERS
from wazuh_cluster.agents.records import (
    MAX_AGE,
    MAX_CODE,
    MAX_DETAILS,
    MAX_DIGEST,
    MAX_RECORDS,
    MAX_VERSION,
)
from wazuh_cluster.agents.sending import BATCH_SIZE, FLIGHT
from wazuh_cluster.authsettings import AuthSettings
from wazuh_cluster.clusterblock import DEFAULT_BIND, DEFAULT_CLUSTER, DEFAULT_NODE, DEFAULT_PORT
from wazuh_cluster.control import commands as control
from wazuh_cluster.control import connections
from wazuh_cluster.control.endpoints import MODE, NAME
from wazuh_cluster.enrollment.attempts import PATIENCE, SAVE_PATIENCE
from wazuh_cluster.enrollment.visitors import MOST as MOST_VISITORS
from wazuh_cluster.enrollment.visitors import REQUEST_TIME
from wazuh_cluster.globalblock import DEFAULT_DISCONNECTION_TIME
from wazuh_cluster.integrity import (
    DIGEST_SIZES,
    WAZUH_ITEMS,
    agreement,
    itemsText,
    pack,
    paths,
)
from wazuh_cluster.integrity.holds import MANY, isMishap
from wazuh_cluster.integrity.pack import Sent
from wazuh_cluster.logline import MAX_LINE
from wazuh_cluster.master.agentinfo import PATIENCE as STORE_PATIENCE
from wazuh_cluster.master.registrations import ABANDON_AFTER, HIGHEST_BELIEVED
from wazuh_cluster.master.requests import PAGE
from wazuh_cluster.master.service import INTERVAL as MASTER_INTERVAL
from wazuh_cluster.master.service import MasterService
from wazuh_cluster.master.status import REFUSED_FOR
from wazuh_cluster.master.ticks import LATEST, WINDOW
from wazuh_cluster.model import Identity
from wazuh_cluster.protocol import BODY_SIZE, CHUNK_SIZE, NEWEST_VERSION, OLDEST_VERSION, Limits
from wazuh_cluster.protocol.arguments import MAX_NUMBER
from wazuh_cluster.protocol.receiving import CREDIT_INTERVAL
from wazuh_cluster.requests.fields import MOST
from wazuh_cluster.requests.names import ADMINISTRATION, OWN, OWN_CHANGES, READING
from wazuh_cluster.settings import Settings, readSettings
from wazuh_cluster.status.asked import PATIENCE as ASKED_PATIENCE
from wazuh_cluster.status.events import KEPT
from wazuh_cluster.status.explaining import VERDICTS
from wazuh_cluster.status.files import SHOWN
from wazuh_cluster.status.reasons import (
    BEHIND_AFTER,
    CLOCK_OFFSET,
    GRACE,
    SEVERITIES,
    STALE_AFTER,
)
from wazuh_cluster.status.values import STATES
from wazuh_cluster.testing.trust import testTrust
from wazuh_cluster.trust import authority, identityToURI, sniff, tls
from wazuh_cluster.trust.names import MAX_URI
from wazuh_cluster.trust.sniff import RECORD_TIMEOUT, RECORDS
from wazuh_cluster.worker.agentinfo import PATIENCE as SYNC_PATIENCE
from wazuh_cluster.worker.complaints import REMIND_AFTER
from wazuh_cluster.worker.fetch import PACK_BYTES, PACK_FILES, PACK_PATHS
from wazuh_cluster.worker.service import FIRST_DELAY, LONGEST_DELAY, WorkerService
from wazuh_cluster.worker.service import INTERVAL as WORKER_INTERVAL
from wazuh_cluster.worker.status import INTERVAL as STATUS_INTERVAL
from wazuh_cluster.worker.status import ROUTINE

PACKAGE = FOLDER.parent / "wazuh_cluster"

#: What takes the format of a line of the log.
_LOGGING = ("info", "warn", "error", "critical", "failure", "say", "repeated")


def _isCommand(thing: object) -> bool:
    known = isinstance(thing, type) and issubclass(thing, control.ControlCommand)
    return known and thing not in (control.ControlCommand, control.Asks)


def manual(name: str) -> str:
    """
    A document's text, on one line.
    """
    return " ".join((FOLDER / name).read_text(encoding="utf-8").split())


def default(function: object, name: str) -> object:
    """
    A keyword's default.
    """
    return inspect.signature(function).parameters[name].default  # type: ignore[arg-type]


def modules() -> Iterator[Path]:
    """
    The modules of the package, but those of the demo.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        if "demo" not in path.relative_to(PACKAGE).parts:
            yield path


class WrittenTests(SynchronousTestCase):
    """
    The parts that are written from the code.
    """

    def test_current(self) -> None:
        """
        The commands, the limits and the recorded link are those of the code. If this
        fails, look at what changed on the wire, then run C{python -m tests.manual}.
        """
        for name, make in FILES.items():
            self.assertEqual(make(), (FOLDER / name).read_text(encoding="utf-8"), name)

    def test_included(self) -> None:
        """
        The protocol's description includes all of them.
        """
        text = manual("protocol.rst")
        for name in FILES:
            self.assertIn(f"include:: {name}", text)


class NumbersTests(SynchronousTestCase):
    """
    The numbers and names in the text are those of the code.
    """

    def assertSaid(self, document: str, *phrases: str) -> None:
        text = manual(document)
        for phrase in phrases:
            self.assertIn(phrase, text, document)

    def test_trust(self) -> None:
        """
        Keys, certificates and TLS.
        """
        certificate = testTrust("master", "hub")._load()
        ca = certificate.ca
        scrypt = inspect.getsource(authority.deriveAuthority)
        self.assertIn("length=32, n=2**15, r=8, p=1", scrypt)
        self.assertIn("HKDF(algorithm=SHA256(), length=32, salt=None", scrypt)
        self.assertEqual(1, ca.serial_number)
        suites = [f"``{name}``" for name in tls.CIPHERSUITES.decode("ascii").split(":")]
        self.assertSaid(
            "protocol.rst",
            f"``{authority._SALT.decode('ascii')}``",
            f"``{authority._CA_LABEL.decode('ascii')}``",
            "``master = scrypt(key, salt, N=32768, r=8, p=1, length=32)``",
            "``seed = HKDF-SHA256(master, salt=none, info, length=32)``",
            f"``{ca.subject.rfc4514_string()}``",
            f"valid from {ca.not_valid_before_utc:%Y-%m-%d %H:%M:%S} to "
            f"{ca.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC",
            f"with {suites[0]} or {suites[1]}",
            f"longer than {MAX_URI:,} characters",
            f"at most {sniff.HANDSHAKE_LIMIT:,} octets",
        )
        uri = identityToURI(Identity("<cluster>", "<role>", "<node>"))
        self.assertSaid("protocol.rst", unquote(uri))
        self.assertEqual("[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}\\Z", model._NAME.pattern)

    def test_links(self) -> None:
        """
        The times of a link, and the codes that AMP itself has.
        """
        waits = backoffPolicy(FIRST_DELAY, LONGEST_DELAY, jitter=lambda: 0.0)
        self.assertAlmostEqual(1.5, waits(2) / waits(1))
        keepAlive = default(WorkerService, "keepAliveInterval")
        check, silence = (default(MasterService, each) for each in ("checkInterval", "silence"))
        self.assertSaid(
            "protocol.rst",
            f"KeepAlive at once and every {keepAlive:g} s",
            f"to synchronise at once, every {WORKER_INTERVAL:g} s",
            f"looks every {check:g} s for workers that sent no KeepAlive for {silence:g} s",
            f"after {waits(1):g} s at first",
            f"up to {LONGEST_DELAY:g} s",
            f"0 to {MAX_NUMBER:,} in 1 to {len(str(MAX_NUMBER))} decimal digits",
            f"``{amp.UNHANDLED_ERROR_CODE.decode('ascii')}``",
            f"``{amp.UNKNOWN_ERROR_CODE.decode('ascii')}``",
            f"The versions that this code speaks are {OLDEST_VERSION} to {NEWEST_VERSION}",
        )

    def test_limits(self) -> None:
        """
        Each limit that is named in the text is one.
        """
        names = {limit.name for limit in fields(Limits)}
        text = (FOLDER / "protocol.rst").read_text(encoding="utf-8")
        bounds = text[text.index("Bounds of a link") : text.index("Violations\n")]
        named = set(re.findall(r"``([a-z]+[A-Z]\w*|greeting)``", bounds))
        self.assertEqual(set(), named - names)
        self.assertGreater(len(named), 6)

    def test_transfers(self) -> None:
        """
        Chunks, packs, manifests and paths.
        """
        self.assertSaid(
            "protocol.rst",
            f"the next 1 to {CHUNK_SIZE:,} octets",
            f"packs of at most {PACK_FILES:,} files and {PACK_BYTES // 2**20} MiB",
            f"{PACK_PATHS // 2**20} MiB of paths",
            f"length, 1 to {pack.MAX_BLOCK}",
            f'"{pack._MAGIC.decode("ascii")}"',
            f"u32 {pack._END}",
            f"longer than {paths.MAX_PATH:,} octets",
            f"more than {paths.MAX_DEPTH} names",
            f"more than {paths.MAX_NAME} octets",
            *(f"``{name}`` ({size} octets)" for name, size in DIGEST_SIZES.items()),
            *(f"* - {status.value} - {status.name}" for status in Sent),
            *(f"``{item.path.decode('ascii')}``" for item in WAZUH_ITEMS),
            *(f"``{suffix.decode('ascii')}``" for suffix in WAZUH_ITEMS.excludedSuffixes),
            *(f"``{name.decode('ascii')}``" for name in WAZUH_ITEMS.excludedNames),
            " ".join(itemsText(WAZUH_ITEMS).split()),
            f'"{agreement._LABEL[:-1].decode("ascii")}"',
            f"more than {agreement.MAX_TEXT:,} octets is cut after a line, and has "
            f"``{agreement._CUT}`` as its last",
        )

    def test_agents(self) -> None:
        """
        Groups, requests, and the control socket.
        """
        commands = [each for each in vars(control).values() if _isCommand(each)]
        self.assertSaid(
            "protocol.rst",
            f"at most {MOST_OFFERS} agents at once",
            f"A name is 1 to {MAX_GROUP_NAME} of",
            f"an agent has 1 to {MAX_GROUPS} groups",
            f"an answer has at most {BODY_SIZE:,} octets",
            f"``agents``: at most {PAGE} of those",
            f"``groups``: at most {PAGE}, each",
            f"``ids``: at most {MOST:,}",
            *(f"``{name}``" for name in READING),
            *(f"``{name}`` (change)" for name in ADMINISTRATION | OWN_CHANGES),
            *(f"``{name}``" for name in OWN),
            *(f"``{command.__name__}``" for command in commands),
            f"A node has at most {connections.MOST} connections, {connections.MOST_OF_ONE} of one",
            f"(mode 0{MODE:o}, with the owner",
            f"``queue/wazuh_cluster/{NAME}``",
            f"a text of at most {statusjson.MAX_VERSION} characters",
            f"0 (if missing) to {statusjson.MAX_CODE}",
            f"at most {int(statusjson.MAX_AGE):,}",
            f"a report has at most {statusjson.MAX_REPORT:,} octets",
        )
        self.assertGreater(len(commands), 8)
        self.assertSaid(
            "operators.rst",
            f"A name is 1 to {MAX_GROUP_NAME} letters",
            f"an agent can be in {MAX_GROUPS} groups",
            "within five seconds",
        )
        self.assertEqual(5.0, FRESH_ENOUGH)

    def test_records(self) -> None:
        """
        What is said of agents' records.
        """
        self.assertEqual(BATCH_SIZE, BODY_SIZE)
        self.assertSaid(
            "protocol.rst",
            f"every {default(WorkerService, 'agentInfoInterval'):g} s, and at once after it joined",
            f"may have {FLIGHT} of them unanswered",
            f"at most {BATCH_SIZE:,} octets together",
            f"array of at most {MAX_RECORDS:,} objects",
            f"there are at most {RECORDS:,} TLS records, and each is complete within "
            f"{RECORD_TIMEOUT:g} s",
            f"at least every {2 * CREDIT_INTERVAL:g} s, even if it has not grown",
            f"* - ``id`` - 1 to {MAX_AGENT_ID}",
            f"* - ``age`` - 0 to {MAX_AGE}",
            f"* - ``code`` - 0 to {MAX_CODE}",
            f"* - ``digest`` - 0 to {MAX_DIGEST}",
            f"in ASCII of at most {MAX_DETAILS:,} octets",
            f"a text of at most {MAX_VERSION} characters",
            f"in the last {WINDOW / 60:g} to {2 * WINDOW / 60:g} minutes",
            f"grew by more than {LATEST:g} s",
            f"``STORE_FAILED``, after {STORE_PATIENCE:g} s at the latest",
            f"if there is no answer for {SYNC_PATIENCE:g} s",
            f"or was heard {DISCONNECTION_TIME:g} s ago",
        )
        self.assertEqual({"never_connected", *EVENTS}, set(STATUSES))
        self.assertEqual(DISCONNECTION_TIME, DEFAULT_DISCONNECTION_TIME)
        self.assertSaid(
            "operators.rst", f"``agents_disconnection_time`` ({DISCONNECTION_TIME / 60:g}m)"
        )

    def test_status(self) -> None:
        """
        Each reason stands in the guide, with its verdict.
        """
        self.assertSaid(
            "operators.rst",
            *(f"* - ``{name}`` - {severity} - " for name, severity in SEVERITIES.items()),
            "said nothing for 90 seconds",
        )
        self.assertEqual((90.0, 300.0, 5.0, 10.0), (STALE_AFTER, BEHIND_AFTER, CLOCK_OFFSET, GRACE))
        self.assertEqual((1000, 60.0), (KEPT, REFUSED_FOR))
        self.assertSaid(
            "protocol.rst",
            f"looking every {STATUS_INTERVAL:g} s",
            f"only once in {ROUTINE:g} s",
            f"at most {SHOWN}, each with",
            f"has not ended after {ASKED_PATIENCE:g} s is answered",
            *(f"``{verdict}``" for verdict in VERDICTS),
            *(f"``{kind}``" for kind in STATES),
        )

    def test_operators(self) -> None:
        """
        What operators are told.
        """
        self.assertTrue(isMishap(2, 2) and isMishap(MANY, 2 * MANY - 1))
        self.assertFalse(isMishap(1, 1) or isMishap(MANY - 1, MANY) or isMishap(MANY, 2 * MANY))
        self.assertEqual((10, 300.0), (MANY, REMIND_AFTER))
        self.assertSaid(
            "operators.rst",
            f"{MASTER_INTERVAL:g} on a master, {WORKER_INTERVAL:g} on a worker",
            f"does not answer within {Limits().probeTimeout:g} seconds",
            f"is closed after {Limits().greetTimeout:g} seconds",
            f"at most {MAX_LINE:,} bytes",
            f"* - ``name`` - {DEFAULT_CLUSTER}",
            f"* - ``node_name`` - {DEFAULT_NODE}",
            f"* - ``port`` - {DEFAULT_PORT}",
            f"* - ``bind_addr`` - {DEFAULT_BIND}",
        )

    def test_enrollment(self) -> None:
        """
        Who waits how long, and how many there may be.
        """
        self.assertSaid(
            "operators.rst",
            f"tells the agent after {PATIENCE:g} seconds",
            f"{MOST_VISITORS:,} agents can be connected at the same time, each for "
            f"{REQUEST_TIME:g} seconds",
            f"works on {Limits().registrations} requests of a worker at a time",
            f"Limit is {MAX_GROUPS}",
        )
        self.assertLess(PATIENCE + SAVE_PATIENCE, 10)
        self.assertSaid(
            "protocol.rst",
            f"it waits {ABANDON_AFTER:g} s for the worker",
            f"more than {HIGHEST_BELIEVED:,}, which is not believed",
            f"up to {MAX_GROUPS} groups",
        )

    def test_auth(self) -> None:
        """
        The defaults of the C{<auth>} block.
        """
        default = AuthSettings()
        self.assertSaid(
            "operators.rst",
            f"* - ``ssl_manager_cert``, ``ssl_manager_key`` - {default.certificate}, "
            f"{default.privateKey}",
            f"first line of ``{default.passwordFile}``",
            f"- {default.port}, no, yes",
        )
        self.assertEqual(3600, default.force.disconnectedTime)
        self.assertEqual(3600, default.force.afterRegistrationTime)

    def test_settings(self) -> None:
        """
        The settings file in the operators' guide can be read, and sets everything
        that there is to set.
        """
        text = (FOLDER / "operators.rst").read_text(encoding="utf-8")
        block = re.search(
            r"\.\. code-block:: ini\n\n((?:    \[integrity\].*\n(?: {4}.*\n|\n)*))", text
        )
        assert block is not None
        settings = readSettings(inspect.cleandoc(block[1]), "the guide")
        unset = Settings()
        same = {
            each.name
            for each in fields(Settings)
            if getattr(settings, each.name) == getattr(unset, each.name)
        }
        self.assertEqual(set(), same)


class LogTests(SynchronousTestCase):
    """
    The lines of the log.
    """

    def test_explained(self) -> None:
        """
        Every line that a node can write from INFO on is explained to operators, word by
        word.
        """
        text = manual("operators.rst")
        found = 0
        for path in modules():
            if path.relative_to(PACKAGE).parts[0] in ("scripts", "testing", "clusterblock.py"):
                continue
            for line in self.lines(path):
                found += 1
                self.assertIn(f"``{line}``", text, path)
        self.assertGreater(found, 40)

    def lines(self, path: Path) -> Iterator[str]:
        """
        The formats of the lines that a module writes.
        """
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else ""
            name = function.id if isinstance(function, ast.Name) else name
            if name not in _LOGGING or path.name == "config.py":
                continue
            strings = [
                each.value
                for each in node.args
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            ]
            if strings:
                yield " ".join(strings[-1].split())


class HouseTests(SynchronousTestCase):
    """
    The plan of the house.
    """

    def test_complete(self) -> None:
        """
        Every module stands in it, and every module in it is there.
        """
        text = (FOLDER / "house.rst").read_text(encoding="utf-8")
        rooms = text[: text.index("Who does what, and where")]
        there = {path.relative_to(PACKAGE).as_posix() for path in modules()}
        for name in there:
            room, _, module = name.rpartition("/")
            if module != "__init__.py":
                self.assertIn(f"``{module}``", rooms, name)
            if room:
                self.assertIn(f"``{room}/``", rooms, name)
        known = {name.rpartition("/")[2] for name in there}
        named = set(re.findall(r"``(?:\w+/)*(\w+\.py)``", text)) - {"wazuh_cluster_plugin.py"}
        self.assertEqual(set(), named - known)

    def test_downOnly(self) -> None:
        """
        The rooms import in one direction: there is an order in which each knows only
        rooms before it.
        """
        needs: dict[str, set[str]] = {}
        for path in modules():
            room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
            needs.setdefault(room, set()).update(self.imported(path))
        for room, others in needs.items():
            others.discard(room)
        placed: set[str] = set()
        while ready := {room for room, others in needs.items() if others <= placed} - placed:
            placed |= ready
        self.assertEqual(set(), needs.keys() - placed)

    def imported(self, path: Path) -> Iterator[str]:
        """
        The rooms that a module imports, but those for type annotations alone.
        """
        waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                parts = node.module.split(".")
                if parts[0] == "wazuh_cluster":
                    yield parts[1] if len(parts) > 1 else "__init__"
            waiting.extend(ast.iter_child_nodes(node))
