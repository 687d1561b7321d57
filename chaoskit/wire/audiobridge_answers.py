"""What the AudioBridge plugin answers and announces, as typed values with both codecs.

Contract as in `chaoskit.wire.audiobridge`. An announcement is recognised by its members, for Janus
calls almost all of them `event`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaoskit.model import Json
from chaoskit.wire.audiobridge import RtpAddress


@dataclass(frozen=True, slots=True)
class RoomParticipant:
    """One participant as a room lists it. `setup`: RTP has arrived from it, so media is up."""

    id: int
    display: str | None
    setup: bool
    muted: bool


@dataclass(frozen=True, slots=True)
class RoomSummary:
    """One room as `list` shows it."""

    room: int
    description: str
    sampling_rate: int
    pin_required: bool
    muted: bool
    num_participants: int


# --- answers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Created:
    """The room is there."""

    room: int
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class RoomExists:
    """Whether a room exists."""

    room: int
    exists: bool


@dataclass(frozen=True, slots=True)
class RoomList:
    """All rooms that are not private."""

    rooms: tuple[RoomSummary, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """The room is entered; `participants` are the others, `rtp` is where to send."""

    room: int
    id: int
    participants: tuple[RoomParticipant, ...]
    rtp: RtpAddress | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """Settings were changed."""


@dataclass(frozen=True, slots=True)
class Left:
    """The room was left."""

    room: int
    id: int


@dataclass(frozen=True, slots=True)
class HangingUp:
    """A hang-up was taken; the leaving of the participant follows."""


@dataclass(frozen=True, slots=True)
class ParticipantList:
    """Who is in a room, in no order."""

    room: int
    participants: tuple[RoomParticipant, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """A moderation request was taken; `room` None when it changed nothing, or after a kick."""

    room: int | None = None


@dataclass(frozen=True, slots=True)
class DestroyedRoom:
    """The answer to who destroyed a room."""

    room: int
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The plugin refused a request; a server may know more codes than `BridgeErrorCode`."""

    code: int
    text: str


# --- announcements -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParticipantsJoined:
    """Others entered the room; their media is not up yet."""

    room: int
    participants: tuple[RoomParticipant, ...]


@dataclass(frozen=True, slots=True)
class ParticipantsChanged:
    """The media of others came up, or they were muted, unmuted or renamed."""

    room: int
    participants: tuple[RoomParticipant, ...]


@dataclass(frozen=True, slots=True)
class ParticipantLeaving:
    """Another participant is gone, for whatever reason."""

    room: int
    id: int


@dataclass(frozen=True, slots=True)
class ParticipantKicked:
    """Somebody was kicked; sent to all, the kicked one included. With `all` it is the receiver."""

    room: int
    id: int
    all: bool = False


@dataclass(frozen=True, slots=True)
class RoomMuted:
    """The room was muted or unmuted as a whole."""

    room: int
    muted: bool


@dataclass(frozen=True, slots=True)
class RoomDestroyed:
    """The room is gone, and with it the receiver's place in it."""

    room: int


@dataclass(frozen=True, slots=True)
class Unfamiliar:
    """Something outside the subset, such as `talking`."""

    data: Mapping[str, Json]


BridgeAnswer = (
    Created | RoomExists | RoomList | Joined | Configured | Left | HangingUp | ParticipantList
    | Done | DestroyedRoom | Failed
)  # fmt: skip
BridgeAnnouncement = (
    ParticipantsJoined | ParticipantsChanged | ParticipantLeaving | ParticipantKicked | RoomMuted
    | RoomDestroyed | Unfamiliar
)  # fmt: skip


def encode_answer(data: BridgeAnswer | BridgeAnnouncement) -> dict[str, Json]:
    """Return the plugin data of an answer or announcement, in Janus's member order."""
    match data:
        case Created(room, permanent):
            return {"audiobridge": "created", "room": room, "permanent": permanent}
        case RoomExists(room, exists):
            return {"audiobridge": "success", "room": room, "exists": exists}
        case RoomList(rooms):
            return {"audiobridge": "success", "list": [_encode_summary(room) for room in rooms]}
        case Joined(room, id, participants, rtp):
            joined: dict[str, Json] = {"audiobridge": "joined", "room": room, "id": id}
            joined["participants"] = _encode_all(participants)
            if rtp is not None:
                joined["rtp"] = {"ip": rtp.ip, "port": rtp.port, "payload_type": rtp.payload_type}
            return joined
        case Configured():
            return {"audiobridge": "event", "result": "ok"}
        case Left(room, id):
            return {"audiobridge": "left", "room": room, "id": id}
        case HangingUp():
            return {"audiobridge": "hangingup"}
        case ParticipantList(room, participants):
            listed = _encode_all(participants)
            return {"audiobridge": "participants", "room": room, "participants": listed}
        case Done(None):
            return {"audiobridge": "success"}
        case Done(room):
            return {"audiobridge": "success", "room": room}
        case DestroyedRoom(room, permanent):
            return {"audiobridge": "destroyed", "room": room, "permanent": permanent}
        case Failed(code, text):
            return {"audiobridge": "event", "error_code": code, "error": text}
        case ParticipantsJoined(room, participants):
            entered = _encode_all(participants)
            return {"audiobridge": "joined", "room": room, "participants": entered}
        case ParticipantsChanged(room, participants):
            changed = _encode_all(participants)
            return {"audiobridge": "event", "room": room, "participants": changed}
        case ParticipantLeaving(room, id):
            return {"audiobridge": "event", "room": room, "leaving": id}
        case ParticipantKicked(room, id, everybody):
            kicked = "kicked_all" if everybody else "kicked"
            return {"audiobridge": "event", "room": room, kicked: id}
        case RoomMuted(room, muted):
            return {"audiobridge": "event", "room": room, "muted": muted}
        case RoomDestroyed(room):
            return {"audiobridge": "destroyed", "room": room}
        case Unfamiliar(members):
            return dict(members)


def parse_answer(data: Mapping[str, Json]) -> BridgeAnswer | BridgeAnnouncement:
    """Parse plugin data; what is outside the subset becomes `Unfamiliar`.

    Raises ValueError when known data lacks a member or has one of a wrong type.
    """
    try:
        return _parse(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not AudioBridge data: {dict(data)!r}") from error


def _parse(data: Mapping[str, Json]) -> BridgeAnswer | BridgeAnnouncement:
    match data["audiobridge"]:
        case "event":
            return _parse_event(data)
        case "joined" if "id" in data:
            rtp = data.get("rtp")
            return Joined(
                data["room"],
                data["id"],
                _parse_all(data["participants"]),
                RtpAddress(rtp["ip"], rtp["port"], rtp["payload_type"]) if rtp else None,
            )
        case "joined":
            return ParticipantsJoined(data["room"], _parse_all(data["participants"]))
        case "success" if "exists" in data:
            return RoomExists(data["room"], data["exists"])
        case "success" if "list" in data:
            return RoomList(tuple(_parse_summary(room) for room in data["list"]))
        case "success":
            return Done(data.get("room"))
        case "created":
            return Created(data["room"], data["permanent"])
        case "left":
            return Left(data["room"], data["id"])
        case "participants":
            return ParticipantList(data["room"], _parse_all(data["participants"]))
        case "destroyed" if "permanent" in data:
            return DestroyedRoom(data["room"], data["permanent"])
        case "destroyed":
            return RoomDestroyed(data["room"])
        case "hangingup":
            return HangingUp()
        case _:
            return Unfamiliar(data)


def _parse_event(data: Mapping[str, Json]) -> BridgeAnswer | BridgeAnnouncement:
    if "error_code" in data:
        return Failed(int(data["error_code"]), str(data["error"]))
    if "result" in data:
        return Configured()
    if "participants" in data:
        return ParticipantsChanged(data["room"], _parse_all(data["participants"]))
    if "leaving" in data:
        return ParticipantLeaving(data["room"], data["leaving"])
    if "kicked" in data:
        return ParticipantKicked(data["room"], data["kicked"])
    if "kicked_all" in data:
        return ParticipantKicked(data["room"], data["kicked_all"], all=True)
    if "muted" in data:
        return RoomMuted(data["room"], data["muted"])
    return Unfamiliar(data)


def encode_participant(participant: RoomParticipant) -> dict[str, Json]:
    """Return a participant as rooms list it."""
    members: dict[str, Json] = {"id": participant.id}
    if participant.display is not None:
        members["display"] = participant.display
    return members | {"setup": participant.setup, "muted": participant.muted}


def _encode_all(participants: Sequence[RoomParticipant]) -> list[Json]:
    return [encode_participant(participant) for participant in participants]


def _parse_all(listed: Sequence[Mapping[str, Json]]) -> tuple[RoomParticipant, ...]:
    return tuple(
        RoomParticipant(p["id"], p.get("display"), p.get("setup", False), p.get("muted", False))
        for p in listed
    )


def _encode_summary(room: RoomSummary) -> dict[str, Json]:
    return {
        "room": room.room,
        "description": room.description,
        "sampling_rate": room.sampling_rate,
        "spatial_audio": False,
        "pin_required": room.pin_required,
        "record": False,
        "muted": room.muted,
        "num_participants": room.num_participants,
    }


def _parse_summary(room: Mapping[str, Json]) -> RoomSummary:
    return RoomSummary(
        room["room"],
        room["description"],
        room["sampling_rate"],
        room["pin_required"],
        room["muted"],
        room["num_participants"],
    )
