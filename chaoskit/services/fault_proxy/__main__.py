"""Run the fault proxy: `python -m chaoskit.services.fault_proxy --ready FILE --port P --seed N`."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

import chaoskit
from chaoskit.services.fault_proxy.api import VERSION
from chaoskit.services.fault_proxy.descriptors import raise_limit
from chaoskit.services.fault_proxy.server import FaultProxy
from chaoskit.services.priority import ask_for_priority

log = logging.getLogger("chaoskit.services.fault_proxy")

TOKEN_VARIABLE = "TOXIPROXY_AUTH_TOKEN"


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0, or 4 when the address cannot be served."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    raise_limit(options.listeners)
    ask_for_priority()
    return asyncio.run(_serve(options))


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
        _write_ready(options.ready, options.name, options.host, proxy.port)
    await stopped.wait()
    log.info("stopping")
    await proxy.stop()
    return 0


def _write_ready(path: Path, name: str, host: str, port: int) -> None:
    """Write the ready file in one step, so that whoever sees it can read all of it."""
    ready = {
        "name": name,
        "pid": os.getpid(),
        "host": host,
        "port": port,
        "version": VERSION,
        "server": f"chaoskit/{chaoskit.__version__}",
    }
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(ready) + "\n", encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
