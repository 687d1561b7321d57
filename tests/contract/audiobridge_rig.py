"""What the tests of the AudioBridge contract work with: a bare WebSocket, a room full of phones."""

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from aiohttp import ClientWebSocketResponse

from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.rooms.driver import RoomEvent
from chaoskit.wire.audiobridge import PLUGIN
from chaoskit.wire.audiobridge_answers import RoomParticipant
from tests.contract.audiobridge_phone import Phone
from tests.contract.audiobridge_servers import Server

AnEvent = TypeVar("AnEvent")

room_numbers = itertools.count(1_000)
"""Every room of a test session has a number of its own."""
LOW, MIDDLE, HIGH = 600, 1_000, 1_500
"""Tones, in Hz, that can be told apart in one frame."""


class Wire:
    """One WebSocket without a driver: what exactly goes over it."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self.session = 0

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.socket.receive_json(timeout=10)
        return message

    async def exchange(self, text: str) -> dict[str, Any]:
        """Send `text`; return the next message."""
        await self.socket.send_str(text)
        return await self.receive()

    async def ask(self, keyword: str, **members: Any) -> dict[str, Any]:
        """Send a request; return its answer. Announcements on the way go to `told`."""
        transaction = f"t{next(self._numbers)}"
        request = {"janus": keyword, "transaction": transaction, **members}
        await self.socket.send_str(json.dumps(request))
        acknowledged = keyword not in {"keepalive"}
        while True:
            answer = await self.receive()
            if answer.get("transaction") != transaction:
                self.told.append(answer)
            elif answer["janus"] != "ack" or not acknowledged:
                return answer

    async def open(self) -> int:
        """Create a session and attach a handle; return the handle's id."""
        self.session = (await self.ask("create"))["data"]["id"]
        return await self.attach()

    async def attach(self) -> int:
        answer = await self.ask("attach", session_id=self.session, plugin=PLUGIN)
        number: int = answer["data"]["id"]
        return number

    async def request(self, handle: int, **body: Any) -> dict[str, Any]:
        """Return the plugin data of the answer to a request."""
        answer = await self.ask("message", session_id=self.session, handle_id=handle, body=body)
        data: dict[str, Any] = answer["plugindata"]["data"]
        return data

    async def hears(self, **members: Any) -> None:
        """Wait for an announcement that has exactly these members beside `audiobridge`."""
        while True:
            for message in self.told:
                data = dict(message.get("plugindata", {}).get("data", {}))
                data.pop("audiobridge", None)
                if data == members:
                    return
            self.told.append(await self.receive())


class Party:
    """A room of a test: its number, its creator, and phones that are closed at the end."""

    def __init__(self, server: Server, admin: AudioBridgeClient, stack: AsyncExitStack) -> None:
        self.server = server
        self.admin = admin
        self.room = next(room_numbers)
        self._stack = stack
        self._numbers = itertools.count(1)

    async def phone(self, *, on_event: Callable[[RoomEvent], None] | None = None) -> Phone:
        k = next(self._numbers)
        phone = await Phone.connect(
            self.server.url, k, on_event=on_event, presence=on_event is None
        )
        self._stack.push_async_callback(phone.close)
        return phone

    async def joined(self, count: int, *, muted: bool = False) -> list[Phone]:
        """Return that many phones in the room, all with media."""
        phones = [await self.phone() for _ in range(count)]
        for phone in phones:
            await phone.join(self.room, muted=muted)
        for phone in phones:
            await phone.gets(1)
        return phones

    async def listed(self) -> dict[int, RoomParticipant]:
        return {p.id: p for p in await self.admin.participants(self.room)}


async def event_of(client: AudioBridgeClient, kind: type[AnEvent]) -> AnEvent:
    """Return the next event of one kind, skipping others."""
    async with asyncio.timeout(10):
        while not isinstance(event := await client.next_event(), kind):
            pass
        return event
