"""UDP links: one listening socket, one server-side socket for each flow, every datagram counted.

A flow is a client address. On a link with a fixed upstream its first datagram opens it. On a link
with dynamic peers the client opens it in-band and names its peer (`wire.udplink`); only peers on
the link's list are allowed. A cut link keeps its sockets and discards both ways.
"""

import errno
import logging
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

from chaoskit.services.fault_proxy.addresses import (
    DYNAMIC,
    UDP,
    Address,
    Listen,
    bind_refusal,
    split,
)
from chaoskit.services.fault_proxy.link import Link
from chaoskit.services.fault_proxy.refusals import bad_body
from chaoskit.services.fault_proxy.relay import Relay
from chaoskit.services.fault_proxy.stream import Direction, Stream
from chaoskit.services.fault_proxy.udp_flow import DATAGRAM, Flow, UdpStream
from chaoskit.wire import udplink

log = logging.getLogger(__name__)

READS_A_WAKE = 64
"""Datagrams taken from a listening socket before other sockets get their turn."""
RECEIVE_BUFFER = 4 * 1024 * 1024
"""Asked for on listening sockets: all clients of a link share one."""
SWEEP_S = 10.0
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55


class UdpLink(Link):
    """Relays datagrams between clients and a fixed upstream, or the peer that each client names."""

    transport = "udp"

    def __init__(
        self,
        relay: Relay,
        name: str,
        listen: Listen,
        upstream: str,
        allowed_peers: tuple[str, ...],
    ) -> None:
        """`upstream`: `udp://dynamic` or `udp://ip:port`. Raises Refusal 400.

        `allowed_peers`: addresses or networks that clients may name as their peer.
        """
        super().__init__(relay, name, listen, upstream)
        self.fixed_peer = parse_upstream(upstream)
        self.allowed_peers = allowed_peers
        self._networks = parse_networks(allowed_peers)
        self.opened = 0
        self.refused_opens = 0
        self.peer_refused = 0
        """ICMP answers from peers whose port is closed."""
        self._flows: dict[Address, Flow] = {}
        self._sock: socket.socket | None = None
        self._overflow = 0  # of sockets that are closed

    def start(self) -> None:
        """Bind unless bound, and relay. Raises Refusal 500 when the address cannot be bound."""
        if self._sock is None:
            if self.listen.refusal is not None:
                raise self.listen.refusal
            try:
                self._sock = _bind(self.listen)
            except OSError as error:
                raise bind_refusal(self.listen, error) from None
            self.listen = self.listen.bound_to(*self._sock.getsockname())
            self._recvfrom = self._sock.recvfrom
            self.relay.poller.add(self._sock, self._read)
            self._sweep_timer = self.relay.timeline.after(SWEEP_S, self._sweep)
        self._set_enabled(True)

    def stop(self, *, reset: bool = False) -> None:
        """Discard everything both ways from now on; sockets and flows stay."""
        if self.enabled:
            self._set_enabled(False)

    def _set_enabled(self, enabled: bool) -> None:
        self.enabled = enabled
        for flow in self._flows.values():
            flow.up.rewired()
            flow.down.rewired()

    def close(self) -> None:
        """Stop, end all flows, and free the address."""
        self.stop()
        for flow in list(self._flows.values()):
            self.close_flow(flow)
        if self._sock is not None:
            self._sweep_timer.cancel()
            self.relay.poller.remove(self._sock)
            self._overflow += _overflow(self._sock)
            self._sock.close()
            self._sock = None

    def check_upstream(self, upstream: str) -> None:
        """Raise Refusal 400 when it is neither `udp://dynamic` nor `udp://ip:port`."""
        super().check_upstream(upstream)
        parse_upstream(upstream)

    def move(self, listen: Listen, upstream: str) -> None:
        """Take another address and a checked upstream; the link must be closed."""
        self.fixed_peer = parse_upstream(upstream)
        super().move(listen, upstream)

    def streams(self, direction: Direction) -> Iterable[Stream]:
        """Return the live streams of one direction."""
        if direction is Direction.UPSTREAM:
            return [flow.up for flow in self._flows.values()]
        return [flow.down for flow in self._flows.values()]

    def numbers(self) -> dict[str, Any]:
        """Return the numbers of flows."""
        overflow = self._overflow + sum(_overflow(flow.sock) for flow in self._flows.values())
        if self._sock is not None:
            overflow += _overflow(self._sock)
        return {
            "connections": {"open": 0, "accepted": 0, "refused": 0, "cut": 0},
            "flows": {
                "open": len(self._flows),
                "opened": self.opened,
                "refused_opens": self.refused_opens,
            },
            "live_clients": len({host for host, _ in self._flows}),
            "peer_refused": self.peer_refused,
            "overflow": overflow,
        }

    def to_json(self) -> dict[str, Any]:
        """Return Toxiproxy's form of a proxy, and the peers of a dynamic link."""
        form = super().to_json()
        if self.fixed_peer is None:
            form["allowed_peers"] = list(self.allowed_peers)
        return form

    # --- the data path ---------------------------------------------------------------------------

    def send_to_client(self, data: bytes, client: Address) -> None:
        """Send a datagram to a client. Raises OSError."""
        assert self._sock is not None
        self._sock.sendto(data, client)

    def _read(self) -> None:
        """Relay datagrams from clients."""
        recvfrom, flows, in_band = self._recvfrom, self._flows, self.fixed_peer is None
        for _ in range(READS_A_WAKE):
            try:
                data, client = recvfrom(DATAGRAM)
            except OSError as error:
                self.receive_failed(error)
                return
            flow = flows.get(client)
            if flow is None or (in_band and (not data or data[0] & 0xC0 != 0x80)):
                self._unusual(data, client, flow)
                continue
            up = flow.up
            tally = up.tally
            tally.seen += 1
            if not up.direct:
                up.feed(data)
                continue
            try:
                flow.send_up(data)
            except OSError as error:
                self.send_failed(up, data, error)
                continue
            tally.forwarded += 1
            tally.bytes += len(data)

    def receive_failed(self, error: OSError) -> None:
        """Take note of a failed read; none is fatal."""
        if error.errno == errno.ECONNREFUSED:
            self.peer_refused += 1
        elif error.errno not in (errno.EAGAIN, errno.EINTR):
            log.error("link %s: cannot receive: %s", self.name, error)

    def send_failed(self, stream: UdpStream, data: bytes, error: OSError) -> None:
        """Try once more when the failure was an old ICMP answer, else count a lost datagram."""
        if error.errno == errno.ECONNREFUSED:
            self.peer_refused += 1
            try:
                stream.flow.send(stream, data)
            except OSError as again:
                error = again
            else:
                return
        stream.tally.undeliverable += 1
        if error.errno not in (errno.EAGAIN, errno.ECONNREFUSED):
            log.error("link %s: cannot send: %s", self.name, error)

    # --- flows -----------------------------------------------------------------------------------

    def close_flow(self, flow: Flow) -> None:
        """End a flow and keep its numbers."""
        if flow.closed:
            return
        flow.closed = True
        del self._flows[flow.client]
        self.relay.poller.remove(flow.sock)
        self._overflow += _overflow(flow.sock)
        flow.sock.close()
        for stream in (flow.up, flow.down):
            stream.discard()
            tally = stream.tally
            # What toxics held goes down with the flow.
            tally.undeliverable = tally.seen - tally.forwarded - tally.dropped
            self.retired[stream.direction].add(tally)
        self.toxics.forget(flow.client)

    def _unusual(self, data: bytes, client: Address, flow: Flow | None) -> None:
        """Take a control message, or the first datagram of a client."""
        if self.fixed_peer is not None:
            flow = self._open_fixed(client)
        elif udplink.is_control(data):
            self._control(data, client, flow)
            return
        tally = self.retired[Direction.UPSTREAM] if flow is None else flow.up.tally
        tally.seen += 1
        if flow is not None:
            flow.up.feed(data)
        elif self.enabled:
            tally.undeliverable += 1
        else:
            tally.dropped += 1
            self.effects.mark(self.relay.timeline.now(), client[0])

    def _open_fixed(self, client: Address) -> Flow | None:
        assert self.fixed_peer is not None
        if not self.enabled:
            return None
        flow = self._new_flow(client)
        if flow is None:
            return None
        try:
            flow.set_peer(self.fixed_peer)
        except OSError as error:
            log.error("link %s: cannot reach %s: %s", self.name, self.upstream, error)
            self.close_flow(flow)
            return None
        return flow

    def _new_flow(self, client: Address) -> Flow | None:
        try:
            flow = Flow(self, client)
        except OSError as error:
            log.error("link %s: cannot open a flow: %s", self.name, error)
            return None
        self._flows[client] = flow
        self.opened += 1
        self.relay.poller.add(flow.sock, flow.read)
        flow.open()
        return flow

    def _control(self, datagram: bytes, client: Address, flow: Flow | None) -> None:
        if self._is_dead_for(client):
            self.refused_opens += 1
            self.effects.mark(self.relay.timeline.now(), client[0])
            return
        answer: udplink.Message
        match udplink.decode(datagram):
            case udplink.Open(nonce):
                answer = self._open_dynamic(nonce, client, flow)
            case udplink.Peer(nonce, host, port):
                answer = self._name_peer(nonce, (host, port), flow)
            case _:
                malformed = udplink.nonce_of(datagram)
                if malformed is None:
                    return
                answer = udplink.Refused(malformed, "malformed")
        try:
            self.send_to_client(udplink.encode(answer), client)
        except OSError as error:
            log.error("link %s: cannot answer %s: %s", self.name, client, error)

    def _is_dead_for(self, client: Address) -> bool:
        """Whether the link is cut, or a blackhole swallows what `client` sends or should get."""
        return not self.enabled or any(
            toxic.stage_class.blackhole and toxic.applies_to(client) for toxic in self.toxics
        )

    def _open_dynamic(self, nonce: str, client: Address, flow: Flow | None) -> udplink.Message:
        if flow is not None and flow.peer is not None and flow.nonce != nonce:
            self.close_flow(flow)  # a fresh join: the room server must see a fresh address
            flow = None
        if flow is None:
            flow = self._new_flow(client)
        if flow is None:
            return udplink.Refused(nonce, "no-socket")
        flow.nonce = nonce
        return udplink.Opened(nonce, *flow.address)

    def _name_peer(self, nonce: str, peer: Address, flow: Flow | None) -> udplink.Message:
        if flow is None:
            return udplink.Refused(nonce, "no-flow")
        if not any(IPv4Address(peer[0]) in network for network in self._networks):
            return udplink.Refused(nonce, "peer-not-allowed")
        if flow.peer != peer:
            try:
                flow.set_peer(peer)
            except OSError as error:
                log.error("link %s: cannot reach peer %s: %s", self.name, peer, error)
                return udplink.Refused(nonce, "peer-unreachable")
        return udplink.Peered(nonce)

    def _sweep(self) -> None:
        """Let flows go that were silent for too long."""
        now_s = self.relay.timeline.now()
        for flow in list(self._flows.values()):
            if now_s - flow.idle_since(now_s) >= self.relay.idle_flow_s:
                self.close_flow(flow)
        self._sweep_timer = self.relay.timeline.after(SWEEP_S, self._sweep)


def parse_upstream(upstream: str) -> Address | None:
    """Return the fixed peer of `udp://ip:port`, None for `udp://dynamic`. Raises Refusal 400."""
    address = upstream.removeprefix(UDP)
    if address == DYNAMIC:
        return None
    try:
        host, port = split(address)
        if ip_address(host).version == 4 and port.isdecimal() and 0 < int(port) < 65536:
            return host, int(port)
    except ValueError:
        pass
    raise bad_body(f"upstream of a udp:// link must be udp://dynamic or udp://ip:port: {upstream}")


def parse_networks(allowed: tuple[str, ...]) -> tuple[IPv4Network, ...]:
    """Return the networks of allowed peers; a plain address is one. Raises Refusal 400."""
    try:
        return tuple(IPv4Network(text, strict=False) for text in allowed)
    except ValueError as error:
        raise bad_body(f"allowed_peers: {error}") from None


def _bind(listen: Listen) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        try:  # needs CAP_NET_ADMIN
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind((listen.host, listen.port))
    except OSError:
        sock.close()
        raise
    return sock


def _overflow(sock: socket.socket) -> int:
    """Return how many datagrams the kernel dropped because `sock` was not read in time."""
    try:
        meminfo = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
    except OSError:
        return 0
    return int(struct.unpack("9I", meminfo)[8]) if len(meminfo) == 36 else 0
