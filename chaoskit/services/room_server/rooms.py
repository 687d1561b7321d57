"""Rooms, their members, the handles that members sit on, and how a room is told its news."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from chaoskit.services.room_server.legs import RoomMix, RtpClock
from chaoskit.services.room_server.media import OpenLeg
from chaoskit.services.room_server.sessions import Handle, encode_announcement
from chaoskit.wire import audiobridge as ask
from chaoskit.wire import audiobridge_answers as tell
from chaoskit.wire.janus_api import dumps

Kind = Literal["joined", "changed", "leaving"]


@dataclass(slots=True, eq=False)
class Member:
    """One participant in a room; `since` is the number of the news that it joined."""

    id: int
    room: "Room"
    seat: "Seat"
    display: str | None
    muted: bool
    admin: bool
    since: int = 0
    up: bool = False
    opened: OpenLeg | None = None

    def listed(self) -> tell.RoomParticipant:
        """Return the participant as rooms list it."""
        return tell.RoomParticipant(self.id, self.display, self.up, self.muted)

    def set_muted(self, muted: bool) -> None:
        """Mute or unmute."""
        self.muted = muted
        if self.opened is not None:
            self.opened.leg.set_muted(muted)


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


@dataclass(frozen=True, slots=True)
class _News:
    number: int
    kind: Kind
    about: Member
    text: str


@dataclass(slots=True, eq=False)
class Room:
    """One room and the participants in it, by id.

    Who comes, changes and goes is news: told to all others, and not at once, for `on_news` has it
    told a little later. A thousand joins would otherwise be a million messages; so those of a few
    milliseconds share the `participants` of one. Everybody is told what happened after it came, in
    order, and nothing about itself. Anything else is told at once, after the news.
    """

    id: int
    description: str
    settings: ask.Create
    media: RoomMix
    on_news: Callable[[Callable[[], None]], object]
    """Given `tell_news` when there is some; has to call it soon."""
    members: dict[int, Member] = field(default_factory=dict)
    _news: list[_News] = field(default_factory=list)
    _count: int = 0

    def announce(self, kind: Kind, member: Member) -> None:
        """Add news about `member`."""
        listed = str(member.id) if kind == "leaving" else dumps(_encode(member))
        self._count += 1
        if kind == "joined":
            member.since = self._count
        self._news.append(_News(self._count, kind, member, listed))
        if len(self._news) == 1:
            self.on_news(self.tell_news)

    def tell_news(self) -> None:
        """Tell what is new."""
        news, self._news = self._news, []
        if not news:
            return
        first = news[0].number
        concerned = {item.about for item in news}
        for_most = self._texts(news)
        for member in self.members.values():
            if member.since < first and member not in concerned:
                member.seat.handle.announce(for_most)
            else:
                own = [n for n in news if n.number > member.since and n.about is not member]
                member.seat.handle.announce(self._texts(own))

    def tell(self, announcement: tell.BridgeAnnouncement) -> None:
        """Tell all members something at once."""
        self.tell_news()
        text = encode_announcement(announcement)
        for member in self.members.values():
            member.seat.handle.announce([text])

    def _texts(self, news: Iterable[_News]) -> list[str]:
        texts = []
        for kind, items in groupby(news, key=lambda item: item.kind):
            if kind == "leaving":
                texts += [
                    f'{{"audiobridge":"event","room":{self.id},"leaving":{item.text}}}'
                    for item in items
                ]
            else:
                name = "joined" if kind == "joined" else "event"
                listed = ",".join(item.text for item in items)
                texts.append(
                    f'{{"audiobridge":"{name}","room":{self.id},"participants":[{listed}]}}'
                )
        return texts


def _encode(member: Member) -> dict[str, object]:
    return tell.encode_participant(member.listed())
