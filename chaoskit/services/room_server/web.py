"""The doors of the node: the WebSocket, `/health` and `/stats`."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import WSMsgType, web

from chaoskit.model import Json
from chaoskit.services.room_server.bridge import Bridge
from chaoskit.services.room_server.gateway import SWEEP_S, Gateway
from chaoskit.services.room_server.media import MediaPlane
from chaoskit.services.room_server.rooms import Member
from chaoskit.wire.janus_api import SUBPROTOCOL

log = logging.getLogger(__name__)

_STALLED_BYTES: Final = 16 * 1024 * 1024
_FIN_TEXT: Final = 0x81


class Outbox:
    """Sends to one WebSocket without waiting: frames are written to the transport as they are.

    What is sent in one turn of the loop leaves in one piece. A peer that takes nothing any more is
    cut off at `_STALLED_BYTES` unsent.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        """Write to `transport`, which has finished its WebSocket handshake without compression."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._frames: list[bytes] = []

    def send(self, text: str) -> None:
        """Send a message."""
        if not self._frames:
            self._loop.call_soon(self._flush)
        self._frames.append(text_frame(text))

    def _flush(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"".join(self._frames))
            if self._transport.get_write_buffer_size() > _STALLED_BYTES:
                log.warning("a client takes nothing any more: connection cut")
                self._transport.abort()
        self._frames.clear()


def text_frame(text: str) -> bytes:
    """Return one unmasked, final WebSocket text frame (RFC 6455 section 5.2)."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((_FIN_TEXT, size)) + payload
    if size < 1 << 16:
        return bytes((_FIN_TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN_TEXT, 127)) + size.to_bytes(8, "big") + payload


class Node:
    """One room server process: its parts, and the aiohttp application over them."""

    def __init__(self, *, name: str, gateway: Gateway, bridge: Bridge, media: MediaPlane) -> None:
        """Serve what the parts do; the application starts and stops the media plane."""
        self.name = name
        self._gateway = gateway
        self._bridge = bridge
        self._media = media
        self._started_s = time.monotonic()
        self._transports: set[asyncio.Transport] = set()

    def application(self) -> web.Application:
        """Return the application. As with Janus any path takes a WebSocket."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/stats", self._stats)
        app.router.add_get("/{anything:.*}", self._socket)
        app.cleanup_ctx.append(self._running)
        app.on_shutdown.append(self._cut_connections)
        return app

    async def _running(self, _: web.Application) -> AsyncIterator[None]:
        self._media.start()
        sweeping = asyncio.create_task(self._sweep())
        yield
        sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeping
        self._media.stop()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._gateway.sweep()

    async def _cut_connections(self, _: web.Application) -> None:
        # Janus sends nothing when it stops either: clients see their connection end.
        for transport in list(self._transports):
            transport.close()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        if SUBPROTOCOL not in [name.strip() for name in offered.split(",")]:
            raise web.HTTPBadRequest(text=f"this is a WebSocket with subprotocol {SUBPROTOCOL}\n")
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), compress=False)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        outbox = Outbox(transport)
        self._transports.add(transport)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._gateway.receive(outbox, message.data)
        finally:
            self._transports.discard(transport)
            self._gateway.disconnected(outbox)
        return socket

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "name": self.name, "pid": os.getpid()})

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.stats())

    def stats(self) -> Json:
        """Return rooms, datagram counters by participant and the record of the tick, as JSON.

        `at_s` is a monotonic stamp; `ticks.late_recent_ms` covers this and the previous second.
        """
        now_s, grid = time.monotonic(), self._media.grid
        return {
            "name": self.name,
            "pid": os.getpid(),
            "at_s": now_s,
            "uptime_s": now_s - self._started_s,
            "sessions": len(self._gateway.sessions),
            "ticks": {
                "run": grid.run,
                "skipped": grid.skipped,
                "late_max_ms": round(grid.late_max_s * 1e3, 3),
                "late_recent_ms": round(grid.late_recent_s(now_s) * 1e3, 3),
            },
            "rooms": [
                {
                    "room": room.id,
                    "description": room.description,
                    "participants": [_member_stats(member) for member in room.members.values()],
                }
                for room in self._bridge.rooms.values()
            ],
        }


def _member_stats(member: Member) -> Json:
    listed = {"id": member.id, "display": member.display, "setup": member.up, "muted": member.muted}
    if member.opened is None:
        return listed
    leg = member.opened.leg
    return listed | {
        "rtp_port": member.opened.local.port,
        "rx": leg.rx,
        "rx_late": leg.rx_late,
        "rx_skipped": leg.rx_skipped,
        "queued": len(leg.queue),
        "tx": leg.tx,
        "tx_failed": leg.tx_failed,
    }
