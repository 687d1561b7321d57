"""The AudioBridge plugin: rooms, who is in them, and what they are told.

Everything that the media plane does is behind `Media`, so this is all decisions and no sockets.
"""

import logging
import random
from collections.abc import Callable, Mapping
from typing import Protocol

from chaoskit.model import Json
from chaoskit.services.room_server.legs import RoomMix, RtpClock
from chaoskit.services.room_server.media import NoPortLeft, OpenLeg
from chaoskit.services.room_server.rooms import Member, Room, Seat
from chaoskit.services.room_server.sessions import Connection, Handle, encode_announcement
from chaoskit.wire import audiobridge as ask
from chaoskit.wire import audiobridge_answers as tell
from chaoskit.wire.audiobridge import BridgeError, BridgeErrorCode, RtpAddress
from chaoskit.wire.janus_api import MAX_ID, encode_reply

log = logging.getLogger(__name__)


class Media(Protocol):
    """What the bridge needs of the media plane; see `media.MediaPlane`."""

    def open_room(self) -> RoomMix:
        """Return the media of a new room."""

    def close_room(self, room: RoomMix) -> None:
        """Mix `room` no more."""

    def open(
        self,
        room: RoomMix,
        peer: RtpAddress,
        *,
        prebuffer: int,
        muted: bool,
        admin: bool,
        resume: RtpClock | None,
        on_up: Callable[[], None],
        on_gone: Callable[[], None],
    ) -> OpenLeg:
        """Give a participant a port."""

    def close(self, opened: OpenLeg) -> None:
        """End a leg."""


class Bridge:
    """The rooms of this node. Methods answer through the handle and never raise BridgeError."""

    def __init__(
        self,
        media: Media,
        *,
        now: Callable[[], float],
        rng: random.Random,
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        """Decide without a clock, a loop or chance of its own.

        now: monotonic seconds. rng: draws the ids that clients leave to the server. later: calls
        something in a few milliseconds.
        """
        self.rooms: dict[int, Room] = {}
        self._media = media
        self._now = now
        self._rng = rng
        self._later = later
        self._seats: dict[Handle, Seat] = {}

    # --- called by the gateway -------------------------------------------------------------------

    def attach(self, handle: Handle) -> None:
        """Take a new handle."""
        self._seats[handle] = Seat(handle)

    def detach(self, handle: Handle) -> None:
        """Forget a handle; whoever was in a room on it leaves."""
        seat = self._seats.pop(handle, None)
        if seat is not None:
            self._remove(seat)

    def hang_up(self, handle: Handle) -> None:
        """End the media of a handle for good and take its participant out, without an answer."""
        self._hang_up(self._seats[handle])

    def request(
        self, handle: Handle, connection: Connection, transaction: str, body: Mapping[str, Json]
    ) -> None:
        """Answer one request: synchronous ones on `connection`, others on the session's own."""
        seat = self._seats[handle]
        keyword = "success"
        try:
            name = ask.request_name(body)
            if name in ask.ASYNCHRONOUS:
                connection.send(
                    encode_reply("ack", session_id=handle.session.id, transaction=transaction)
                )
                keyword = "event"
                self._check_place(seat, name)
            request = ask.parse_request(body)
            answer, then = self._dispatch(seat, request)
        except BridgeError as error:
            answer, then = tell.Failed(int(error.code), error.text), _nothing
        target = handle.session.connection if keyword == "event" else connection
        handle.answer(target, keyword, transaction, answer)
        then()

    @staticmethod
    def _check_place(seat: Seat, name: str) -> None:
        # Janus looks at where a handle is before it looks at the members of the request.
        if name == "join" and seat.member is not None:
            raise BridgeError(
                BridgeErrorCode.ALREADY_JOINED,
                "Already in a room (use changeroom to join another one)",
            )
        if name in {"configure", "leave"} and seat.member is None:
            raise BridgeError(BridgeErrorCode.NOT_JOINED, f"Can't {name} (not in a room)")

    def _dispatch(
        self, seat: Seat, request: ask.BridgeRequest
    ) -> tuple[tell.BridgeAnswer, Callable[[], None]]:
        match request:
            case ask.Create():
                return self._create(request), _nothing
            case ask.Exists(room=room):
                return tell.RoomExists(room, room in self.rooms), _nothing
            case ask.ListRooms():
                return self._list(), _nothing
            case ask.ListParticipants(room=number):
                members = self._room(number).members.values()
                return tell.ParticipantList(number, tuple(m.listed() for m in members)), _nothing
            case ask.Join():
                return self._join(seat, request), _nothing
            case ask.Configure():
                return self._configure(seat, request), _nothing
            case ask.Leave():
                return self._leave(seat), _nothing
            case ask.HangUp():
                return tell.HangingUp(), lambda: self._hang_up(seat)
            case ask.Kick():
                return self._kick(request)
            case ask.KickAll():
                return self._kick_all(request)
            case ask.SetMuted():
                return self._set_muted(request), _nothing
            case ask.SetRoomMuted():
                return self._set_room_muted(request), _nothing
            case ask.Destroy():
                return self._destroy(request)

    # --- rooms -----------------------------------------------------------------------------------

    def _room(self, number: int, *, secret: str | None = None, guarded: bool = False) -> Room:
        room = self.rooms.get(number)
        if room is None:
            raise BridgeError(BridgeErrorCode.NO_SUCH_ROOM, f"No such room ({number})")
        if guarded:
            _check(room.settings.secret, secret, "secret")
        return room

    def _create(self, request: ask.Create) -> tell.Created:
        number = request.room or self._unused(self.rooms)
        if number in self.rooms:
            raise BridgeError(BridgeErrorCode.ROOM_EXISTS, f"Room {number} already exists")
        if request.sampling_rate not in ask.SAMPLING_RATES:
            raise BridgeError(
                BridgeErrorCode.UNKNOWN, f"Unsupported sampling rate {request.sampling_rate}"
            )
        self.rooms[number] = Room(
            id=number,
            description=request.description or f"Room {number}",
            settings=request,
            media=self._media.open_room(),
            on_news=self._later,
        )
        log.info("room %d created", number)
        return tell.Created(number, request.permanent)

    def _list(self) -> tell.RoomList:
        return tell.RoomList(
            tuple(
                tell.RoomSummary(
                    room=room.id,
                    description=room.description,
                    sampling_rate=room.settings.sampling_rate,
                    pin_required=room.settings.pin is not None,
                    muted=room.media.muted,
                    num_participants=len(room.members),
                )
                for room in self.rooms.values()
                if not room.settings.is_private
            )
        )

    def _destroy(self, request: ask.Destroy) -> tuple[tell.DestroyedRoom, Callable[[], None]]:
        room = self._room(request.room, secret=request.secret, guarded=True)
        room.tell(tell.RoomDestroyed(room.id))
        del self.rooms[room.id]
        log.info("room %d destroyed with %d in it", room.id, len(room.members))
        seats = [member.seat for member in room.members.values()]
        room.members.clear()

        def end() -> None:
            for seat in seats:
                seat.hung_up = True
                self._remove(seat)
            self._media.close_room(room.media)

        return tell.DestroyedRoom(room.id, request.permanent), end

    def _set_room_muted(self, request: ask.SetRoomMuted) -> tell.Done:
        room = self._room(request.room, secret=request.secret, guarded=True)
        if room.media.muted == request.muted:
            return tell.Done()
        room.media.set_muted(request.muted)
        room.tell(tell.RoomMuted(room.id, request.muted))
        return tell.Done(room.id)

    # --- participants ----------------------------------------------------------------------------

    def _join(self, seat: Seat, request: ask.Join) -> tell.Joined:
        room = self._room(request.room)
        if request.rtp is not None and not room.settings.allow_rtp_participants:
            raise BridgeError(
                BridgeErrorCode.UNAUTHORIZED, "Plain RTP participants not allowed in this room"
            )
        _check(room.settings.pin, request.pin, "pin")
        admin = request.secret is not None and room.settings.secret is not None
        if admin:
            _check(room.settings.secret, request.secret, "secret")
        _check_codec(request)
        number = request.id or self._unused(room.members)
        if number in room.members:
            raise BridgeError(BridgeErrorCode.ID_EXISTS, f"User ID {number} already exists")
        member = Member(number, room, seat, request.display, request.muted, admin)
        if request.rtp is not None:
            member.opened = self._open(member, request, request.rtp)
        others = tuple(other.listed() for other in room.members.values())
        room.announce("joined", member)
        room.members[number] = member
        seat.member = member
        local = member.opened.local if member.opened else None
        log.info("room %d: %d joined, %d in it", room.id, number, len(room.members))
        return tell.Joined(room.id, number, others, local)

    def _open(self, member: Member, request: ask.Join, peer: RtpAddress) -> OpenLeg:
        seat, room = member.seat, member.room
        try:
            return self._media.open(
                room.media,
                ask.NOWHERE if seat.hung_up else peer,
                prebuffer=(
                    room.settings.default_prebuffering
                    if request.prebuffer is None
                    else request.prebuffer
                ),
                muted=request.muted,
                admin=member.admin,
                resume=seat.clock,
                on_up=lambda: self._media_up(member),
                on_gone=lambda: self._hang_up(seat),
            )
        except NoPortLeft as error:
            raise BridgeError(BridgeErrorCode.UNKNOWN, str(error)) from error

    @staticmethod
    def _media_up(member: Member) -> None:
        member.up = True
        member.room.announce("changed", member)

    def _configure(self, seat: Seat, request: ask.Configure) -> tell.Configured:
        member = seat.member
        assert member is not None
        if request.display is not None:
            member.display = request.display
        if request.muted is not None:
            member.set_muted(request.muted)
        if request.prebuffer is not None and member.opened is not None:
            member.opened.leg.queue.prebuffer = request.prebuffer
        if request.display is not None or request.muted is not None:
            member.room.announce("changed", member)
        return tell.Configured()

    def _leave(self, seat: Seat) -> tell.Left:
        member = seat.member
        assert member is not None
        self._remove(seat)
        return tell.Left(member.room.id, member.id)

    def _set_muted(self, request: ask.SetMuted) -> tell.Done:
        room = self._room(request.room, secret=request.secret, guarded=True)
        member = _member(room, request.id)
        if member.muted == request.muted:
            return tell.Done()
        member.set_muted(request.muted)
        room.tell(tell.ParticipantsChanged(room.id, (member.listed(),)))
        return tell.Done(room.id)

    def _kick(self, request: ask.Kick) -> tuple[tell.Done, Callable[[], None]]:
        room = self._room(request.room, secret=request.secret, guarded=True)
        member = _member(room, request.id)
        room.tell(tell.ParticipantKicked(room.id, member.id))
        return tell.Done(), lambda: self._hang_up(member.seat)

    def _kick_all(self, request: ask.KickAll) -> tuple[tell.Done, Callable[[], None]]:
        room = self._room(request.room, secret=request.secret, guarded=True)
        members = tuple(room.members.values())
        room.tell_news()
        for member in members:
            kicked = tell.ParticipantKicked(room.id, member.id, all=True)
            member.seat.handle.announce([encode_announcement(kicked)])

        def end() -> None:
            for member in members:
                self._hang_up(member.seat)

        return tell.Done(), end

    def _hang_up(self, seat: Seat) -> None:
        if not seat.hung_up:
            seat.hung_up = True
            self._remove(seat)

    def _remove(self, seat: Seat) -> None:
        member, seat.member = seat.member, None
        if member is None:
            return
        if member.opened is not None:
            seat.clock = member.opened.leg.clock(self._now())
            self._media.close(member.opened)
        room = member.room
        if room.members.pop(member.id, None) is not None:
            room.announce("leaving", member)
            log.info("room %d: %d left, %d in it", room.id, member.id, len(room.members))

    def _unused(self, taken: Mapping[int, object]) -> int:
        while True:
            number = self._rng.randrange(1, MAX_ID)
            if number not in taken:
                return number


def _check(expected: str | None, given: str | None, name: str) -> None:
    if expected is None:
        return
    if given is None:
        raise ask.missing(name)
    if given != expected:
        raise BridgeError(BridgeErrorCode.UNAUTHORIZED, f"Unauthorized (wrong {name})")


def _check_codec(request: ask.Join) -> None:
    if request.codec not in {"opus", "pcmu", "pcma"}:
        raise BridgeError(
            BridgeErrorCode.INVALID_ELEMENT, "Invalid element (codec must opus, pcmu or pcma)"
        )
    if request.rtp is not None and request.codec != "pcmu":
        raise BridgeError(
            BridgeErrorCode.LIBOPUS,
            f"This server has no {request.codec}: join with codec pcmu",
        )


def _member(room: Room, number: int) -> Member:
    member = room.members.get(number)
    if member is None:
        raise BridgeError(BridgeErrorCode.NO_SUCH_USER, f"No such user {number} in room {room.id}")
    return member


def _nothing() -> None:
    pass
