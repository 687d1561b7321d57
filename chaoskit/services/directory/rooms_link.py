"""The directory's own lines to the room nodes, one each.

A node that is gone is unhealthy, and every call to it ends within `call_s`, whatever it does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chaoskit.errors import AdapterError
from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.rooms.driver import RoomError
from chaoskit.rooms.line import RoomLine
from chaoskit.wire.audiobridge import BridgeErrorCode
from chaoskit.wire.directory import DirectoryConfig

log = logging.getLogger(__name__)

T = TypeVar("T")


class NodeError(Exception):
    """A node did not do it: it does not answer, or it refused."""


class RoomTaken(NodeError):
    """The node has a room of that number already, and it is none of ours."""


class RoomNodes:
    """All room nodes of a directory. Methods raise NodeError and nothing else."""

    def __init__(self, config: DirectoryConfig) -> None:
        """Connect to nothing yet."""
        self._check_s = config.probe_s
        self._lines = {
            node.name: RoomLine(node.signal_url, call_s=config.call_s) for node in config.nodes
        }
        self._healthy: dict[str, bool | None] = dict.fromkeys(self._lines)

    def silent(self, node: str) -> bool:
        """Return whether the last call to `node` was not answered.

        One that was never called is not silent: which node gets the first room of all must not
        depend on which of them was the quicker to answer.
        """
        return self._healthy.get(node, False) is False

    def health(self) -> dict[str, bool]:
        """Return, by node, whether the last call to it was answered."""
        return {node: healthy is True for node, healthy in self._healthy.items()}

    async def run(self) -> None:
        """Keep every line alive, and its health up to date, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for node in self._lines:
                group.create_task(self._keep(node))

    async def close(self) -> None:
        """End all lines."""
        await asyncio.gather(*(line.close() for line in self._lines.values()))

    async def open_room(self, node: str, room: int, *, description: str) -> None:
        """Create a room for plain RTP at 8 kHz. Raises RoomTaken when the number is in use."""
        try:
            await self._call(node, lambda line: line.create_room(room, description=description))
        except RoomError as error:
            if error.code == BridgeErrorCode.ROOM_EXISTS:
                raise RoomTaken(error.message) from error
            raise NodeError(error.message) from error

    async def has_room(self, node: str, room: int) -> bool:
        """Return whether `room` is there."""
        return await self._plain(node, lambda line: line.exists(room))

    async def remove(self, node: str, room: int, identity: str) -> bool:
        """Kick everybody of that identity out of `room`; return whether anybody was there."""
        try:
            listed = await self._call(node, lambda line: line.participants(room))
            found = [one.id for one in listed if one.display == identity]
            for number in found:
                await self._kick(node, room, number)
        except RoomError as error:
            if error.code == BridgeErrorCode.NO_SUCH_ROOM:
                return False
            raise NodeError(error.message) from error
        return bool(found)

    async def close_room(self, node: str, room: int) -> None:
        """Destroy `room`; one that is not there is destroyed already."""
        try:
            await self._call(node, lambda line: line.destroy_room(room))
        except RoomError as error:
            if error.code != BridgeErrorCode.NO_SUCH_ROOM:
                raise NodeError(error.message) from error

    async def _kick(self, node: str, room: int, number: int) -> None:
        try:
            await self._call(node, lambda line: line.kick(room, number))
        except RoomError as error:
            if error.code != BridgeErrorCode.NO_SUCH_USER:
                raise

    async def _keep(self, node: str) -> None:
        while True:
            try:
                await self._plain(node, lambda line: line.ping())
            except NodeError as error:
                log.debug("no answer: node=%s: %s", node, error)
            await asyncio.sleep(self._check_s)

    async def _plain(self, node: str, request: Callable[[AudioBridgeClient], Awaitable[T]]) -> T:
        try:
            return await self._call(node, request)
        except RoomError as error:
            raise NodeError(error.message) from error

    async def _call(self, node: str, request: Callable[[AudioBridgeClient], Awaitable[T]]) -> T:
        """Do `request` on the line of `node`. Raises RoomError and NodeError."""
        line = self._lines.get(node)
        if line is None:
            raise NodeError(f"there is no node {node!r}")
        try:
            answer = await line.call(request)
        except RoomError:
            self._set_health(node, True)
            raise
        except AdapterError as error:
            self._set_health(node, False)
            raise NodeError(error.message) from error
        self._set_health(node, True)
        return answer

    def _set_health(self, node: str, healthy: bool) -> None:
        if self._healthy[node] is not healthy:
            self._healthy[node] = healthy
            log.info("node %s: node=%s", "answers" if healthy else "does not answer", node)
