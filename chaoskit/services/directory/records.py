"""An event in memory, and what is still to be done at the room nodes."""

import asyncio
from collections.abc import Iterable, Sequence

from chaoskit.services.directory.leases import HostLease, HostLoss, RoomHealth
from chaoskit.services.directory.store import Removal, Room
from chaoskit.wire.directory import EventRequest, EventState


class EventRecord:
    """One event. `told` is the state that is on disk and that everybody may know."""

    def __init__(
        self,
        *,
        request: EventRequest,
        room: Room,
        lease: HostLease,
        probe_failures: int,
        stage: Sequence[str] = (),
        loss: HostLoss | None = None,
    ) -> None:
        """Begin with what was just written, or what a restart found."""
        self.request = request
        self.room = room
        self.lease = lease
        self.stage = list(stage)
        self.loss = loss
        self.room_lock = asyncio.Lock()
        self._probe_failures = probe_failures
        self.health = RoomHealth(probe_failures)
        self.told = self.state()

    def state(self) -> EventState:
        """Return the state as it is in memory now."""
        there = self.room.phase.is_open
        return EventState(
            event=self.request.event,
            generation=self.room.generation,
            status="open" if there else "no_room",
            room=self.room.room if there else 0,
            node=self.room.node if there else "",
            account=self.room.account,
            host=self.lease.holder,
            stage=list(self.stage),
            opened_s=self.room.opened_s,
        )

    def enter(self, room: Room) -> None:
        """Make `room` the current one: whatever was lost before is answered by it."""
        self.room = room
        self.health = RoomHealth(self._probe_failures)
        self.loss = None

    def revoke_stage(self, now: float) -> list[Removal]:
        """Take back all grants; return who is to be removed from the current room."""
        revoked, self.stage = self.stage, []
        if not self.room.phase.current:
            return []
        return [
            Removal(
                event=self.request.event,
                node=self.room.node,
                room=self.room.room,
                identity=identity,
                since_s=now,
            )
            for identity in revoked
        ]


class RoomChores:
    """Speakers to be removed and rooms to be destroyed; both stay on the list until it is done."""

    def __init__(self, removals: Iterable[Removal], closing: Iterable[Room]) -> None:
        """Begin with what a restart found."""
        self._removals = {(r.room, r.identity): r for r in removals}
        self._closing = {room.room: room for room in closing}
        self.added = asyncio.Event()
        self.added.set()

    def remove(self, removals: Iterable[Removal]) -> None:
        """Add speakers who are to be removed."""
        self._removals |= {(r.room, r.identity): r for r in removals}
        self.added.set()

    def spare(self, event: str, identity: str) -> None:
        """Strike out the removals of one who is granted the stage again."""
        self._removals = {
            key: r
            for key, r in self._removals.items()
            if (r.event, r.identity) != (event, identity)
        }

    def close(self, room: Room) -> None:
        """Add a room that is to be destroyed."""
        self._closing[room.room] = room
        self.added.set()

    def removals(self) -> list[Removal]:
        """Return the removals that are to be done."""
        return list(self._removals.values())

    def closing(self) -> list[Room]:
        """Return the rooms that are to be destroyed."""
        return list(self._closing.values())

    def removed(self, removal: Removal) -> None:
        """Strike out a removal that is done."""
        self._removals.pop((removal.room, removal.identity), None)

    def closed(self, room: Room) -> None:
        """Strike out a room that is gone, and the removals from it."""
        self._closing.pop(room.room, None)
        self._removals = {k: r for k, r in self._removals.items() if r.room != room.room}
