"""`python -m chaoskit.guardian`: started by the engine only (guardian.client.start_guardian)."""

import argparse
import asyncio
import logging
import os
import socket
from pathlib import Path

from chaoskit.guardian.server import Guardian
from chaoskit.journal.folder import RunFolder


def main() -> None:
    """Serve until the engine says farewell or is gone."""
    parser = argparse.ArgumentParser(prog="chaoskit.guardian", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the run folder")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the channel")
    parser.add_argument("--hold", type=int, action="append", default=[], help="kept open")
    options = parser.parse_args()
    for fd in (options.control, *options.hold):
        # Held here and nowhere else: a child with the lock would keep a dead run live.
        os.set_inheritable(fd, False)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(_serve(RunFolder(options.folder), options.control))


async def _serve(folder: RunFolder, control_fd: int) -> None:
    with socket.socket(fileno=control_fd) as control:
        await Guardian(folder, control).serve()


if __name__ == "__main__":
    main()
