"""
Tests for L{wazuh_cluster.authblock}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.test_config import Reading, conf, read
from wazuh_cluster.agents.forcerules import ForceRules
from wazuh_cluster.authsettings import AuthSettings
from wazuh_cluster.errors import ConfigError


def auth(*blocks: str) -> str:
    """
    A configuration with these C{<auth>} blocks.
    """
    text = "".join(f"<ossec_config><auth>\n{block}\n</auth></ossec_config>\n" for block in blocks)
    return conf() + text


class AuthBlockTests(Reading):
    """
    What a configuration says of agents' enrollment.
    """

    def settings(self, *blocks: str) -> AuthSettings:
        config = read(auth(*blocks))
        self.assertEqual((), config.warnings)
        return config.auth

    def test_defaults(self) -> None:
        """
        Without a block, and with an empty one, Wazuh's defaults count.
        """
        wanted = AuthSettings()
        self.assertEqual((wanted, wanted), (read(conf()).auth, self.settings("")))
        self.assertEqual((1515, True, 3600.0), (wanted.port, wanted.force.enabled, 3600.0))
        self.assertEqual(ForceRules(True, True, 3600.0, 3600.0), wanted.force)
        self.assertFalse(wanted.purge or wanted.usePassword or wanted.useSourceAddress)

    def test_everyElement(self) -> None:
        """
        All that an installed manager's block has, and more.
        """
        found = self.settings(
            """
            <disabled>yes</disabled>
            <port>1616</port>
            <remote_enrollment>no</remote_enrollment>
            <use_source_ip>yes</use_source_ip>
            <force>
              <enabled>no</enabled>
              <key_mismatch>no</key_mismatch>
              <disconnected_time enabled="yes">1h</disconnected_time>
              <after_registration_time>2d</after_registration_time>
            </force>
            <purge>yes</purge>
            <use_password>yes</use_password>
            <ciphers>HIGH:!ADH</ciphers>
            <ssl_agent_ca>/etc/agents.pem</ssl_agent_ca>
            <ssl_verify_host>yes</ssl_verify_host>
            <ssl_manager_cert>etc/own.cert</ssl_manager_cert>
            <ssl_manager_key>etc/own.key</ssl_manager_key>
            <ssl_auto_negotiate>no</ssl_auto_negotiate>
            <ipv6>no</ipv6>
            <agents><allow_higher_versions>yes</allow_higher_versions></agents>
            """
        )
        wanted = AuthSettings(
            port=1616,
            disabled=True,
            remoteEnrollment=False,
            useSourceAddress=True,
            purge=True,
            usePassword=True,
            ciphers="HIGH:!ADH",
            certificate="etc/own.cert",
            privateKey="etc/own.key",
            agentCA="/etc/agents.pem",
            verifyHost=True,
            allowHigherVersions=True,
            force=ForceRules(False, False, 3600.0, 172_800.0),
        )
        self.assertEqual(wanted, found)

    def test_lastValueCounts(self) -> None:
        """
        Of several blocks, each element's last value counts.
        """
        found = self.settings("<purge>yes</purge><port>1</port>", "<port>2</port>")
        self.assertEqual((True, 2), (found.purge, found.port))

    def test_disconnectedTime(self) -> None:
        """
        It can be switched off by its attribute.
        """
        for element, wanted in (
            ('<disconnected_time enabled="no">1h</disconnected_time>', None),
            ("<disconnected_time enabled='yes'>90</disconnected_time>", 90.0),
            ("<disconnected_time>5m</disconnected_time>", 300.0),
        ):
            found = self.settings(f"<force>{element}</force>").force
            self.assertEqual(
                (wanted, 3600.0), (found.disconnectedTime, found.afterRegistrationTime)
            )

    def test_old(self) -> None:
        """
        The elements that Wazuh 3 had are read, and warned of; a new block
        overrules them.
        """
        text = auth("<force_insert>no</force_insert><force_time>0</force_time>")
        config = read(text)
        self.assertEqual(ForceRules(False, True, None, 3600.0), config.auth.force)
        self.assertEqual(2, len(config.warnings))
        self.assertIn("<force>", config.warnings[0])
        config = read(text.replace("</force_time>", "</force_time><force></force>"))
        self.assertEqual(ForceRules(), config.auth.force)

    def test_unknown(self) -> None:
        """
        What is not known is named with its line, and ignored.
        """
        for block, name in (
            ("<use_pasword>yes</use_pasword>", "use_pasword"),
            ("<force><enable>no</enable></force>", "enable"),
            ("<agents><allow>no</allow></agents>", "allow"),
        ):
            warning = self.warning(auth(block))
            self.assertIn(f"<{name}> is not an element", warning)
            self.assertIn("line 7", warning)

    def test_badValues(self) -> None:
        """
        What cannot be used is refused by line and element.
        """
        for block, element in (
            ("<port>lots</port>", "port"),
            ("<purge>maybe</purge>", "purge"),
            ("<use_password></use_password>", "use_password"),
            ("<ciphers> </ciphers>", "ciphers"),
            ("<ssl_agent_ca></ssl_agent_ca>", "ssl_agent_ca"),
            ("<force><enabled>1</enabled></force>", "enabled"),
            (
                "<force><disconnected_time enabled='x'>1</disconnected_time></force>",
                "disconnected_time",
            ),
            (
                "<force><after_registration_time>1w</after_registration_time></force>",
                "after_registration_time",
            ),
            ("<force_time>soon</force_time>", "force_time"),
            ("<agents><allow_higher_versions>?</allow_higher_versions></agents>", "allow"),
        ):
            refusal = self.refuse(auth(block))
            self.assertIn(f"line 7, <auth>, <{element}", refusal)

    def test_disabledCluster(self) -> None:
        """
        Where there is to be no cluster, the block is nobody's business.
        """
        text = auth("<port>lots</port>").replace("<key>", "<disabled>yes</disabled><key>")
        self.assertEqual(AuthSettings(), read(text).auth)

    @given(
        st.sampled_from(["port", "purge", "ciphers", "force_time", "force", "agents"]),
        st.text(st.characters(exclude_characters="<>&\\"), max_size=20),
    )
    def test_anyValue(self, element: str, value: str) -> None:
        """
        Any value is used or refused on one line.
        """
        try:
            read(auth(f"<{element}>{value}</{element}>"))
        except ConfigError as error:
            self.assertNotIn("\n", str(error).replace(value, ""))
