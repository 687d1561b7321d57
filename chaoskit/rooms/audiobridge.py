"""Driver for AudioBridge rooms with plain-RTP participants: Janus and the embedded room server."""

import asyncio
import time
from collections.abc import Mapping
from typing import Self, TypeVar

from chaoskit.model import Json
from chaoskit.rooms import driver
from chaoskit.rooms.driver import (
    ANSWER_S,
    KEEPALIVE_S,
    Joined,
    LossReason,
    OnEvent,
    RoomError,
    RoomEvent,
    ServerInfo,
)
from chaoskit.rooms.janus_session import JanusSession, Listeners, id_in
from chaoskit.wire import audiobridge as ask
from chaoskit.wire import audiobridge_answers as tell
from chaoskit.wire.audiobridge import PLUGIN, BridgeErrorCode, RtpAddress
from chaoskit.wire.audiobridge_answers import RoomParticipant
from chaoskit.wire.janus_api import ServerMessage

Answer = TypeVar("Answer")


class AudioBridgeClient:
    """One participant's signalling; a `RoomSession`. Made by `connect`.

    Every join takes a handle that was in no room before: in Janus a handle that was kicked, or
    whose room was destroyed, can join again but never gets media, and one that left gets media
    before it sent any. Between `Kicked` or `RoomGone` and the next join, `configure` and `leave`
    raise RoomError 487, as anywhere outside a room.

    With `on_event` None events wait for `next_event`. Without `presence` what concerns others is
    dropped unread, which keeps a crowd of hundreds light. A join that got no answer in time may
    have happened nevertheless: close the session. A server that answers nonsense: ValueError.
    """

    def __init__(self, *, on_event: OnEvent | None, presence: bool) -> None:
        """Use `connect`."""
        self.joined: Joined | None = None
        """The place in a room, None outside."""
        self._queue: asyncio.Queue[RoomEvent] = asyncio.Queue()
        self._emit: OnEvent = self._queue.put_nowait if on_event is None else on_event
        self._presence = presence
        self._session: JanusSession
        self._handle_id: int | None = None
        self._handle_used = False
        self._attaching = asyncio.Lock()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        source_ip: str | None = None,
        timeout_s: float = ANSWER_S,
        on_event: OnEvent | None = None,
        presence: bool = False,
        answer_s: float = ANSWER_S,
        keepalive_s: float = KEEPALIVE_S,
    ) -> Self:
        """Connect from `source_ip` and create a session.

        timeout_s: for that; answer_s: for each later answer. Raises RoomUnavailable, and RoomError
        when the server refuses the session.
        """
        client = cls(on_event=on_event, presence=presence)
        client._session = await JanusSession.open(
            url,
            source_ip=source_ip,
            timeout_s=timeout_s,
            answer_s=answer_s,
            keepalive_s=keepalive_s,
            listeners=Listeners(
                unread=client._is_unread,
                announcement=client._announced,
                lost=client._lost,
                round_trip=client._round_trip,
            ),
        )
        return client

    @property
    def lost(self) -> LossReason | None:
        """Why the connection is gone, None while it is there."""
        return self._session.lost

    @property
    def rtt_s(self) -> float | None:
        """The latest round trip of a keepalive, in seconds."""
        return self._session.rtt_s

    async def next_event(self) -> RoomEvent:
        """Wait for the next event; only with `on_event` None."""
        return await self._queue.get()

    async def close(self) -> None:
        """End the session, idempotently; within half a second even when nobody answers."""
        self.joined = None
        await self._session.close()

    # --- requests --------------------------------------------------------------------------------

    async def server(self) -> ServerInfo:
        """Return what the server says it is."""
        info = (await self._session.ask("info", in_session=False)).fields
        return ServerInfo(name=str(info.get("name")), version=str(info.get("version_string")))

    async def ping(self) -> float:
        """Return the round trip of one keepalive, in seconds."""
        return await self._session.ping()

    async def create_room(
        self,
        room: int,
        *,
        description: str | None = None,
        secret: str | None = None,
        pin: str | None = None,
    ) -> None:
        """Create a room for plain RTP at 8 kHz. RoomError 486: it exists."""
        request = ask.Create(
            room=room,
            description=description,
            sampling_rate=8_000,
            allow_rtp_participants=True,
            secret=secret,
            pin=pin,
        )
        await self._request(request, tell.Created)

    async def exists(self, room: int) -> bool:
        """Return whether a room exists."""
        return (await self._request(ask.Exists(room=room), tell.RoomExists)).exists

    async def rooms(self) -> tuple[tell.RoomSummary, ...]:
        """Return all rooms that are not private."""
        return (await self._request(ask.ListRooms(), tell.RoomList)).rooms

    async def destroy_room(self, room: int, *, secret: str | None = None) -> None:
        """Destroy a room and remove everybody from it. RoomError 485: there is none."""
        await self._request(ask.Destroy(room=room, secret=secret), tell.DestroyedRoom)

    async def join(
        self,
        room: int,
        participant_id: int,
        *,
        display: str,
        rtp_ip: str,
        rtp_port: int,
        muted: bool = False,
        pin: str | None = None,
    ) -> Joined:
        """Enter a room; media comes to `rtp_ip:rtp_port` once RTP was sent from there.

        RoomError 485: no such room; 490: the id is taken; 491: already in a room.
        """
        if self.joined is not None:
            raise RoomError(BridgeErrorCode.ALREADY_JOINED, "already in a room: leave it first")
        request = ask.Join(
            room=room,
            id=participant_id,
            display=display,
            muted=muted,
            codec="pcmu",
            pin=pin,
            rtp=RtpAddress(rtp_ip, rtp_port),
        )
        await (self._renew_handle() if self._handle_used else self._attached())
        self._handle_used = True
        return _place(await self._request(request, tell.Joined))

    async def configure(self, *, muted: bool) -> None:
        """Mute or unmute oneself. RoomError 487: not in a room."""
        self._need_place()
        await self._request(ask.Configure(muted=muted), tell.Configured)

    async def leave(self) -> None:
        """Leave the room; the session stays. RoomError 487: not in a room."""
        self._need_place()
        await self._request(ask.Leave(), tell.Left)
        self.joined = None

    async def participants(self, room: int) -> tuple[RoomParticipant, ...]:
        """Return who is in a room, in no order. RoomError 485: no such room."""
        answer = await self._request(ask.ListParticipants(room=room), tell.ParticipantList)
        return answer.participants

    async def kick(self, room: int, participant_id: int, *, secret: str | None = None) -> None:
        """Remove a participant. RoomError 485 or 492: no such room or participant."""
        await self._request(ask.Kick(room=room, id=participant_id, secret=secret), tell.Done)

    async def set_muted(
        self, room: int, participant_id: int, muted: bool, *, secret: str | None = None
    ) -> None:
        """Mute or unmute a participant. RoomError 485 or 492: no such room or participant."""
        request = ask.SetMuted(room=room, id=participant_id, muted=muted, secret=secret)
        await self._request(request, tell.Done)

    async def set_room_muted(self, room: int, muted: bool, *, secret: str | None = None) -> None:
        """Mute or unmute everybody in a room who is not an admin. RoomError 485: no such room."""
        await self._request(ask.SetRoomMuted(room=room, muted=muted, secret=secret), tell.Done)

    # --- handle ----------------------------------------------------------------------------------

    async def _attached(self) -> int:
        async with self._attaching:
            if self._handle_id is None:
                attached = await self._session.ask("attach", members={"plugin": PLUGIN})
                self._handle_id, self._handle_used = id_in(attached), False
            return self._handle_id

    async def _renew_handle(self) -> int:
        used, self._handle_id = self._handle_id, None
        fresh = await self._attached()
        await self._session.tell("detach", handle_id=used)
        return fresh

    async def _request(self, request: ask.BridgeRequest, expected: type[Answer]) -> Answer:
        answer: tell.BridgeAnswer | tell.BridgeAnnouncement | None = None

        def arrived(message: ServerMessage) -> None:
            nonlocal answer
            answer = tell.parse_answer(message.data or {})
            if isinstance(answer, tell.Joined):
                # At once and not when the caller goes on: a kick may stand right behind it.
                self.joined = _place(answer)

        await self._session.ask(
            "message",
            handle_id=await self._attached(),
            members={"body": ask.encode_request(request)},
            on_arrival=arrived,
        )
        if isinstance(answer, tell.Failed):
            raise RoomError(answer.code, answer.text)
        if not isinstance(answer, expected):
            raise ValueError(f"the room server answered {request} with {answer}")
        return answer

    def _need_place(self) -> None:
        if self.joined is None:
            raise RoomError(BridgeErrorCode.NOT_JOINED, "not in a room")

    # --- what the session tells ------------------------------------------------------------------

    def _is_unread(self, text: str) -> bool:
        # Looks for members by their quoted names, which cannot stand inside a JSON string.
        if self._presence or '"transaction"' in text:
            return False
        if '"leaving"' in text:
            return True
        if '"participants"' not in text:
            return False
        mine = self.joined and self.joined.participant_id
        return f'"id":{mine},' not in text and f'"id": {mine},' not in text

    def _announced(self, handle_id: int, data: Mapping[str, Json]) -> None:
        if handle_id != self._handle_id:
            return
        at_s, joined = time.monotonic(), self.joined
        mine = joined.participant_id if joined else None
        match tell.parse_answer(data):
            case tell.ParticipantKicked(room, who) if who == mine:
                self.joined = None
                self._emit(driver.Kicked(at_s=at_s, room=room))
            case tell.RoomDestroyed(room):
                self.joined = None
                self._emit(driver.RoomGone(at_s=at_s, room=room))
            case tell.RoomMuted(room, muted):
                self._emit(driver.MutedByRoom(at_s=at_s, room=room, muted=muted))
            case tell.ParticipantsJoined(room, entered) if self._presence:
                for one in entered:
                    self._emit(driver.ParticipantEntered(at_s=at_s, room=room, participant=one))
            case tell.ParticipantsChanged(room, changed):
                for one in changed:
                    if one.id == mine:
                        self._emit(driver.MutedByRoom(at_s=at_s, room=room, muted=one.muted))
                    elif self._presence:
                        self._emit(driver.ParticipantChanged(at_s=at_s, room=room, participant=one))
            case tell.ParticipantLeaving(room, who) if self._presence:
                self._emit(driver.ParticipantGone(at_s=at_s, room=room, participant_id=who))
            case _:
                pass

    def _lost(self, reason: LossReason) -> None:
        self.joined = None
        self._emit(driver.ConnectionLost(at_s=time.monotonic(), reason=reason))

    def _round_trip(self, rtt_s: float) -> None:
        self._emit(driver.RoundTrip(at_s=time.monotonic(), rtt_s=rtt_s))


def _place(answer: tell.Joined) -> Joined:
    if answer.rtp is None:
        raise ValueError("the room server answered a join without saying where to send RTP")
    return Joined(
        room=answer.room,
        participant_id=answer.id,
        rtp_ip=answer.rtp.ip,
        rtp_port=answer.rtp.port,
        participants=answer.participants,
    )


_: driver.RoomDriver = AudioBridgeClient
