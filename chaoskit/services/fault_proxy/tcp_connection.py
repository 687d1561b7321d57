"""One TCP connection through a link: dial the upstream, then pump both directions.

The pump is built on asyncio protocols: a chunk that meets no toxic is written on in the call that
read it. Half-closes stay half-closes.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol, cast

from chaoskit.services.fault_proxy.addresses import Address, dial_address
from chaoskit.services.fault_proxy.relay import Relay
from chaoskit.services.fault_proxy.stream import Direction, Stream
from chaoskit.services.fault_proxy.tally import ConnectionNumbers, Effects
from chaoskit.services.fault_proxy.toxic import ToxicChain

_LINGER_ZERO = struct.pack("ii", 1, 0)


class Home(Protocol):
    """The link that a connection belongs to."""

    relay: Relay
    upstream: str
    toxics: ToxicChain
    effects: Effects
    connections: ConnectionNumbers

    def unreachable(self, error: Exception) -> None:
        """Take note of a client that could not be connected to the upstream."""

    def connection_gone(self, connection: "Connection") -> None:
        """Keep the numbers of a connection that ended."""


class TcpStream(Stream):
    """One direction of a connection, from the side that is read to the side that is written."""

    lossless = True

    def __init__(self, connection: "Connection", direction: Direction) -> None:
        link = connection.link
        super().__init__(connection.client, direction, link.relay.timeline, link.effects)
        self.connection = connection
        self.source: Side
        self.sink: Side
        self.write: Callable[[bytes], None]
        self.direct = False
        """No toxic in the way: what is read is written at once."""
        self.ended = False
        """The end of the data was passed on."""
        self.sink_full = False
        self._early: list[bytes] | None = []  # read before the other side was connected
        self._source_ended = False
        self._dead = False
        self._paused = True  # as `Side.connection_made` leaves the source
        self._queue_bytes = link.relay.queue_bytes

    def open(self, source: "Side", sink: "Side") -> None:
        """Begin to pump between two connected sides."""
        self.source, self.sink = source, sink
        self.write = sink.transport.write
        for toxic in self.connection.link.toxics.of(self.direction):
            self.attach(toxic)
        early, self._early = self._early or [], None
        for data in early:
            self.feed(data)
        if self._source_ended:
            self.head.finish()
        self.rewired()
        self.relieve()

    def feed(self, data: bytes) -> None:
        """Take a chunk that was read, when it cannot go on directly."""
        if self._dead:
            self.tally.undeliverable += 1
        elif self._early is not None:
            self._early.append(data)
        else:
            self.head.feed(data, self.timeline.now())
            self.relieve()

    def deliver(self, data: bytes) -> None:
        """Write a chunk that came through the toxics."""
        if self._dead:
            self.tally.undeliverable += 1
            return
        self.tally.forwarded += 1
        self.tally.bytes += len(data)
        self.write(data)

    def source_ended(self) -> None:
        """Take the end of the data; held chunks go before it."""
        if self._source_ended or self._dead:
            return
        self._source_ended = True
        if self._early is None:
            self.head.finish()

    def deliver_end(self) -> None:
        """Pass on the end of the data: a half-close, or a close when both directions are done."""
        if not self.ended:
            self.ended = True
            self.connection.stream_ended(self)

    def kill(self) -> None:
        """Nothing can be written any more: what still comes is counted as undeliverable."""
        self._dead = self.ended = True
        self.discard()

    def end(self, *, reset: bool, at_s: float | None) -> None:
        """Cut the whole connection."""
        self.connection.cut(reset=reset, at_s=at_s)

    def rewired(self) -> None:
        """Find out whether data can go directly."""
        self.direct = not (self.stages or self._dead or self._early is not None)

    def relieve(self) -> None:
        """Stop reading while too much is held or unwritten; read on when it is not."""
        if self._dead or self._early is not None:
            return
        if self.stages:
            unsent = self.sink.transport.get_write_buffer_size()
            full = self.held_bytes + unsent > self._queue_bytes
        else:
            full = self.sink_full
        if full != self._paused:
            self._paused = full
            if full:
                self.source.transport.pause_reading()
            else:
                self.source.transport.resume_reading()


class Side(asyncio.Protocol):
    """One end of a connection: the client's or the upstream's."""

    transport: asyncio.Transport

    def __init__(self, connection: "Connection", inward: TcpStream, outward: TcpStream) -> None:
        """`inward` takes what is read here, `outward` writes here."""
        self.inward = inward
        self.outward = outward
        self.lost = False
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold back until both sides are connected."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Pump a chunk."""
        stream = self.inward
        tally = stream.tally
        tally.seen += 1
        if stream.direct:
            tally.forwarded += 1
            tally.bytes += len(data)
            stream.write(data)
        else:
            stream.feed(data)

    def eof_received(self) -> bool:
        """Pass on the half-close and keep the other direction open."""
        self.inward.source_ended()
        return True

    def pause_writing(self) -> None:
        """Let the source wait."""
        self.outward.sink_full = True
        self.outward.relieve()

    def resume_writing(self) -> None:
        """Let the source go on."""
        self.outward.sink_full = False
        self.outward.relieve()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Tell the connection."""
        self.lost = True
        self._connection.side_lost(self)


class _Phase(Enum):
    DIALLING = 1
    ANSWERING = 2
    OPEN = 3
    OVER = 4


class Connection:
    """A client, its upstream, and the two streams between them."""

    def __init__(self, link: Home, sock: socket.socket, client: Address) -> None:
        """`sock`: the accepted socket; nothing is read from it before the upstream answers."""
        self.link = link
        self.client = client
        self.up = TcpStream(self, Direction.UPSTREAM)
        self.down = TcpStream(self, Direction.DOWNSTREAM)
        self._client_side = Side(self, inward=self.up, outward=self.down)
        self._upstream_side = Side(self, inward=self.down, outward=self.up)
        self._sock = sock
        self._phase = _Phase.DIALLING
        self._reset: bool | None = None  # how it was cut, if it was
        self._task = link.relay.loop.create_task(self._open())

    @property
    def is_open(self) -> bool:
        """Whether its streams pump; before that they have no toxics yet."""
        return self._phase is _Phase.OPEN

    async def _open(self) -> None:
        loop = self.link.relay.loop
        try:
            host, port = dial_address(self.link.upstream)
            async with asyncio.timeout(self.link.relay.dial_timeout_s):
                await loop.create_connection(lambda: self._upstream_side, host, port)
        except (OSError, ValueError) as error:  # TimeoutError and UnicodeError are among them
            self.link.unreachable(error)
            self._give_up()
            return
        self._phase = _Phase.ANSWERING
        try:
            await loop.connect_accepted_socket(lambda: self._client_side, self._sock)
        except OSError:  # the client left meanwhile
            self._upstream_side.transport.close()
            self._give_up()
            return
        self._phase = _Phase.OPEN
        if self._reset is not None:  # cut meanwhile
            self._abort(self._reset)
            return
        self.up.open(self._client_side, self._upstream_side)
        self.down.open(self._upstream_side, self._client_side)
        for side in (self._client_side, self._upstream_side):
            if side.lost:
                self.side_lost(side)

    def _give_up(self) -> None:
        self._phase = _Phase.OVER
        self._sock.close()
        self.link.connection_gone(self)

    def stream_ended(self, stream: TcpStream) -> None:
        """Half-close the sink, or close both sides once no direction has anything to say."""
        if self.up.ended and self.down.ended:
            self._client_side.transport.close()
            self._upstream_side.transport.close()
        else:
            stream.sink.transport.write_eof()

    def side_lost(self, side: Side) -> None:
        """Let what was read from a lost side still arrive, then close the other one."""
        if self._phase is not _Phase.OPEN:
            return
        side.outward.kill()
        if self._client_side.lost and self._upstream_side.lost:
            side.inward.kill()
            self._phase = _Phase.OVER
            self.link.connection_gone(self)
        elif side.inward.ended:
            side.inward.sink.transport.close()
        else:
            side.inward.source_ended()

    def cut(self, *, reset: bool, at_s: float | None) -> None:
        """End both sides now; bytes that were not written yet are lost and not counted as sent."""
        if self._phase is _Phase.OVER or self._reset is not None:
            return
        self._reset = reset
        self.link.connections.cut += 1
        if at_s is not None:
            self.link.effects.mark(at_s, self.client[0])
        if self._phase is _Phase.DIALLING:
            self._task.cancel()
            if reset:
                _linger_zero(self._sock)
            self._give_up()
        elif self._phase is _Phase.OPEN:
            self._abort(reset)

    def _abort(self, reset: bool) -> None:
        for stream, side in ((self.up, self._upstream_side), (self.down, self._client_side)):
            stream.tally.bytes -= side.transport.get_write_buffer_size()
            stream.kill()
            if reset:
                _linger_zero(side.transport.get_extra_info("socket"))
            side.transport.abort()


def _linger_zero(sock: Any) -> None:
    """Make closing `sock` send RST. (A transport's socket is a wrapper with the same method.)"""
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
