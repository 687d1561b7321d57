"""A standing line to one room server: one connection, made when it is needed and made again.

For those who ask about rooms without being in one: the directory and the observer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chaoskit.errors import AdapterError
from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.rooms.driver import LossReason, RoomError, RoomEvent, RoomUnavailable
from chaoskit.wire.janus_api import CoreErrorCode

T = TypeVar("T")

_SESSION_GONE = (CoreErrorCode.SESSION_NOT_FOUND, CoreErrorCode.HANDLE_NOT_FOUND)


class RoomLine:
    """One AudioBridge session at `url`; every call is bounded by `call_s`, connecting included.

    A call whose connection fails is not repeated (it may have been carried out); the next one
    connects anew. Calls may overlap.
    """

    def __init__(self, url: str, *, call_s: float, source_ip: str | None = None) -> None:
        """Connect to nothing yet."""
        self.url = url
        self._call_s = call_s
        self._source_ip = source_ip
        self._client: AudioBridgeClient | None = None
        self._connecting = asyncio.Lock()

    async def call(self, request: Callable[[AudioBridgeClient], Awaitable[T]]) -> T:
        """Return what `request` returns.

        Raises RoomError when the server refuses, RoomUnavailable when it does not answer in time,
        AdapterError when it answers nonsense.
        """
        client: AudioBridgeClient | None = None
        try:
            async with asyncio.timeout(self._call_s):
                client = await self._connected()
                return await request(client)
        except TimeoutError as error:
            await self._drop(client)
            raise RoomUnavailable(
                LossReason.TIMEOUT, f"{self.url}: no answer within {self._call_s:g} s"
            ) from error
        except RoomUnavailable as error:
            await self._drop(client)
            told = error.message if self.url in error.message else f"{self.url}: {error.message}"
            raise RoomUnavailable(error.reason, told) from error
        except RoomError as error:
            if error.code in _SESSION_GONE:
                await self._drop(client)
                raise RoomUnavailable(LossReason.EXPIRED, f"{self.url}: {error.message}") from error
            raise
        except ValueError as error:
            await self._drop(client)
            raise AdapterError(f"{self.url}: {error}") from error

    async def close(self) -> None:
        """End the connection; a later call makes a new one."""
        await self._drop(self._client)

    async def _connected(self) -> AudioBridgeClient:
        async with self._connecting:
            if self._client is not None and self._client.lost is not None:
                await self._drop(self._client)
            if self._client is None:
                self._client = await AudioBridgeClient.connect(
                    self.url,
                    source_ip=self._source_ip,
                    timeout_s=self._call_s,
                    answer_s=self._call_s,
                    on_event=_ignore,
                )
            return self._client

    async def _drop(self, client: AudioBridgeClient | None) -> None:
        if client is None:
            return
        if self._client is client:
            self._client = None
        await client.close()


def _ignore(_: RoomEvent) -> None:
    """Hear nothing: nobody is in a room here, and a lost connection shows at the next call."""
