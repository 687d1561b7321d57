"""TCP links: one listening address, one upstream, and the connections between them."""

import logging
import socket
from collections.abc import Iterable
from typing import Any

from chaoskit.services.fault_proxy.addresses import Listen, bind_refusal
from chaoskit.services.fault_proxy.link import Link
from chaoskit.services.fault_proxy.relay import Relay
from chaoskit.services.fault_proxy.stream import Direction, Stream
from chaoskit.services.fault_proxy.tally import ConnectionNumbers
from chaoskit.services.fault_proxy.tcp_connection import Connection

log = logging.getLogger(__name__)

BACKLOG = 4096
ACCEPTS_A_WAKE = 64


class TcpLink(Link):
    """Listens on one address and pumps each connection to the upstream."""

    transport = "tcp"

    def __init__(self, relay: Relay, name: str, listen: Listen, upstream: str) -> None:
        super().__init__(relay, name, listen, upstream)
        self.connections = ConnectionNumbers()
        self._live: dict[Connection, None] = {}
        self._complain_s = float("-inf")
        self._sock: socket.socket | None = None

    def start(self) -> None:
        """Listen. Raises Refusal 500 when the address cannot be bound."""
        if self._sock is None:
            if self.listen.refusal is not None:
                raise self.listen.refusal
            try:
                self._sock = _bind(self.listen)
            except OSError as error:
                raise bind_refusal(self.listen, error) from None
            self.listen = self.listen.bound_to(*self._sock.getsockname()[:2])
        self._sock.listen(BACKLOG)
        self.relay.loop.add_reader(self._sock, self._accept)
        self.enabled = True

    def stop(self, *, reset: bool = False) -> None:
        """Stop listening, then cut all connections. The port stays ours until `close`."""
        if not self.enabled or self._sock is None:
            return
        self.enabled = False
        self.relay.loop.remove_reader(self._sock)
        # On Linux this ends listening but not the binding, so no other process and no outgoing
        # connection can take the port while the link is cut.
        self._sock.shutdown(socket.SHUT_RDWR)
        at_s = self.relay.timeline.now()
        for connection in list(self._live):
            connection.cut(reset=reset, at_s=at_s)

    def close(self) -> None:
        """Stop, and free the address."""
        self.stop()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def streams(self, direction: Direction) -> Iterable[Stream]:
        """Return the live streams of one direction."""
        opened = [connection for connection in self._live if connection.is_open]
        if direction is Direction.UPSTREAM:
            return [connection.up for connection in opened]
        return [connection.down for connection in opened]

    def numbers(self) -> dict[str, Any]:
        """Return the numbers of connections."""
        return {
            "connections": {
                "open": len(self._live),
                "accepted": self.connections.accepted,
                "refused": self.connections.refused,
                "cut": self.connections.cut,
            },
            "flows": {"open": 0, "opened": 0, "refused_opens": 0},
            "live_clients": len({connection.client[0] for connection in self._live}),
        }

    def unreachable(self, error: Exception) -> None:
        """Count a client that could not be connected to the upstream; say so now and then."""
        self.connections.refused += 1
        now_s = self.relay.timeline.now()
        if now_s >= self._complain_s:
            self._complain_s = now_s + 1.0
            log.warning("link %s: cannot reach %s: %s", self.name, self.upstream, error)

    def connection_gone(self, connection: Connection) -> None:
        """Keep the numbers of a connection that ended."""
        if connection in self._live:
            del self._live[connection]
            self.retired[Direction.UPSTREAM].add(connection.up.tally)
            self.retired[Direction.DOWNSTREAM].add(connection.down.tally)
            self.toxics.forget(connection.client)

    def _accept(self) -> None:
        assert self._sock is not None
        for _ in range(ACCEPTS_A_WAKE):
            try:
                sock, client = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors left: let some go before trying again
                log.error("link %s: cannot accept: %s", self.name, error)
                self.relay.loop.remove_reader(self._sock)
                self.relay.timeline.after(1.0, self._accept_again)
                return
            sock.setblocking(False)
            self.connections.accepted += 1
            host = client[0].removeprefix("::ffff:")  # an IPv4 client of a [::] listener
            self._live[Connection(self, sock, (host, client[1]))] = None

    def _accept_again(self) -> None:
        if self.enabled and self._sock is not None:
            self.relay.loop.add_reader(self._sock, self._accept)


def _bind(listen: Listen) -> socket.socket:
    """Return a socket bound to `listen` that keeps its port when it stops listening."""
    sock = _bound(listen, listen.port)
    if listen.port:
        return sock
    # Linux gives a port that it chose itself back as soon as the socket stops listening; one that
    # was asked for stays.
    with sock:
        return _bound(listen, sock.getsockname()[1])


def _bound(listen: Listen, port: int) -> socket.socket:
    sock = socket.socket(listen.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listen.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((listen.host, port))
    except OSError:
        sock.close()
        raise
    return sock
