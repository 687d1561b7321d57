"""Rooms, their members, and what is known of the handles that members sit on."""

from dataclasses import dataclass, field

from chaoskit.services.room_server.legs import RoomMix, RtpClock
from chaoskit.services.room_server.media import OpenLeg
from chaoskit.services.room_server.sessions import Handle, encode_announcement
from chaoskit.wire import audiobridge as ask
from chaoskit.wire import audiobridge_answers as tell


@dataclass(slots=True, eq=False)
class Room:
    """One room and the participants in it, by id."""

    id: int
    description: str
    settings: ask.Create
    media: RoomMix
    members: dict[int, "Member"] = field(default_factory=dict)

    def tell(
        self,
        announcement: tell.BridgeAnnouncement,
        *,
        but: "Member | None" = None,
        soon: bool = False,
    ) -> None:
        """Announce something to all members except `but`."""
        encoded = encode_announcement(announcement)
        for member in self.members.values():
            if member is not but:
                member.seat.handle.announce(encoded, soon=soon)


@dataclass(slots=True, eq=False)
class Member:
    """One participant in a room."""

    id: int
    room: Room
    seat: "Seat"
    display: str | None
    muted: bool
    admin: bool
    up: bool = False
    opened: OpenLeg | None = None

    def listed(self) -> tell.RoomParticipant:
        """Return the participant as rooms list it."""
        return tell.RoomParticipant(self.id, self.display, self.up, self.muted)


@dataclass(slots=True, eq=False)
class Seat:
    """What the plugin knows of one handle.

    As in Janus 1.1.2 (measured): a handle that left and joins again goes on with its stream of
    packets at once, and a handle that was hung up can join again but never gets media.
    """

    handle: Handle
    member: Member | None = None
    hung_up: bool = False
    clock: RtpClock | None = None
