"""Run the fault proxy: `python -m chaoskit.services.fault_proxy --ready FILE --port P --seed N`."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import chaoskit
from chaoskit.services.descriptors import raise_descriptor_limit
from chaoskit.services.fault_proxy.api import VERSION
from chaoskit.services.fault_proxy.server import FaultProxy
from chaoskit.services.priority import INSTRUMENT_NICE, ask_for_priority
from chaoskit.services.readiness import write_ready
from chaoskit.wire.descriptors import FAULT_PROXY

log = logging.getLogger("chaoskit.services.fault_proxy")

TOKEN_VARIABLE = "TOXIPROXY_AUTH_TOKEN"


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0, or 4 when the address cannot be served."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    _raise_descriptor_limit(options.listeners)
    ask_for_priority(INSTRUMENT_NICE)
    return asyncio.run(_serve(options))


def _raise_descriptor_limit(listeners: int) -> None:
    limit, need = raise_descriptor_limit(), FAULT_PROXY.need(listeners)
    if not limit.allows(need):
        log.warning(
            "descriptors: %d listeners need %d (%d each and %d besides), the limit is %d; "
            "raise it with: ulimit -Hn %d",
            *(listeners, need, FAULT_PROXY.each, FAULT_PROXY.besides, limit.allowed, need),
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chaoskit.services.fault_proxy",
        description="A Toxiproxy-compatible fault proxy for TCP and UDP links.",
    )
    parser.add_argument("--name", default="fault-proxy", help="name in the ready file")
    parser.add_argument("--ready", type=Path, help="file that is written once it serves")
    parser.add_argument("--host", default="127.0.0.1", help="address of the control API")
    parser.add_argument("--port", type=int, default=8474, help="its port; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random decisions")
    parser.add_argument(
        "--listeners", type=int, default=200, help="expected listeners, for the descriptor limit"
    )
    return parser


async def _serve(options: argparse.Namespace) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    try:
        proxy = FaultProxy(
            host=options.host,
            port=options.port,
            seed=options.seed,
            token=os.environ.get(TOKEN_VARIABLE) or None,
        )
        await proxy.start()
    except (OSError, ValueError) as error:
        log.error("cannot serve on %s:%d: %s", options.host, options.port, error)
        return 4
    log.info("serving on %s:%d, seed %d", options.host, proxy.port, options.seed)
    if options.ready is not None:
        write_ready(
            options.ready,
            name=options.name,
            host=options.host,
            port=proxy.port,
            version=VERSION,
            server=f"chaoskit/{chaoskit.__version__}",
        )
    await stopped.wait()
    log.info("stopping")
    await proxy.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
