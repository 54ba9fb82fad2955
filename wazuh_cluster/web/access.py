"""
Who may look: by the name that was asked for, and by a token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from ipaddress import ip_address

from attrs import frozen
from twisted.web import http
from twisted.web.http import Request

#: The shortest token that is taken, in characters: nobody guesses it.
SHORTEST_TOKEN = 16

_COOKIE = b"wazuh_cluster"
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d{1,5})?\Z")
_LOCAL = ("localhost", "127.0.0.1", "::1")


@frozen
class Denial:
    """
    Why a request is not answered.

    @ivar code: HTTP's.
    @ivar text: one line: why, and what to do.
    @ivar headers: that belong to it.
    """

    code: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Access:
    """
    The rule of one server.
    """

    def __init__(
        self, hosts: Iterable[str] = (), token: str | None = None, secure: bool = False
    ) -> None:
        """
        @param hosts: names and addresses that a browser may ask for, besides
            those of this machine itself.
        @param token: what has to be shown; C{None} for nothing.
        @param secure: whether all goes over TLS.
        """
        self._hosts = frozenset(_plain(host) for host in (*_LOCAL, *hosts))
        self._token = None if token is None else token.encode("utf-8")
        self._secure = secure
        # Not the token itself: a cookie is written to disks.
        self._session = (
            b""
            if self._token is None
            else hmac.new(self._token, b"wazuh_cluster page", hashlib.sha256).hexdigest().encode()
        )

    def check(self, request: Request) -> Denial | None:
        """
        Whether a request may be answered. Lets a browser that showed the token
        go on without it.
        """
        if request.method != b"GET":
            return Denial(
                http.NOT_ALLOWED, "nothing can be changed here: use GET", ((b"allow", b"GET"),)
            )
        denial = self._checkHost(request)
        if denial is not None or self._token is None:
            return denial
        if hmac.compare_digest(request.getCookie(_COOKIE) or b"", self._session):
            return None
        shown = _shownToken(request.getHeader(b"authorization") or b"")
        if shown is None or not hmac.compare_digest(shown, self._token):
            return Denial(
                http.UNAUTHORIZED,
                "show the node's token: as 'Authorization: Bearer TOKEN', or in a browser as the "
                "password",
                ((b"www-authenticate", b'Basic realm="wazuh_cluster", charset="UTF-8"'),),
            )
        request.addCookie(
            _COOKIE,
            self._session,
            path=b"/",
            httpOnly=True,
            sameSite=b"strict",
            secure=self._secure,
        )
        return None

    def _checkHost(self, request: Request) -> Denial | None:
        host = request.getHeader(b"host")
        if host is None:
            # Browsers always say it; probes that speak HTTP/1.0 may not.
            if request.clientproto == b"HTTP/1.0":
                return None
            return Denial(http.BAD_REQUEST, "there is no Host header")
        match = _HOST.match(host.decode("latin-1"))
        if match is None or _plain(match["name"]) not in self._hosts:
            # Another site's name that was made to lead here, by its owner.
            return Denial(
                421,
                "this node is not known by that name: add it to 'hosts' in [http] of "
                "etc/wazuh_cluster.ini",
            )
        return None


def _shownToken(header: bytes) -> bytes | None:
    """
    The token in an Authorization header.
    """
    scheme, _, rest = header.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip()
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return None


def _plain(host: str) -> str:
    """
    One spelling for a name or an address.
    """
    name = host.strip().strip("[]").rstrip(".").lower()
    try:
        return str(ip_address(name))
    except ValueError:
        return name
