"""`python -m chaoskit.services.directory`: serves until SIGTERM or SIGINT, then stops cleanly."""

import asyncio
import logging
import signal
import sqlite3
import sys
from pathlib import Path

from aiohttp import web

from chaoskit.errors import ChaosKitError, EnvironmentMissing
from chaoskit.services.descriptors import raise_descriptor_limit
from chaoskit.services.directory.app import DirectoryApp
from chaoskit.services.directory.config import Options, load_config, parse_options
from chaoskit.services.directory.rooms_link import RoomNodes
from chaoskit.services.directory.store import Store
from chaoskit.services.priority import SERVICE_NICE, ask_for_priority
from chaoskit.services.readiness import write_ready
from chaoskit.wire.directory import DirectoryConfig

log = logging.getLogger("chaoskit.services.directory")

BACKLOG = 1024
"""Connections that may wait to be accepted: a whole audience can come at once."""
STREAMS_END_S = 2.0


async def serve(options: Options, config: DirectoryConfig) -> None:
    """Serve until a signal.

    Raises EnvironmentMissing when the port or the database cannot be had.
    """
    limit = raise_descriptor_limit()
    log.info(
        "file descriptors: %d (was %d); each open connection needs 1", limit.allowed, limit.was
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    database = Path(config.database)
    try:
        store = Store(database)
    except sqlite3.Error as error:
        raise EnvironmentMissing(f"{database}: {error}") from error
    directory = DirectoryApp(config, store=store, nodes=RoomNodes(config))
    runner = web.AppRunner(directory.application(), access_log=None, shutdown_timeout=STREAMS_END_S)
    try:
        await runner.setup()
        site = web.TCPSite(runner, options.host, options.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise EnvironmentMissing(
                f"{options.name}: cannot listen on {options.host}:{options.port}: {error.strerror}",
                hint="another process has the port; --port 0 takes a free one",
            ) from error
        port = runner.addresses[0][1]
        write_ready(options.ready, name=options.name, host=options.host, port=port)
        log.info("serving: name=%s address=%s:%d", options.name, options.host, port)
        await _wait_stop(stop, directory)
        log.info("stopping")
    finally:
        await runner.cleanup()


async def _wait_stop(stop: asyncio.Event, directory: DirectoryApp) -> None:
    """Wait for a signal. A directory whose duties ended judges no lease: it must not go on."""
    stopped = asyncio.create_task(stop.wait())
    failed = asyncio.create_task(directory.failure())
    await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        raise RuntimeError("a duty of the directory ended") from failed.result()
    failed.cancel()


def main() -> int:
    """Run the service; return its exit code."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    options = parse_options()
    ask_for_priority(SERVICE_NICE)
    try:
        asyncio.run(serve(options, load_config(options.config)))
    except ChaosKitError as error:
        hint = f"\n\nhint: {error.hint}" if error.hint else ""
        sys.stderr.write(f"{error.message}{hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
