"""`python -m chaoskit.services.room_server --name room-a --ready ready/room-a.json --port 0`."""

import argparse
import asyncio
import gc
import logging
import random
import signal
import sys
import time
from pathlib import Path

from aiohttp import web

from chaoskit.services.descriptors import raise_descriptor_limit
from chaoskit.services.priority import SERVICE_NICE, ask_for_priority
from chaoskit.services.readiness import write_ready
from chaoskit.services.room_server.bridge import Bridge
from chaoskit.services.room_server.gateway import Gateway
from chaoskit.services.room_server.media import MediaPlane
from chaoskit.services.room_server.web import Node
from chaoskit.wire.descriptors import ROOM

log = logging.getLogger("chaoskit.services.room_server")

NEWS_S = 0.020
"""How long the news of a room waits for more of it."""


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    options = _parse(argv)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"%(asctime)s {options.name} %(levelname)s %(message)s",
    )
    ask_for_priority(SERVICE_NICE)
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        log.error("cannot serve on %s:%d: %s", options.host, options.port, error)
        return 4
    return 0


async def _serve(options: argparse.Namespace) -> None:
    limit = raise_descriptor_limit()
    log.info(
        "file descriptors: %d (was %d); each participant needs %d",
        *(limit.allowed, limit.was, ROOM.each),
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    rng = random.Random()
    media = MediaPlane(rtp_ip=options.rtp_ip, ports=options.rtp_ports)
    bridge = Bridge(
        media,
        now=time.monotonic,
        rng=rng,
        later=lambda call: loop.call_later(NEWS_S, call),
    )
    gateway = Gateway(
        bridge,
        name=options.name,
        now=time.monotonic,
        rng=rng,
        session_timeout_s=options.session_timeout,
        reclaim_s=options.reclaim_session_timeout,
    )
    node = Node(name=options.name, gateway=gateway, bridge=bridge, media=media)
    _settle_garbage()
    runner = web.AppRunner(node.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port, backlog=1_024, reuse_address=True)
        await site.start()
        port = runner.addresses[0][1]
        log.info("serving ws://%s:%d, RTP on %s", options.host, port, options.rtp_ip)
        if options.ready is not None:
            write_ready(options.ready, name=options.name, host=options.host, port=port)
        await stop.wait()
        log.info("stopping")
    finally:
        await runner.cleanup()


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chaoskit.services.room_server", description=__doc__
    )
    parser.add_argument("--name", required=True, help="name of the node, such as room-a")
    parser.add_argument("--ready", type=Path, help="file to write once serving")
    parser.add_argument("--host", default="127.0.0.1", help="address of the WebSocket")
    parser.add_argument("--port", type=int, default=0, help="port of the WebSocket; 0: any")
    parser.add_argument("--rtp-ip", default="127.0.0.1", help="address of the media sockets")
    parser.add_argument(
        "--rtp-ports", type=_port_range, help="FIRST-LAST for media; default: any free even port"
    )
    parser.add_argument(
        "--session-timeout", type=float, default=60.0, help="seconds without a request; 0: never"
    )
    parser.add_argument(
        "--reclaim-session-timeout",
        type=float,
        default=0.0,
        help="seconds for which a session outlives its connection",
    )
    return parser.parse_args(argv)


def _port_range(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        ports = range(int(first), int(last) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST-LAST") from None
    if len(ports) < 2 or ports.start < 1 or ports.stop > 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} holds no usable ports")
    return ports


def _settle_garbage() -> None:
    # A full collection over every session would stop the mixer for longer than a slot.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)


if __name__ == "__main__":
    sys.exit(main())
