"""The UDP side of the node: a connected socket a participant, one epoll, one 20 ms tick."""

import asyncio
import ipaddress
import logging
import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.services.room_server.legs import Leg, RoomMix, RtpClock
from chaoskit.services.room_server.ticks import TickGrid
from chaoskit.wire.audiobridge import RtpAddress

log = logging.getLogger(__name__)

_DATAGRAM_BYTES = 2_048
_READS_A_TURN = 512
_BIND_TRIES = 256
_RECENT_PORTS = 512


class NoPortLeft(Exception):
    """No UDP port could be had for a participant."""


@dataclass(slots=True)
class OpenLeg:
    """A leg with the socket under it; `local` is what the participant must send to."""

    leg: Leg
    local: RtpAddress
    on_gone: Callable[[], None]
    fd: int = -1


class MediaPlane:
    """Opens and closes legs, reads their sockets, and mixes every room each 20 ms.

    The datagrams of all sockets are read through one epoll nested in the loop's own: a thousand
    readers of asyncio cost three times as much (DESIGN §10). Ports are even and not reused while
    anything may still be on its way to them.
    """

    def __init__(
        self, *, rtp_ip: str, ports: range | None = None, rng: random.Random | None = None
    ) -> None:
        """Bind legs to `rtp_ip`, on even ports of `ports`, or on ports of the kernel's choice."""
        self.rtp_ip = rtp_ip
        self._ports = ports
        self._next_port = 0
        self._recent: deque[int] = deque(maxlen=_RECENT_PORTS)
        self._rng = rng or random.Random()
        self._rooms: list[RoomMix] = []
        self._sockets: dict[int, tuple[socket.socket, OpenLeg]] = {}
        self._epoll = select.epoll()
        self._grid = TickGrid(time.monotonic())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def grid(self) -> TickGrid:
        """The tick, for its record of lateness."""
        return self._grid

    def start(self) -> None:
        """Read and tick from now on, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._read)
        self._grid = TickGrid(time.monotonic())
        self._tick()

    def stop(self) -> None:
        """Stop ticking and close every socket."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
        if self._timer is not None:
            self._timer.cancel()
        for _, opened in list(self._sockets.values()):
            self.close(opened)
        self._epoll.close()

    # --- rooms and legs --------------------------------------------------------------------------

    def open_room(self) -> RoomMix:
        """Return the media of a new room, with an SSRC of its own."""
        room = RoomMix(self._rng.randrange(1, 1 << 32))
        self._rooms.append(room)
        return room

    def close_room(self, room: RoomMix) -> None:
        """Mix `room` no more. Its legs are the caller's to close."""
        if room in self._rooms:
            self._rooms.remove(room)

    def open(
        self,
        room: RoomMix,
        peer: RtpAddress,
        *,
        prebuffer: int,
        muted: bool,
        admin: bool,
        resume: RtpClock | None,
        on_up: Callable[[], None],
        on_gone: Callable[[], None],
    ) -> OpenLeg:
        """Give a participant a port of its own; the kernel drops what others send to it.

        on_up: the first packet has arrived. on_gone: the peer's port is closed (ICMP), for as long
        as REFUSED_LIMIT says. A peer that nothing can be sent to gets a port and never any media.
        Raises NoPortLeft.
        """
        sock, port = self._bind()
        try:
            ipaddress.IPv4Address(peer.ip)
            sock.connect((peer.ip, peer.port))
            reachable = peer.port > 0
        except (ValueError, OSError):
            reachable = False
        clock = resume.resumed(time.monotonic()) if resume and reachable else None
        leg = Leg(
            room,
            sock.send,
            prebuffer=prebuffer,
            muted=muted,
            admin=admin,
            resume=clock,
            on_up=on_up,
        )
        opened = OpenLeg(leg, RtpAddress(self.rtp_ip, port), on_gone, sock.fileno())
        self._sockets[opened.fd] = sock, opened
        if reachable:
            self._epoll.register(opened.fd, select.EPOLLIN)
        return opened

    def close(self, opened: OpenLeg) -> None:
        """End a leg, idempotently."""
        opened.leg.end()
        if opened.fd >= 0:
            sock, _ = self._sockets.pop(opened.fd)
            opened.fd = -1
            sock.close()

    def _bind(self) -> tuple[socket.socket, int]:
        reason: OSError | None = None
        for _ in range(len(self._ports) // 2 if self._ports else _BIND_TRIES):
            try:
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            except OSError as error:
                raise NoPortLeft(f"no UDP socket for a participant: {error}") from error
            try:
                sock.bind((self.rtp_ip, self._candidate()))
            except OSError as error:
                reason = error
                sock.close()
                continue
            port: int = sock.getsockname()[1]
            if port % 2 == 0 and (self._ports or port not in self._recent):
                self._recent.append(port)
                return sock, port
            sock.close()
        raise NoPortLeft(f"no even UDP port is free on {self.rtp_ip}") from reason

    def _candidate(self) -> int:
        if self._ports is None:
            return 0
        even = self._ports[self._ports.start % 2 :: 2]
        port = even[self._next_port % len(even)]
        self._next_port += 1
        return port

    # --- the two callbacks -----------------------------------------------------------------------

    def _read(self) -> None:
        for fd, _ in self._epoll.poll(0, _READS_A_TURN):
            entry = self._sockets.get(fd)
            if entry is None:
                continue
            sock, opened = entry
            try:
                datagram = sock.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                # The kernel reports here that the peer's port is closed, and so clears the error.
                if opened.leg.refused():
                    self._give_up(opened.leg)
                continue
            opened.leg.receive(datagram)

    def _tick(self) -> None:
        assert self._loop is not None
        try:
            for slots in self._grid.take_due(time.monotonic()):
                if slots > 1:
                    log.warning("skipped %d slots of 20 ms: this process did not run", slots - 1)
                for room in self._rooms:
                    self._mix(room, slots)
        finally:
            self._timer = self._loop.call_at(self._grid.due_s, self._tick)

    def _mix(self, room: RoomMix, slots: int) -> None:
        """Mix one slot of one room. What goes wrong there costs the slot, and no other room."""
        if not room.legs:
            room.talkers.clear()
            return
        try:
            lost = room.tick(slots)
        except Exception:
            log.exception("a slot of a room could not be mixed")
            return
        for leg in lost:
            self._give_up(leg)

    def _give_up(self, leg: Leg) -> None:
        for _, opened in self._sockets.values():
            if opened.leg is leg:
                assert self._loop is not None
                self._loop.call_soon(opened.on_gone)
                return
