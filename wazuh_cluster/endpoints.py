"""
Endpoints as an operator writes them: read, and tried while there is a terminal
to say on that they cannot be opened.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from wazuh_cluster.errors import BadInput, ConfigError

#: Connections that the system keeps until they are taken, unless the endpoint
#: says how many: Twisted's 50 are few for agents that all come at once.
_BACKLOG = 512

_TCP = re.compile(r"(?:haproxy:)?tcp6?:")
_SYSTEMD = re.compile(r"(?:haproxy:)?(systemd:.*)", re.DOTALL)
_EXAMPLES = (
    "write such as tcp:1515, tcp:1515:interface=10.0.0.1, haproxy:tcp:1515 or "
    "systemd:INET:name=enrollment"
)


@implementer(IStreamServerEndpoint)
class SaidEndpoint:
    """
    An endpoint whose failure is what an operator is to read.
    """

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        say: Callable[[CannotListenError | OSError], BadInput],
    ) -> None:
        self._endpoint = endpoint
        self._say = say

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen; fails with L{BadInput}.
        """
        return self._endpoint.listen(factory).addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        failure.trap(CannotListenError, OSError)
        assert isinstance(failure.value, (CannotListenError, OSError))
        return Failure(self._say(failure.value))


def readEndpoint(reactor: Any, text: str, option: str) -> IStreamServerEndpoint:
    """
    The endpoint that an operator wrote. Opens nothing. Where its port cannot be
    opened, it fails with a L{ConfigError} about C{option}.

    @param option: where it stands, for errors.
    @raise ConfigError: if there is no such endpoint.
    """
    if _TCP.match(text) and "backlog=" not in text:
        text += f":backlog={_BACKLOG}"
    # A word alone is a port to Twisted, with a warning that few will see.
    if ":" not in text:
        raise _unusable(text, option, "it does not say what kind it is")
    handedOver = _SYSTEMD.match(text)
    if handedOver is not None:
        _checkHandedOver(reactor, text, handedOver[1], option)
    return SaidEndpoint(_parse(reactor, text, option), lambda error: listenProblem(error, option))


def _parse(reactor: Any, text: str, option: str) -> IStreamServerEndpoint:
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:
        # Kinds of endpoints are plugins, whose parsers raise what they like.
        raise _unusable(text, option, " ".join(str(error).split())) from None
    return endpoint


def _checkHandedOver(reactor: Any, text: str, inner: str, option: str) -> None:
    """
    See that systemd gave this process the socket that an endpoint names, and
    that the endpoint says of it what it is: else each connection would fail.
    """
    try:
        endpoint = serverFromString(reactor, inner)
    except LookupError:
        raise ConfigError(
            f"{text[:80]!r}: systemd gave this process no such socket",
            option,
            "name one as its socket unit does (FileDescriptorName=), and start this service by it",
        ) from None
    except Exception as error:
        raise _unusable(text, option, " ".join(str(error).split())) from None
    assert isinstance(endpoint, AdoptedStreamServerEndpoint)
    family = _listensAs(endpoint.fileno)
    if family is None:
        raise ConfigError(
            f"{text[:80]!r}: what systemd gave this process listens to nothing",
            option,
            "write ListenStream= into its socket unit, and no Accept=yes",
        )
    if family != endpoint.addressFamily:
        kind = family.name.removeprefix("AF_")
        raise ConfigError(
            f"{text[:80]!r}: what systemd gave this process is another kind of socket, {kind}",
            option,
            f"write systemd:{kind}:…, or another address into ListenStream=",
        )


def _listensAs(descriptor: int) -> socket.AddressFamily | None:
    """
    The family of a socket that listens; C{None} for anything else.
    """
    try:
        given = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        listens = given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return socket.AddressFamily(given.family) if listens else None
    finally:
        given.detach()


def tryEndpoint(text: str, option: str) -> None:
    """
    See that the port of an endpoint can be opened. Kinds that open something
    else than a TCP port are not tried.

    @raise ConfigError: if it cannot.
    """
    if _SYSTEMD.match(text):
        # It listens already.
        return
    tried: list[Failure] = []
    try:
        readEndpoint(_Probe(), text, option).listen(Factory()).addErrback(tried.append)
    except AttributeError:
        # The probe cannot do what this kind needs.
        return
    for failure in tried:
        if failure.check(BadInput):
            failure.raiseException()


def listenProblem(error: CannotListenError | OSError, option: str) -> ConfigError:
    """
    Why a port cannot be opened.
    """
    what = "cannot listen"
    reason: object = error
    if isinstance(error, CannotListenError):
        reason = error.socketError
        what += f" on {error.interface or 'any address'}, port {error.port}"
    return ConfigError(
        f"{what} ({getattr(reason, 'strerror', None) or reason})",
        option,
        "stop the program that uses it, or choose another"
        if getattr(reason, "errno", None) == errno.EADDRINUSE
        else "choose an address of this machine, and a port that this user may open",
    )


class _Probe:
    """
    As much of a reactor as an endpoint needs to open a TCP port; it closes it
    at once.
    """

    def listenTCP(self, port: int, factory: object, backlog: int, interface: str) -> None:
        """
        Open and close it.
        """
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((interface, port))
                probe.listen(1)
        except OSError as error:
            raise CannotListenError(interface, port, error) from None


def _unusable(text: str, option: str, why: str) -> BadInput:
    return ConfigError(f"{text[:80]!r} is no endpoint ({why})", option, _EXAMPLES)
