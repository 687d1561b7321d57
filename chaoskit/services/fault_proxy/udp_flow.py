"""One flow through a UDP link: a client address and its server-side socket."""

import socket
from typing import Protocol

from chaoskit.services.fault_proxy.addresses import Address, Listen
from chaoskit.services.fault_proxy.relay import Relay
from chaoskit.services.fault_proxy.stream import Direction, Stream
from chaoskit.services.fault_proxy.tally import Effects
from chaoskit.services.fault_proxy.toxic import ToxicChain

DATAGRAM = 65536
"""More than the longest datagram."""


class Home(Protocol):
    """The link that a flow belongs to."""

    relay: Relay
    listen: Listen
    enabled: bool
    toxics: ToxicChain
    effects: Effects

    def send_to_client(self, data: bytes, client: Address) -> None:
        """Send a datagram from the link's listening address. Raises OSError."""

    def receive_failed(self, error: OSError) -> None:
        """Take note of a failed read."""

    def send_failed(self, stream: "UdpStream", data: bytes, error: OSError) -> None:
        """Send `data` after all, or count it as lost."""

    def close_flow(self, flow: "Flow") -> None:
        """End a flow and keep its numbers."""


class UdpStream(Stream):
    """One direction of a flow."""

    lossless = False

    def __init__(self, flow: "Flow", direction: Direction) -> None:
        link = flow.link
        super().__init__(flow.client, direction, link.relay.timeline, link.effects)
        self.flow = flow
        self.direct = False
        """Peer named, link enabled, no toxic in the way: a datagram read is sent at once."""

    def open(self) -> None:
        """Put the link's toxics in the way."""
        for toxic in self.flow.link.toxics.of(self.direction):
            self.attach(toxic)
        self.rewired()

    def feed(self, data: bytes) -> None:
        """Take a datagram that cannot go on directly; it is already counted as seen."""
        now_s = self.timeline.now()
        if not self.flow.link.enabled:
            self.tally.dropped += 1
            self.mark(now_s)
        elif self.flow.peer is None:
            self.tally.undeliverable += 1
        else:
            self.head.feed(data, now_s)

    def deliver(self, data: bytes) -> None:
        """Send a datagram that came through the toxics, unless the link was cut meanwhile."""
        if self.flow.closed:
            self.tally.undeliverable += 1
        elif not self.flow.link.enabled:
            self.tally.dropped += 1
            self.mark(self.timeline.now())
        else:
            try:
                self.flow.send(self, data)
            except OSError as error:
                self.flow.link.send_failed(self, data, error)

    def deliver_end(self) -> None:
        """Never called: datagrams have no end."""

    def end(self, *, reset: bool, at_s: float | None) -> None:
        """Close the flow."""
        if at_s is not None:
            self.mark(at_s)
        self.flow.link.close_flow(self.flow)

    def rewired(self) -> None:
        """Find out whether datagrams can go directly."""
        flow = self.flow
        self.direct = not self.stages and flow.peer is not None and flow.link.enabled


class Flow:
    """A client address, its server-side socket, and the two streams between them."""

    def __init__(self, link: Home, client: Address) -> None:
        """Bind a server-side socket. Raises OSError when there is none to be had."""
        self.link = link
        self.client = client
        self.nonce = ""
        self.peer: Address | None = None
        self.closed = False
        self.up = UdpStream(self, Direction.UPSTREAM)
        self.down = UdpStream(self, Direction.DOWNSTREAM)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.sock.setblocking(False)
            self.sock.bind((link.listen.host, 0))
        except OSError:
            self.sock.close()
            raise
        self.address: Address = self.sock.getsockname()
        self.send_up = self.sock.send
        self._send_down = link.send_to_client
        self._recv = self.sock.recv
        self._seen_last = 0
        self._active_s = link.relay.timeline.now()

    def open(self) -> None:
        """Put the link's toxics in the way of both streams."""
        self.up.open()
        self.down.open()

    def set_peer(self, peer: Address) -> None:
        """Relay to and from `peer` from now on. Raises OSError."""
        self.sock.connect(peer)  # from here on the kernel drops what others send
        self.peer = peer
        self._discard_backlog()
        self.up.rewired()
        self.down.rewired()

    def _discard_backlog(self) -> None:
        """Drop what strangers, or the peer before, sent until now."""
        try:
            while True:
                self._recv(DATAGRAM)
                self.down.tally.seen += 1
                self.down.tally.undeliverable += 1
        except OSError:
            return

    def read(self) -> None:
        """Relay one datagram from the server to the client.

        One a call: at 50 a second there is only one, and asking for another would cost as much as
        relaying it. The poller calls again while there is more.
        """
        down = self.down
        try:
            data = self._recv(DATAGRAM)
        except OSError as error:
            self.link.receive_failed(error)
            return
        tally = down.tally
        tally.seen += 1
        if not down.direct:
            down.feed(data)
            return
        try:
            self._send_down(data, self.client)
        except OSError as error:
            self.link.send_failed(down, data, error)
            return
        tally.forwarded += 1
        tally.bytes += len(data)

    def send(self, stream: UdpStream, data: bytes) -> None:
        """Send `data` along `stream` and count it. Raises OSError."""
        if stream is self.up:
            self.send_up(data)
        else:
            self._send_down(data, self.client)
        stream.tally.forwarded += 1
        stream.tally.bytes += len(data)

    def idle_since(self, now_s: float) -> float:
        """Return when a datagram was last seen, as far as this method's own calls can tell."""
        seen = self.up.tally.seen + self.down.tally.seen
        if seen != self._seen_last:
            self._seen_last = seen
            self._active_s = now_s
        return self._active_s
