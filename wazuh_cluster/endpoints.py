"""
Endpoints as an operator writes them: read, and tried while there is a terminal
to say on that they cannot be opened.
"""

from __future__ import annotations

import errno
import re
import socket
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from wazuh_cluster.errors import BadInput, ConfigError

#: Connections that the system keeps until they are taken, unless the endpoint
#: says how many: Twisted's 50 are few for agents that all come at once.
_BACKLOG = 512

_TCP = re.compile(r"(?:haproxy:)?tcp6?:")
_EXAMPLES = "write such as tcp:1515, tcp:1515:interface=10.0.0.1 or haproxy:tcp:1515"


def readEndpoint(reactor: Any, text: str, option: str) -> IStreamServerEndpoint:
    """
    The endpoint that an operator wrote. Opens nothing.

    @param option: where it stands, for errors.
    @raise ConfigError: if there is no such endpoint.
    """
    if _TCP.match(text) and "backlog=" not in text:
        text += f":backlog={_BACKLOG}"
    # A word alone is a port to Twisted, with a warning that few will see.
    if ":" not in text:
        raise _unusable(text, option, "it does not say what kind it is")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:
        # Kinds of endpoints are plugins, whose parsers raise what they like.
        raise _unusable(text, option, " ".join(str(error).split())) from None
    return endpoint


def tryEndpoint(text: str, option: str) -> None:
    """
    See that the port of an endpoint can be opened. Kinds that open something
    else than a TCP port are not tried.

    @raise ConfigError: if it cannot.
    """
    tried: list[Failure] = []
    try:
        readEndpoint(_Probe(), text, option).listen(Factory()).addErrback(tried.append)
    except AttributeError:
        # The probe cannot do what this kind needs.
        return
    for failure in tried:
        if failure.check(CannotListenError):
            raise listenProblem(failure.value, option)  # type: ignore[arg-type]


def listenProblem(error: CannotListenError, option: str) -> ConfigError:
    """
    Why a port cannot be opened.
    """
    reason = error.socketError
    what = f"cannot listen on {error.interface or 'any address'}, port {error.port}"
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
