"""
What answers each request: who may look is asked first, and whatever goes wrong
is one line.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from wazuh_cluster.errors import ClusterError, MasterUnreachable, TooBusy
from wazuh_cluster.journal import MAIN, Journal
from wazuh_cluster.repeats import Repeats
from wazuh_cluster.web.access import Access

HTML = "text/html; charset=utf-8"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

#: What every answer has: nothing of it may be kept, framed, or load anything
#: from elsewhere.
_HEADERS = (
    (b"server", b"wazuh_cluster"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)

#: The longest path and query that are looked at, in bytes.
_LONGEST = 4096


@frozen
class Answer:
    """
    An answer that is all there.

    @ivar kind: its content type.
    """

    body: bytes
    kind: str = HTML
    code: int = http.OK


class NotThere(ClusterError):
    """
    Nothing has this address.
    """


@frozen
class Asked:
    """
    What is asked for.

    @ivar path: what follows the handler's own name in the address, decoded.
    @ivar query: each argument's last value.
    @ivar request: for a handler that answers by itself.
    """

    path: tuple[str, ...]
    query: Mapping[str, str]
    request: Request


#: Answers; C{None} if it will do so by itself.
Handler = Callable[[Asked], Awaitable[Answer | None]]


def asJson(value: object, code: int = http.OK) -> Answer:
    """
    An answer for programs.
    """
    return Answer(json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n", JSON, code)


class Front(Resource):
    """
    All addresses of a node.

    @ivar answering: the transports of those whose request has come as a whole
        and is not answered yet.
    """

    isLeaf = True

    def __init__(self, access: Access, handlers: Mapping[str, Handler], repeats: Repeats) -> None:
        """
        @param handlers: the first part of an address to what answers it.
        @param repeats: bounds what is logged of those who may not look.
        """
        super().__init__()
        self._access = access
        self._handlers = handlers
        self._repeats = repeats
        self._log = Journal(MAIN)
        self.answering: set[Any] = set()

    def render(self, request: Any) -> Any:
        """
        See C{twisted.web.resource.IResource}.
        """
        transport = request.channel.transport
        self.answering.add(transport)
        gone = request.notifyFinish()
        gone.addBoth(self._gone, transport)
        for name, value in _HEADERS:
            request.setHeader(name, value)
        denial = self._access.check(request)
        if denial is not None:
            if denial.code == http.UNAUTHORIZED and request.getHeader(b"authorization"):
                self._complain(request)
            for name, value in denial.headers:
                request.setHeader(name, value)
            gone.addErrback(lambda _: None)
            return self._finish(request, _inWords(denial.text, denial.code))
        if len(request.uri) > _LONGEST:
            gone.addErrback(lambda _: None)
            return self._finish(request, _inWords("the address is too long", 414))
        answering = Deferred.fromCoroutine(self._answer(request))
        gone.addErrback(lambda _: answering.cancel())
        answering.addErrback(self._explain, request)
        answering.addCallback(lambda answer: answer and self._finish(request, answer))
        answering.addErrback(self._bug)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> Answer | None:
        first, *rest = (_decode(each) for each in request.path.split(b"/")[1:])
        handler = self._handlers.get(first)
        if handler is None:
            raise NotThere("nothing is here: begin at /")
        # These are unquoted already.
        query = {
            name.decode("utf-8", "replace"): values[-1].decode("utf-8", "replace")
            for name, values in request.args.items()
        }
        return await handler(Asked(tuple(rest), query, request))

    def _gone(self, result: object, transport: object) -> object:
        self.answering.discard(transport)
        return result

    def _explain(self, failure: Failure, request: Request) -> Answer | None:
        if failure.check(CancelledError):
            # Who asked is gone.
            return None
        error = failure.value
        code = http.INTERNAL_SERVER_ERROR
        for kind, itsCode in (
            (NotThere, http.NOT_FOUND),
            (TooBusy, http.SERVICE_UNAVAILABLE),
            (MasterUnreachable, http.SERVICE_UNAVAILABLE),
            (ClusterError, http.BAD_REQUEST),
        ):
            if isinstance(error, kind):
                code = itsCode
                break
        else:
            self._log.failure("A page could not be made", failure)
            return _inWords("this node failed to answer: its logs/cluster.log says why", code)
        return _inWords(str(error), code)

    def _finish(self, request: Any, answer: Answer) -> Any:
        request.setResponseCode(answer.code)
        request.setHeader(b"content-type", answer.kind.encode("ascii"))
        request.setHeader(b"content-length", b"%d" % len(answer.body))
        request.write(answer.body)
        request.finish()
        return NOT_DONE_YET

    def _complain(self, request: Any) -> None:
        client = request.getClientAddress()
        host = getattr(client, "host", "a local program")
        held = self._repeats.allow(host)
        if held is not None:
            self._log.warn(
                "The page was asked for with a wrong token, from {host} ({held} more since the "
                "last line).",
                host=host,
                held=held,
            )

    def _bug(self, failure: Failure) -> None:
        self._log.failure("A page could not be sent", failure)


def _inWords(text: str, code: int) -> Answer:
    return Answer(text.encode("utf-8", "replace") + b"\n", TEXT, code)


def _decode(octets: bytes) -> str:
    return unquote_to_bytes(octets).decode("utf-8", "replace")
