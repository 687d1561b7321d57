"""A WebSocket of aiohttp that knows how it ended: `receive` does not tell RST and FIN apart."""

import asyncio
from typing import Any, Self

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientWebSocketResponse,
    ClientWSTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)

from chaoskit.rooms.driver import LossReason, RoomUnavailable
from chaoskit.wire.janus_api import SUBPROTOCOL

_CLOSE_S = 0.5
_MAX_MESSAGE_BYTES = 4 * 1024 * 1024


class RoomSocket(ClientWebSocketResponse):
    """A WebSocket to a room server, with an HTTP session of its own for the sake of its address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Made by aiohttp: reader, writer, protocol, response, and more."""
        super().__init__(*args, **kwargs)
        self._http: ClientSession | None = None
        connection = args[3].connection
        # Set when the connection ends, with the reason as exception unless it ended in order.
        self._ended: asyncio.Future[None] | None = connection and connection.protocol.closed

    @classmethod
    async def open(cls, url: str, *, source_ip: str | None) -> Self:
        """Connect from `source_ip`. Raises RoomUnavailable; bound it with a timeout of your own."""
        local = None if source_ip is None else (source_ip, 0)
        http = ClientSession(
            connector=TCPConnector(local_addr=local, limit=1),
            cookie_jar=DummyCookieJar(),
            ws_response_class=cls,
        )
        try:
            socket = await http.ws_connect(
                url,
                protocols=(SUBPROTOCOL,),
                timeout=ClientWSTimeout(ws_close=_CLOSE_S),
                max_msg_size=_MAX_MESSAGE_BYTES,
            )
        except BaseException as error:
            await http.close()
            if isinstance(error, ClientError | OSError):
                raise RoomUnavailable(_reason_for(error), f"{url}: {error}") from error
            raise
        assert isinstance(socket, cls)
        socket._http = http
        return socket

    async def end(self) -> None:
        """Close, within half a second even when nobody answers."""
        await self.close()
        if self._http is not None:
            await self._http.close()

    def end_reason(self) -> LossReason:
        """Return how the connection ended, once `receive` or `send_str` said that it did."""
        ended = self._ended
        if ended is None or not ended.done() or ended.cancelled():
            return LossReason.EOF
        error = ended.exception()
        return LossReason.EOF if error is None else _reason_for(error)


def _reason_for(error: BaseException) -> LossReason:
    if isinstance(error, ClientConnectorError):
        error = error.os_error
    causes = (error, error.__cause__)
    for kind, reason in (
        (TimeoutError, LossReason.TIMEOUT),
        (ConnectionResetError, LossReason.RESET),
        (BrokenPipeError, LossReason.RESET),
        (ServerDisconnectedError, LossReason.EOF),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return LossReason.REFUSED
