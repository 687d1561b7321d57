"""One participant's side of the directory: bounded requests from its own address."""

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)

from chaoskit.services.crowd.hops import Hop, HopFailed, Refused, why_failed
from chaoskit.wire.directory import (
    ErrorReply,
    EventState,
    JoinReply,
    JoinRequest,
    LeaseReply,
    LeaseRequest,
    StageReply,
)
from chaoskit.wire.directory_codec import encode_message, parse_message

WATCH_SILENCE_S = 12.0
"""The directory sends something every 5 s; a watch that is silent for longer is dead."""

_JSON = {"Content-Type": "application/json"}
_HTTP_FORBIDDEN = 403

M = TypeVar("M", JoinReply, StageReply, EventState, LeaseReply)


def warm_codecs() -> None:
    """Build the codecs now: later it would hold up everybody, the ears included."""
    for kind in (JoinReply, StageReply, EventState, LeaseReply, ErrorReply):
        with contextlib.suppress(ValueError):
            parse_message(kind, b"{}")


class DirectoryClient:
    """Asks the directory as one identity. Every request raises HopFailed or Refused.

    Made inside a running event loop.
    """

    def __init__(
        self,
        *,
        base_url: str,
        link: str,
        event: str,
        identity: str,
        source_ip: str,
        timeout_s: float,
        on_round_trip: Callable[[str, float], None],
    ) -> None:
        """`on_round_trip` takes the link and the milliseconds of each answered request."""
        self._hop = Hop("api", link)
        self._url = f"{base_url.rstrip('/')}/v1/events/{event}"
        self._identity = identity
        self._timeout_s = timeout_s
        self._on_round_trip = on_round_trip
        self._who = encode_message(JoinRequest(identity=identity))
        self._http = ClientSession(
            connector=TCPConnector(local_addr=(source_ip, 0)), cookie_jar=DummyCookieJar()
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def join(self) -> JoinReply:
        """Ask where to go."""
        return await self._ask("POST", "/join", JoinReply, self._who)

    async def ask_stage(self) -> StageReply:
        """Ask for the right to speak; a no is an answer, not an error."""
        return await self._ask("POST", "/stage", StageReply, self._who, also=_HTTP_FORBIDDEN)

    async def state(self) -> EventState:
        """Return where the event is now."""
        return await self._ask("GET", "", EventState)

    async def beat(self, timeout_s: float) -> LeaseReply:
        """Send the heartbeat of a candidate for the host lease."""
        body = encode_message(LeaseRequest(identity=self._identity))
        return await self._ask("PUT", "/lease", LeaseReply, body, timeout_s=timeout_s)

    async def leave(self, timeout_s: float) -> None:
        """Say goodbye."""
        timeout = ClientTimeout(total=timeout_s)
        try:
            async with self._http.post(
                f"{self._url}/leave", data=self._who, headers=_JSON, timeout=timeout
            ) as answer:
                await answer.read()
        except (ClientError, OSError) as error:
            raise HopFailed(self._hop, why_failed(error)) from error

    async def watch(self) -> AsyncIterator[EventState]:
        """Yield the state now and after every change; ends with HopFailed when the stream ends."""
        timeout = ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=WATCH_SILENCE_S)
        try:
            async with self._http.get(f"{self._url}/watch", timeout=timeout) as answer:
                if answer.status != 200:
                    raise await self._refusal(answer)
                async for line in answer.content:
                    if line.strip():
                        yield _parse(EventState, line, answer.status)
        except (ClientError, OSError) as error:
            raise HopFailed(self._hop, why_failed(error)) from error
        raise HopFailed(self._hop, "eof")

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[M],
        body: bytes | None = None,
        *,
        also: int = 200,
        timeout_s: float | None = None,
    ) -> M:
        sent_s = time.monotonic()
        timeout = ClientTimeout(total=timeout_s or self._timeout_s)
        try:
            async with self._http.request(
                method, self._url + path, data=body, headers=_JSON, timeout=timeout
            ) as answer:
                if answer.status not in (200, also):
                    raise await self._refusal(answer)
                text = await answer.read()
                status = answer.status
        except (ClientError, OSError) as error:
            raise HopFailed(self._hop, why_failed(error)) from error
        self._on_round_trip(self._hop.link, (time.monotonic() - sent_s) * 1e3)
        return _parse(kind, text, status)

    async def _refusal(self, answer: ClientResponse) -> Refused:
        text = await answer.read()
        try:
            why = parse_message(ErrorReply, text).error.code
        except ValueError:
            why = answer.reason or "?"
        return Refused("directory", answer.status, why)


def _parse(kind: type[M], text: bytes, status: int) -> M:
    """Parse an answer. Raises Refused: what cannot be read leads nowhere."""
    try:
        return parse_message(kind, text)
    except ValueError as error:
        raise Refused("directory", status, "malformed answer") from error
