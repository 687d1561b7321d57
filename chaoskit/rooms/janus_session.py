"""One session of the Janus API over one WebSocket: requests by transaction, keepalive, its end."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from aiohttp import ClientError, WSMsgType

from chaoskit.model import Json
from chaoskit.rooms.driver import LossReason, RoomError, RoomUnavailable
from chaoskit.rooms.websocket import RoomSocket
from chaoskit.wire.janus_api import ServerMessage, encode_request, parse_server_message

_KEEPALIVE = "k"
"""Transactions of keepalives start with it: nothing else is answered by an `ack` alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who is told what, in the event loop; they must neither block nor raise.

    `unread`: whether a message can be dropped by its text alone. `announcement`: handle id and data
    of what a plugin told unasked. `lost`: the connection is gone, told once, not after `close`.
    `round_trip`: seconds that a keepalive took.
    """

    unread: Callable[[str], bool]
    announcement: Callable[[int, Mapping[str, Json]], None]
    lost: Callable[[LossReason], None]
    round_trip: Callable[[float], None]


@dataclass(slots=True)
class _Waiting:
    answer: asyncio.Future[ServerMessage]
    on_arrival: Callable[[ServerMessage], None] | None


class JanusSession:
    """A session, from `open` to `close` or to the loss of its connection.

    Answers are matched by transaction and never by order, for the `ack` of a request may come after
    its answer. A keepalive that gets no answer in time is a lost connection.
    """

    def __init__(self, socket: RoomSocket, *, answer_s: float, listeners: Listeners) -> None:
        """Use `open`."""
        self.rtt_s: float | None = None
        """The latest round trip of a keepalive, in seconds."""
        self.lost: LossReason | None = None
        """Why the connection is gone, None while it is there."""
        self._socket = socket
        self._answer_s = answer_s
        self._tell = listeners
        self._numbers = itertools.count(1)
        self._waiting: dict[str, _Waiting] = {}
        self._id = 0
        self._tasks = [asyncio.create_task(self._read())]

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        source_ip: str | None,
        timeout_s: float,
        answer_s: float,
        keepalive_s: float,
        listeners: Listeners,
    ) -> Self:
        """Connect and create a session within `timeout_s`. Raises RoomUnavailable, RoomError."""
        socket: RoomSocket | None = None
        session: Self | None = None
        try:
            async with asyncio.timeout(timeout_s):
                socket = await RoomSocket.open(url, source_ip=source_ip)
                session = cls(socket, answer_s=answer_s, listeners=listeners)
                created = await session.ask("create", in_session=False)
                session._id = id_in(created)
        except BaseException as error:
            if session is not None:
                await session.close()
            elif socket is not None:
                await socket.end()
            if isinstance(error, TimeoutError):
                detail = f"{url}: no session within {timeout_s:g} s"
                raise RoomUnavailable(LossReason.TIMEOUT, detail) from error
            raise
        session._tasks.append(asyncio.create_task(session._keep_alive(keepalive_s)))
        return session

    async def close(self) -> None:
        """End the session, idempotently; within half a second even when nobody answers."""
        self._lose(LossReason.CLOSED)
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._socket.end()

    async def ping(self) -> float:
        """Return the round trip of one keepalive, in seconds. Raises as `ask`."""
        sent_s = time.monotonic()
        await self.ask("keepalive")
        self.rtt_s = time.monotonic() - sent_s
        return self.rtt_s

    async def ask(
        self,
        keyword: str,
        *,
        handle_id: int | None = None,
        members: Mapping[str, Json] | None = None,
        in_session: bool = True,
        on_arrival: Callable[[ServerMessage], None] | None = None,
    ) -> ServerMessage:
        """Return the answer to a request.

        on_arrival: called when an answer other than an error arrives, before anything that arrived
        after it is read; the caller itself goes on later. Its ValueError is passed on. Raises
        RoomError when the core refuses, RoomUnavailable when the connection is or gets lost, or
        nothing came within the time for answers.
        """
        transaction = self._next_transaction(_KEEPALIVE if keyword == "keepalive" else "")
        waiting = _Waiting(asyncio.get_running_loop().create_future(), on_arrival)
        self._waiting[transaction] = waiting
        try:
            async with asyncio.timeout(self._answer_s):
                await self._send(keyword, transaction, handle_id, members, in_session)
                message = await waiting.answer
        except TimeoutError as error:
            detail = f"no answer to {keyword} within {self._answer_s:g} s"
            raise RoomUnavailable(LossReason.TIMEOUT, detail) from error
        finally:
            del self._waiting[transaction]
        if message.error is not None:
            raise RoomError(*message.error)
        return message

    async def tell(self, keyword: str, *, handle_id: int | None = None) -> None:
        """Send a request whose answer is of no interest. Raises RoomUnavailable."""
        await self._send(keyword, self._next_transaction(), handle_id, None, True)

    # --- below -----------------------------------------------------------------------------------

    async def _send(
        self,
        keyword: str,
        transaction: str,
        handle_id: int | None,
        members: Mapping[str, Json] | None,
        in_session: bool,
    ) -> None:
        if self.lost is not None:
            raise _unavailable(self.lost)
        text = encode_request(
            keyword,
            transaction,
            session_id=self._id if in_session else None,
            handle_id=handle_id,
            members=members,
        )
        try:
            await self._socket.send_str(text)
        except (ClientError, OSError) as error:
            raise _unavailable(self._lose(self._socket.end_reason())) from error

    def _next_transaction(self, prefix: str = "") -> str:
        return f"{prefix}{next(self._numbers)}"

    async def _read(self) -> None:
        while self.lost is None:
            message = await self._socket.receive()
            if message.type is not WSMsgType.TEXT:
                self._lose(self._socket.end_reason())
                return
            text: str = message.data
            if self._tell.unread(text):
                continue
            # What is no message of the API is skipped; a request that it should answer times out.
            with contextlib.suppress(ValueError):
                self._take(parse_server_message(text))

    def _take(self, message: ServerMessage) -> None:
        transaction = message.transaction
        if transaction is not None:
            waiting = self._waiting.get(transaction)
            only_acknowledged = message.keyword == "ack" and transaction[:1] != _KEEPALIVE
            if waiting is not None and not waiting.answer.done() and not only_acknowledged:
                try:
                    if waiting.on_arrival is not None and message.error is None:
                        waiting.on_arrival(message)
                except ValueError as error:
                    waiting.answer.set_exception(error)
                else:
                    waiting.answer.set_result(message)
        elif message.keyword == "timeout":
            self._lose(LossReason.EXPIRED)
        elif message.data is not None and message.sender is not None:
            self._tell.announcement(message.sender, message.data)

    async def _keep_alive(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                rtt_s = await self.ping()
            except RoomUnavailable as error:
                self._lose(error.reason)
                return
            except RoomError:
                # The server does not know the session: it expired, or another process serves now.
                self._lose(LossReason.EXPIRED)
                return
            self._tell.round_trip(rtt_s)

    def _lose(self, reason: LossReason) -> LossReason:
        if self.lost is not None:
            return self.lost
        self.lost = reason
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(_unavailable(reason))
        if reason is not LossReason.CLOSED:
            self._tell.lost(reason)
        return reason


def id_in(answer: ServerMessage) -> int:
    """Return the id that `create` and `attach` are answered with. Raises ValueError."""
    number = answer.data.get("id") if answer.data is not None else None
    if type(number) is not int:
        raise ValueError(f"the room server answered without an id: {dict(answer.fields)}")
    return number


def _unavailable(reason: LossReason) -> RoomUnavailable:
    return RoomUnavailable(reason, f"the connection to the room server is gone ({reason})")
