"""The control socket of a shard: JSON lines in, one answer each, in order."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from chaoskit.wire.crowd import Command

log = logging.getLogger(__name__)

Carry = Callable[[Command], Awaitable[None]]
"""Carries a command out. Raises ValueError for one that makes no sense."""


async def serve_control(path: Path, carry_out: Carry) -> asyncio.Server:
    """Listen on the unix socket `path` (relative to the run folder, so that it stays short)."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(await answer(line, carry_out))
                await writer.drain()
        writer.close()

    remove_socket(path)
    return await asyncio.start_unix_server(converse, path)


def remove_socket(path: Path) -> None:
    """Remove the socket's file if it is there."""
    path.unlink(missing_ok=True)


async def answer(line: bytes, carry_out: Carry) -> bytes:
    """Carry out the command of one line and return the answer's line."""
    number: int | None = None
    try:
        command = Command.decode(line)
        number = command.id
        await carry_out(command)
    except ValueError as error:
        return _encode({"id": number, "ok": False, "error": str(error)})
    except Exception as error:
        # Whoever asked must get an answer; the shard lives on.
        log.exception("a command failed: %s", line)
        return _encode({"id": number, "ok": False, "error": repr(error)})
    return _encode({"id": number, "ok": True})


def _encode(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"
