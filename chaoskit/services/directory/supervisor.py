"""What the directory does unasked: lapses leases, probes rooms, opens fresh ones, tidies up nodes.

Each duty is a loop of its own, so that a node that does not answer delays nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from chaoskit.services.directory.events import Events
from chaoskit.services.directory.records import EventRecord
from chaoskit.services.directory.refusals import Refused
from chaoskit.services.directory.rooms_link import NodeError, RoomNodes
from chaoskit.services.directory.store import Removal, Room, RoomPhase, Store

log = logging.getLogger(__name__)

Chore = Callable[[], Coroutine[Any, Any, None]]

LEASE_TICK_S = 0.1
"""Leases are judged at least this often, and at every deadline."""
CHORE_AGE_S = 60.0
"""A removal or a destruction that a node did not take for so long is given up."""


class Supervisor:
    """Watches over all events of `events`."""

    def __init__(self, events: Events, *, store: Store, nodes: RoomNodes) -> None:
        """Do nothing yet: `run` does."""
        self._events = events
        self._store = store
        self._nodes = nodes
        self._remedies = events.config.remedies
        self._closing_since: dict[int, float] = {}
        self._replacing: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}

    async def run(self) -> None:
        """Do all duties until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for duty in (self._leases(), self._probes(), self._chores()):
                    group.create_task(duty)
        finally:
            for task in self._replacing.values():
                task.cancel()

    # --- leases ----------------------------------------------------------------------------------

    async def _leases(self) -> None:
        while True:
            wait_s = LEASE_TICK_S
            for record in self._events.records():
                await self._survive(self._events.judge_lease(record))
                self._replace_after_host_loss(record)
                deadline = record.lease.deadline()
                if deadline is not None:
                    wait_s = min(wait_s, deadline - self._events.now())
            await asyncio.sleep(max(wait_s, 0.001))

    def _replace_after_host_loss(self, record: EventRecord) -> None:
        if not self._remedies.auto_fresh_room or not record.room.phase.current:
            return
        holder, now = record.lease.holder, self._events.now()
        if record.loss and record.loss.calls_for_fresh_room(self._events.rules, holder, now):
            self._replace(record, "host lost")

    # --- rooms -----------------------------------------------------------------------------------

    async def _probes(self) -> None:
        probe_s = self._events.config.probe_s
        while True:
            began = self._events.now()
            await asyncio.gather(*(self._survive(self._probe(r)) for r in self._events.records()))
            await asyncio.sleep(max(probe_s - (self._events.now() - began), 0.0))

    async def _probe(self, record: EventRecord) -> None:
        room = record.room
        if not room.phase.current:
            return
        try:
            found = await self._nodes.has_room(room.node, room.room)
        except NodeError as error:
            log.info("no answer to a probe: node=%s room=%d: %s", room.node, room.room, error)
            found = False
        await self._events.judge_room(record, room, found)
        if self._remedies.auto_fresh_room and record.room.phase is RoomPhase.LOST:
            self._replace(record, "room lost")

    def _replace(self, record: EventRecord, reason: str) -> None:
        event, now = record.request.event, self._events.now()
        if event in self._replacing or now < self._not_before.get(event, now):
            return
        self._not_before[event] = now + self._events.config.probe_s
        task = asyncio.create_task(self._try_to_replace(record, reason))
        self._replacing[event] = task
        task.add_done_callback(lambda _: self._replacing.pop(event))

    async def _try_to_replace(self, record: EventRecord, reason: str) -> None:
        try:
            await self._survive(self._events.replace_room(record, reason))
        except Refused as refusal:
            log.info("no fresh room yet: event=%s: %s", record.request.event, refusal.message)

    # --- chores ----------------------------------------------------------------------------------

    async def _chores(self) -> None:
        chores = self._events.chores
        while True:
            chores.added.clear()
            by_node: dict[str, list[Chore]] = {}
            for removal in chores.removals():
                by_node.setdefault(removal.node, []).append(partial(self._remove, removal))
            for room in chores.closing():
                by_node.setdefault(room.node, []).append(partial(self._close, room))
            await asyncio.gather(*(self._in_turn(todo) for todo in by_node.values()))
            try:
                async with asyncio.timeout(self._events.config.probe_s):
                    await chores.added.wait()
            except TimeoutError:
                continue

    async def _in_turn(self, todo: list[Chore]) -> None:
        for chore in todo:
            await self._survive(chore())

    async def _remove(self, removal: Removal) -> None:
        try:
            kicked = await self._nodes.remove(removal.node, removal.room, removal.identity)
            log.info(
                "speaker removed: room=%d identity=%s was_there=%s",
                removal.room, removal.identity, kicked,
            )  # fmt: skip
        except NodeError as error:
            if self._events.now() - removal.since_s < CHORE_AGE_S:
                return
            log.warning("speaker not removed, given up: room=%d: %s", removal.room, error)
        await self._events.write(partial(self._store.removed, removal))
        self._events.chores.removed(removal)

    async def _close(self, room: Room) -> None:
        now = self._events.now()
        since_s = self._closing_since.setdefault(room.room, now)
        try:
            await self._nodes.close_room(room.node, room.room)
            log.info("room destroyed: room=%d node=%s", room.room, room.node)
        except NodeError as error:
            if now - since_s < CHORE_AGE_S:
                return
            log.warning("room not destroyed, given up: room=%d: %s", room.room, error)
        await self._events.write(partial(self._store.set_room_phase, room.room, RoomPhase.CLOSED))
        self._events.chores.closed(room)
        self._closing_since.pop(room.room, None)

    # --- how -------------------------------------------------------------------------------------

    async def _survive(self, duty: Coroutine[Any, Any, None]) -> None:
        """Await `duty`; what it did not expect is logged and must not end the other duties."""
        try:
            await duty
        except Refused:
            raise
        except Exception:
            log.exception("a duty failed")
