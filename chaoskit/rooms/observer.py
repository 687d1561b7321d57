"""Eyes on the room servers for who is outside of them: implements `ports.RoomObserver`."""

import asyncio
from collections.abc import Mapping

from chaoskit.errors import AdapterError
from chaoskit.ports import RoomObserver
from chaoskit.rooms.driver import RoomError
from chaoskit.rooms.line import RoomLine
from chaoskit.wire.identity import participant_with_id

OBSERVE_S = 2.0
"""Limit of one look, seconds; connecting included."""


class AudioBridgeObserver:
    """Looks into AudioBridge rooms over one connection a node, made again when it is lost."""

    def __init__(self, urls: Mapping[str, str], *, call_s: float = OBSERVE_S) -> None:
        """Know the signalling URL of each node; connect to nothing yet."""
        self._lines = {node: RoomLine(url, call_s=call_s) for node, url in urls.items()}

    async def participants(self, node: str, room: int) -> Mapping[int, bool]:
        """Return participant number → muted, as the room server lists them.

        Participants whose id is none of this run's are left out. Raises AdapterError when the node
        is unknown, does not answer within the limit, or has no such room.
        """
        line = self._lines.get(node)
        if line is None:
            known = ", ".join(sorted(self._lines))
            raise AdapterError(f"there is no room node {node!r} to look at; known: {known}")
        try:
            listed = await line.call(lambda client: client.participants(room))
        except RoomError as error:
            raise AdapterError(f"{node}: {error.message}") from error
        numbers = ((participant_with_id(one.id), one.muted) for one in listed)
        return {k: muted for k, muted in numbers if k is not None}

    async def close(self) -> None:
        """End all connections."""
        await asyncio.gather(*(line.close() for line in self._lines.values()))


_: type[RoomObserver] = AudioBridgeObserver
