"""The operator's door to the directory: implements `ports.DirectoryControl` over its HTTP API."""

from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Self

from aiohttp import ClientError, ClientSession, ClientTimeout

from chaoskit.errors import AdapterError
from chaoskit.model import Json
from chaoskit.ports import DirectoryControl
from chaoskit.wire.directory import (
    ErrorReply,
    EventRequest,
    EventState,
    FreshRoomRequest,
    Health,
)
from chaoskit.wire.directory_codec import M, Message, encode_message, parse_message

CALL_S = 10.0
"""Limit of one call, seconds. A fresh room may have to be tried at every node."""


class DirectoryDriver:
    """One event at one directory. Every call is bounded and raises AdapterError."""

    def __init__(self, base_url: str, event: str, *, call_s: float = CALL_S) -> None:
        """Know where the directory is (`http://host:port`); connect to nothing yet."""
        self._base = base_url.rstrip("/")
        self._event = event
        self._call_s = call_s
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def health(self) -> Health:
        """Return what the directory says of itself and its nodes."""
        return await self._call("GET", "/v1/health", Health)

    async def create(self, request: EventRequest) -> Mapping[str, Json]:
        """Create the event with its first room; return its state."""
        return asdict(await self._call("POST", "/v1/events", EventState, request))

    async def state(self) -> Mapping[str, Json]:
        """Return the event's state (wire.directory.EventState as JSON)."""
        return asdict(await self._call("GET", f"/v1/events/{self._event}", EventState))

    async def fresh_room(self, *, account: str, node: str | None = None) -> Mapping[str, Json]:
        """Open a fresh room under `account`; return the event's new state."""
        try:
            wanted = FreshRoomRequest(account=account, node=node or "")
        except ValueError as error:
            raise AdapterError(f"a fresh room cannot be asked for: {error}") from error
        return asdict(
            await self._call("POST", f"/v1/events/{self._event}/fresh-room", EventState, wanted)
        )

    async def end_room(self) -> Mapping[str, Json]:
        """End the current room; return the event's state."""
        return asdict(await self._call("POST", f"/v1/events/{self._event}/end-room", EventState))

    async def _call(
        self, method: str, path: str, answer: type[M], message: Message | None = None
    ) -> M:
        what = f"{method} {self._base}{path}"
        if self._session is None:
            self._session = ClientSession()
        body = None if message is None else encode_message(message)
        try:
            async with self._session.request(
                method,
                self._base + path,
                data=body,
                headers={"Content-Type": "application/json"} if body else None,
                timeout=ClientTimeout(total=self._call_s),
                allow_redirects=False,
            ) as reply:
                text, status = await reply.read(), reply.status
        except TimeoutError as error:
            raise AdapterError(
                f"the directory did not answer within {self._call_s:g} s: {what}"
            ) from error
        except (ClientError, OSError) as error:
            raise AdapterError(f"the directory cannot be reached: {what}: {error}") from error
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise AdapterError(f"the directory refused {what}: {_refusal(status, text)}")
        try:
            return parse_message(answer, text)
        except ValueError as error:
            raise AdapterError(f"the directory answered nonsense to {what}: {error}") from error


def _refusal(status: int, text: bytes) -> str:
    try:
        refusal = parse_message(ErrorReply, text).error
    except ValueError:
        return f"HTTP {status}: {text[:200].decode(errors='replace')}"
    return f"{refusal.message} ({refusal.code}, HTTP {status})"


_: type[DirectoryControl] = DirectoryDriver
