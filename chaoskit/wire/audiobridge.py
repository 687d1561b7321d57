"""What is said to and by the AudioBridge plugin: request bodies, answers, notifications, errors.

Contract: Janus 1.1.2 `janus.plugin.audiobridge` with plain-RTP participants; the subset that the
embedded room server and the driver share. Bodies travel inside the envelope of
`chaoskit.wire.janus_api`. Request validation repeats Janus's codes and wording, so that a client
cannot tell the two servers apart by an error.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import ClassVar

from chaoskit.model import Json

PLUGIN = "janus.plugin.audiobridge"
SAMPLING_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
DEFAULT_PREBUFFER = 6
MAX_PREBUFFER = 50


class BridgeErrorCode(IntEnum):
    """Errors of the plugin, as `error_code` inside its answers."""

    INVALID_REQUEST = 482
    MISSING_ELEMENT = 483
    INVALID_ELEMENT = 484
    NO_SUCH_ROOM = 485
    ROOM_EXISTS = 486
    NOT_JOINED = 487
    LIBOPUS = 488
    UNAUTHORIZED = 489
    ID_EXISTS = 490
    ALREADY_JOINED = 491
    NO_SUCH_USER = 492
    UNKNOWN = 499


class BridgeError(Exception):
    """The plugin refuses a request, with its code and text."""

    def __init__(self, code: BridgeErrorCode, text: str) -> None:
        """Keep the code and Janus's own wording."""
        super().__init__(text)
        self.code = code
        self.text = text


# --- requests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RtpAddress:
    """Where RTP goes: IPv4 address, UDP port, payload type."""

    ip: str
    port: int
    payload_type: int = 0


NOWHERE = RtpAddress("", 0)
"""An announced address that nothing can be sent to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create a room; `room` 0 asks for a random id. Rooms for µ-law need `sampling_rate` 8000."""

    request: ClassVar[str] = "create"
    room: int = 0
    description: str | None = None
    sampling_rate: int = 16_000
    allow_rtp_participants: bool = False
    is_private: bool = False
    secret: str | None = None
    pin: str | None = None
    permanent: bool = False
    default_prebuffering: int = DEFAULT_PREBUFFER


@dataclass(frozen=True, slots=True, kw_only=True)
class Exists:
    """Ask whether a room exists."""

    request: ClassVar[str] = "exists"
    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRooms:
    """Ask for all rooms that are not private."""

    request: ClassVar[str] = "list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Enter a room; `id` 0 asks for a random one. Without `rtp` there is no media."""

    request: ClassVar[str] = "join"
    room: int
    id: int = 0
    display: str | None = None
    muted: bool = False
    codec: str = "opus"
    prebuffer: int | None = None
    pin: str | None = None
    secret: str | None = None
    rtp: RtpAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure:
    """Change one's own settings; None leaves a setting alone."""

    request: ClassVar[str] = "configure"
    muted: bool | None = None
    display: str | None = None
    prebuffer: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Leave the room; the handle can join again."""

    request: ClassVar[str] = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp:
    """Leave the room for good: the handle's media never starts again."""

    request: ClassVar[str] = "hangup"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListParticipants:
    """Ask who is in a room."""

    request: ClassVar[str] = "listparticipants"
    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kick:
    """Remove one participant."""

    request: ClassVar[str] = "kick"
    room: int
    id: int
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KickAll:
    """Remove all participants; the room stays."""

    request: ClassVar[str] = "kick_all"
    room: int
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMuted:
    """Mute or unmute one participant, whatever it wants itself."""

    request: ClassVar[str] = "mute"
    room: int
    id: int
    muted: bool
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRoomMuted:
    """Mute or unmute everybody who is not an admin."""

    request: ClassVar[str] = "mute_room"
    room: int
    muted: bool
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroy:
    """Destroy a room and remove everybody from it."""

    request: ClassVar[str] = "destroy"
    room: int
    secret: str | None = None
    permanent: bool = False


BridgeRequest = (
    Create | Exists | ListRooms | Join | Configure | Leave | HangUp | ListParticipants
    | Kick | KickAll | SetMuted | SetRoomMuted | Destroy
)  # fmt: skip

ASYNCHRONOUS = frozenset({"join", "configure", "leave", "hangup"})
"""Requests whose answer is an `event` after (or before) an `ack`."""


class _Body:
    """Reads members of a body with Janus's checks: booleans are no integers, 0 is positive."""

    def __init__(self, body: Mapping[str, Json]) -> None:
        self._body = body

    def integer(self, name: str) -> int | None:
        value = self._body.get(name)
        if value is None:
            return None
        if type(value) is not int or value < 0:
            raise self._wrong(name, "a positive integer")
        return value

    def required_integer(self, name: str) -> int:
        value = self.integer(name)
        if value is None:
            raise missing(name)
        return value

    def prebuffer(self, name: str) -> int | None:
        value = self.integer(name)
        return value if value is None or value <= MAX_PREBUFFER else None

    def text(self, name: str) -> str | None:
        value = self._body.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def flag(self, name: str) -> bool | None:
        value = self._body.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "a boolean")
        return value

    def rtp(self, name: str) -> RtpAddress | None:
        value = self._body.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        ip, port = value.get("ip"), value.get("port")
        if isinstance(ip, str) and type(port) is int and 0 < port <= 0xFFFF:
            return RtpAddress(ip, port)
        # As in Janus an address that cannot be sent to is no error: its owner hears nothing.
        return NOWHERE

    @staticmethod
    def _wrong(name: str, kind: str) -> BridgeError:
        return BridgeError(
            BridgeErrorCode.INVALID_ELEMENT, f"Invalid element type ({name} should be {kind})"
        )


def missing(name: str) -> BridgeError:
    """Return the error for a mandatory member that is not there."""
    return BridgeError(BridgeErrorCode.MISSING_ELEMENT, f"Missing mandatory element ({name})")


def request_name(body: Mapping[str, Json]) -> str:
    """Return the name of the request, in lower case. Raises BridgeError 483 or 484."""
    name = _Body(body).text("request")
    if name is None:
        raise missing("request")
    return name.lower()


def parse_request(body: Mapping[str, Json]) -> BridgeRequest:
    """Parse a request body. Raises BridgeError 482, 483 or 484; unknown members are ignored."""
    name, has = request_name(body), _Body(body)
    match name:
        case "create":
            rate, prebuffer = has.integer("sampling_rate"), has.prebuffer("default_prebuffering")
            return Create(
                room=has.integer("room") or 0,
                description=has.text("description"),
                sampling_rate=16_000 if rate is None else rate,
                allow_rtp_participants=has.flag("allow_rtp_participants") or False,
                is_private=has.flag("is_private") or False,
                secret=has.text("secret"),
                pin=has.text("pin"),
                permanent=has.flag("permanent") or False,
                default_prebuffering=DEFAULT_PREBUFFER if prebuffer is None else prebuffer,
            )
        case "exists":
            return Exists(room=has.required_integer("room"))
        case "list":
            return ListRooms()
        case "join":
            return Join(
                room=has.required_integer("room"),
                id=has.integer("id") or 0,
                display=has.text("display"),
                muted=has.flag("muted") or False,
                codec=has.text("codec") or "opus",
                prebuffer=has.prebuffer("prebuffer"),
                pin=has.text("pin"),
                secret=has.text("secret"),
                rtp=has.rtp("rtp"),
            )
        case "configure":
            return Configure(
                muted=has.flag("muted"),
                display=has.text("display"),
                prebuffer=has.prebuffer("prebuffer"),
            )
        case "leave":
            return Leave()
        case "hangup":
            return HangUp()
        case "listparticipants":
            return ListParticipants(room=has.required_integer("room"))
        case "kick":
            return Kick(
                room=has.required_integer("room"),
                id=has.required_integer("id"),
                secret=has.text("secret"),
            )
        case "kick_all":
            return KickAll(room=has.required_integer("room"), secret=has.text("secret"))
        case "mute" | "unmute":
            return SetMuted(
                room=has.required_integer("room"),
                id=has.required_integer("id"),
                muted=name == "mute",
                secret=has.text("secret"),
            )
        case "mute_room" | "unmute_room":
            return SetRoomMuted(
                room=has.required_integer("room"),
                muted=name == "mute_room",
                secret=has.text("secret"),
            )
        case "destroy":
            return Destroy(
                room=has.required_integer("room"),
                secret=has.text("secret"),
                permanent=has.flag("permanent") or False,
            )
        case _:
            raise BridgeError(
                BridgeErrorCode.INVALID_REQUEST, f"Unknown request '{body['request']}'"
            )


def encode_request(request: BridgeRequest) -> dict[str, Json]:
    """Return the body of `request`; members that are None are left out."""
    match request:
        case SetMuted(muted=False):
            return {"request": "unmute"} | _members(request, without={"muted"})
        case SetRoomMuted(muted=False):
            return {"request": "unmute_room"} | _members(request, without={"muted"})
        case SetMuted() | SetRoomMuted():
            return {"request": request.request} | _members(request, without={"muted"})
        case _:
            return {"request": request.request} | _members(request)


def _members(request: BridgeRequest, without: Set[str] = frozenset()) -> dict[str, Json]:
    members: dict[str, Json] = {}
    for member in fields(request):
        value = getattr(request, member.name)
        if value is None or member.name in without:
            continue
        if isinstance(value, RtpAddress):
            value = {"ip": value.ip, "port": value.port}
        members[member.name] = value
    return members
