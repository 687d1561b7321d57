"""What the crowd and the observer ask of any room server, and what they hear back.

A driver connects; a session is one participant's signalling, from connect to close. Media is not
here: the caller owns the socket and only says where it listens. Everything that a server tells
without being asked arrives as a `RoomEvent` stamped with CLOCK_MONOTONIC.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from chaoskit.errors import AdapterError
from chaoskit.wire.audiobridge_answers import RoomParticipant

KEEPALIVE_S = 20.0
"""A third of the session timeout that Janus has by default."""
ANSWER_S = 5.0
"""How long an answer may take, keepalives included."""


class LossReason(StrEnum):
    """How a connection was lost, or why there was none."""

    REFUSED = "refused"
    """Nothing listens there, or the server turned the handshake down."""
    RESET = "reset"
    """The connection ended with RST."""
    EOF = "eof"
    """The connection ended in order (FIN, or a WebSocket close)."""
    TIMEOUT = "timeout"
    """No answer in time: the peer is there no more, or the path is dead."""
    EXPIRED = "expired"
    """The server ended the session because it had heard nothing for too long."""
    CLOSED = "closed"
    """We closed it ourselves."""


class RoomError(AdapterError):
    """The room server refused a request. `code` and `text` are its own."""

    def __init__(self, code: int, text: str) -> None:
        """Keep the server's code and text."""
        super().__init__(f"the room server refused: {text} ({code})")
        self.code = code
        self.text = text


class RoomUnavailable(AdapterError):
    """There is no connection to the room server, or an answer did not come in time."""

    def __init__(self, reason: LossReason, detail: str) -> None:
        """Keep the reason; `detail` says what was tried."""
        super().__init__(detail)
        self.reason = reason


# --- what servers tell ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Kicked:
    """This participant was removed by somebody; to return it must join anew."""

    at_s: float
    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomGone:
    """The room that this participant was in was destroyed."""

    at_s: float
    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MutedByRoom:
    """The room server muted or unmuted this participant, alone or with the whole room."""

    at_s: float
    room: int
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantEntered:
    """Another participant joined. Only sent to sessions that asked for presence."""

    at_s: float
    room: int
    participant: RoomParticipant


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantChanged:
    """Another participant's media came up, or it was muted, unmuted or renamed. Presence only."""

    at_s: float
    room: int
    participant: RoomParticipant


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantGone:
    """Another participant is no longer in the room. Presence only."""

    at_s: float
    room: int
    participant_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """A keepalive was answered after `rtt_s`."""

    at_s: float
    rtt_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost:
    """The signalling connection is gone; the session is of no use any more. Told once."""

    at_s: float
    reason: LossReason


RoomEvent = (
    Kicked | RoomGone | MutedByRoom | ParticipantEntered | ParticipantChanged | ParticipantGone
    | RoundTrip | ConnectionLost
)  # fmt: skip
OnEvent = Callable[[RoomEvent], None]
"""Takes an event in the event loop; must neither block nor raise."""


# --- what may be asked ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A place in a room: send RTP to `rtp_ip:rtp_port`; `participants` are the others."""

    room: int
    participant_id: int
    rtp_ip: str
    rtp_port: int
    participants: tuple[RoomParticipant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What a room server says it is."""

    name: str
    version: str


class RoomSession(Protocol):
    """One participant's signalling. All requests raise RoomError and RoomUnavailable."""

    async def server(self) -> ServerInfo:
        """Return what the server says it is."""

    async def create_room(self, room: int, *, description: str | None = None) -> None:
        """Create a room for plain RTP at 8 kHz."""

    async def exists(self, room: int) -> bool:
        """Return whether a room exists."""

    async def destroy_room(self, room: int) -> None:
        """Destroy a room and remove everybody from it."""

    async def join(
        self,
        room: int,
        participant_id: int,
        *,
        display: str,
        rtp_ip: str,
        rtp_port: int,
        muted: bool = False,
    ) -> Joined:
        """Enter a room; media will come to `rtp_ip:rtp_port` once RTP was sent from there."""

    async def configure(self, *, muted: bool) -> None:
        """Mute or unmute oneself."""

    async def leave(self) -> None:
        """Leave the room; the session stays."""

    async def participants(self, room: int) -> tuple[RoomParticipant, ...]:
        """Return who is in a room."""

    async def kick(self, room: int, participant_id: int) -> None:
        """Remove a participant."""

    async def set_muted(self, room: int, participant_id: int, muted: bool) -> None:
        """Mute or unmute a participant, whatever it wants itself."""

    async def close(self) -> None:
        """End the session, idempotently. A participant that is in a room leaves it."""


class RoomDriver(Protocol):
    """Connects to room servers of one kind."""

    async def connect(
        self,
        url: str,
        *,
        source_ip: str | None = None,
        timeout_s: float = ANSWER_S,
        on_event: OnEvent | None = None,
        presence: bool = False,
    ) -> RoomSession:
        """Return a session over a new connection from `source_ip`. Raises RoomUnavailable."""
