"""
What stands between two nodes and counts what they say to each other.
"""

from __future__ import annotations

import socket
import threading

from benchmarks.nodes import ADDRESS

_BUFFER = 1 << 16


class Relay:
    """
    A TCP relay in threads of this process. Use it in a C{with} block.

    @ivar port: where it listens.
    """

    def __init__(self, target: int) -> None:
        """
        @param target: the port to which all goes on.
        """
        self._target = target
        self._lock = threading.Lock()
        self._carried = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((ADDRESS, 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def carried(self) -> int:
        """
        Bytes so far, in both directions, without what TCP itself adds.
        """
        with self._lock:
            return self._carried

    def __enter__(self) -> Relay:
        self._start(self._accept)
        return self

    def __exit__(self, *reason: object) -> None:
        self._listener.close()
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            each.close()

    def _start(self, function: object, *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)  # type: ignore[arg-type]
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection((ADDRESS, self._target))
            except OSError:
                return
            with self._lock:
                self._sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._start(self._pass, one, other)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(_BUFFER):
                with self._lock:
                    self._carried += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return
