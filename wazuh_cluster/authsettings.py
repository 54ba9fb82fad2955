"""
What the C{<auth>} block of C{ossec.conf} can say, as frozen values.
"""

from __future__ import annotations

from attrs import Factory, frozen

#: Wazuh's choice: no anonymous suites, nothing weak, the strongest first.
CIPHERS = "HIGH:!ADH:!EXP:!MD5:!RC4:!3DES:!CAMELLIA:@STRENGTH"

#: Where agents expect the listener.
DEFAULT_PORT = 1515

#: Wazuh's own files, relative to the home.
CERTIFICATE = "etc/sslmanager.cert"
PRIVATE_KEY = "etc/sslmanager.key"
PASSWORD_FILE = "etc/authd.pass"


@frozen
class ForceRules:
    """
    What C{<auth><force>} says. All of it must hold.

    @ivar enabled: whether an agent may be replaced at all.
    @ivar keyMismatch: whether one that asks with the key which it is registered
        with keeps it, and is not registered anew.
    @ivar disconnectedTime: for how many seconds the old agent must have been
        disconnected, if it was ever connected; C{None} for no matter how
        long, and whether.
    @ivar afterRegistrationTime: how many seconds ago the old agent must have
        been registered.
    """

    enabled: bool = True
    keyMismatch: bool = True
    disconnectedTime: float | None = 3600.0
    afterRegistrationTime: float = 3600.0


@frozen
class AuthSettings:
    """
    How agents enroll. Paths are absolute, or relative to the home.

    @ivar port: where Wazuh's own wazuh-authd would listen; here an endpoint
        says that.
    @ivar disabled: whether wazuh-authd is to stay off.
    @ivar remoteEnrollment: whether wazuh-authd is to listen for agents.
    @ivar useSourceAddress: whether an agent that names no address is
        registered with the one from which it connects.
    @ivar purge: whether a removed agent leaves no trace in C{client.keys}.
    @ivar usePassword: whether agents must know the password.
    @ivar passwordFile: its first line is the password.
    @ivar ciphers: the suites for TLS 1.2, in OpenSSL's words.
    @ivar certificate: PEM, the listener's own first, then those that lead to
        an authority.
    @ivar privateKey: PEM, of that certificate.
    @ivar agentCA: PEM; with it, agents must show a certificate that one of
        these authorities signed.
    @ivar verifyHost: whether that must name the address from which the agent
        connects.
    @ivar allowHigherVersions: whether an agent may be newer than the manager.
    """

    port: int = DEFAULT_PORT
    disabled: bool = False
    remoteEnrollment: bool = True
    useSourceAddress: bool = False
    purge: bool = False
    usePassword: bool = False
    passwordFile: str = PASSWORD_FILE
    ciphers: str = CIPHERS
    certificate: str = CERTIFICATE
    privateKey: str = PRIVATE_KEY
    agentCA: str | None = None
    verifyHost: bool = False
    allowHigherVersions: bool = False
    force: ForceRules = Factory(ForceRules)
