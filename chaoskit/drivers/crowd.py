"""Commands to crowd shards over their unix sockets (implements ports.CrowdControl)."""

import asyncio
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chaoskit.errors import AdapterError
from chaoskit.model import Mic
from chaoskit.wire.crowd import Command

CALL_S = 5.0


class CrowdSockets:
    """Reaches each participant through the socket of the shard that owns it; a call is bounded."""

    def __init__(self, shards: Mapping[Path, Iterable[int]], *, call_s: float = CALL_S) -> None:
        """Know which participants each shard's socket speaks for; connect to nothing yet."""
        self._socket_of = {k: path for path, members in shards.items() for k in members}
        self._call_s = call_s
        self._ids = itertools.count(1)

    async def set_mute(self, participants: Sequence[int], muted: bool, *, ttl_s: float) -> None:
        """Mute or unmute at the room server. Raises AdapterError."""
        await self._send("mute" if muted else "unmute", participants, ttl_s=ttl_s)

    async def leave(self, participants: Sequence[int], *, ttl_s: float) -> None:
        """Make participants leave until `rejoin` or the time limit. Raises AdapterError."""
        await self._send("leave", participants, ttl_s=ttl_s)

    async def rejoin(self, participants: Sequence[int]) -> None:
        """End a `leave`. Raises AdapterError."""
        await self._send("rejoin", participants)

    async def set_mic(self, participants: Sequence[int], mic: Mic, *, ttl_s: float) -> None:
        """Override microphones until the time limit. Raises AdapterError."""
        await self._send("mic", participants, ttl_s=ttl_s, mic=mic.value)

    async def _send(
        self, cmd: str, participants: Sequence[int], *, ttl_s: float = 0.0, mic: str = ""
    ) -> None:
        by_socket: dict[Path, list[int]] = {}
        for k in participants:
            try:
                by_socket.setdefault(self._socket_of[k], []).append(k)
            except KeyError:
                raise AdapterError(f"{cmd}: no shard owns participant {k}") from None
        await asyncio.gather(
            *(
                self._ask(path, Command(id=next(self._ids), cmd=cmd, p=ks, ttl_s=ttl_s, mic=mic))
                for path, ks in by_socket.items()
            )
        )

    async def _ask(self, path: Path, command: Command) -> None:
        try:
            async with asyncio.timeout(self._call_s):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(command.encode())
                    line = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            why = str(error) or f"no answer in {self._call_s:g} s"
            raise AdapterError(f"{command.cmd}: crowd shard {path.stem}: {why}") from error
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise AdapterError(f"{command.cmd}: crowd shard {path.stem} hung up") from error
        if not answer.get("ok"):
            raise AdapterError(f"{command.cmd}: crowd shard {path.stem}: {answer.get('error')}")
