"""The events: what each request does to them.

Memory rules and is changed at once, on the event loop; the write follows in order on one thread,
and only what is on disk is told (reply, poll, watch). So no two transitions interleave, and
whatever anybody was told survives a SIGKILL.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from chaoskit.services.directory import refusals
from chaoskit.services.directory.leases import HostLease, HostLoss, LeaseChange, LeaseRules
from chaoskit.services.directory.records import EventRecord, RoomChores
from chaoskit.services.directory.refusals import Refused
from chaoskit.services.directory.rooms_link import NodeError, RoomNodes, RoomTaken
from chaoskit.services.directory.store import Removal, Room, RoomPhase, Store
from chaoskit.services.directory.watch import WatchHub
from chaoskit.services.directory.work import QueueFull, WorkerPool
from chaoskit.wire.directory import (
    DirectoryConfig,
    EventRequest,
    EventState,
    JoinReply,
    LeaseReply,
    StageReply,
)
from chaoskit.wire.directory_codec import encode_message

log = logging.getLogger(__name__)

T = TypeVar("T")

NUMBERS_TO_TRY = 32
"""How many room numbers may be taken at a node (by a directory that lost its database) in a row."""


class Events:
    """All events of this directory. Methods raise Refused for what they do not do."""

    def __init__(
        self,
        config: DirectoryConfig,
        *,
        store: Store,
        nodes: RoomNodes,
        hub: WatchHub,
        pool: WorkerPool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take up what the store holds: every lease holder has one whole lease from now."""
        self.config = config
        self.rules = LeaseRules(
            lease_s=config.lease_s, standby=config.remedies.standby_host, grace_s=config.grace_s
        )
        self.now = clock
        self.counters = dict.fromkeys(
            ("join_attempts", "joined", "refused_no_room", "refused_busy"), 0
        )
        self.chores = RoomChores(store.load_removals(), store.load_closing())
        self._store = store
        self._nodes = nodes
        self._hub = hub
        self._pool = pool
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._creating: set[str] = set()
        self._records = {
            stored.request.event: EventRecord(
                request=stored.request,
                room=stored.room,
                lease=HostLease(
                    stored.request.candidates, self.rules, now=clock(), holder=stored.host
                ),
                probe_failures=config.probe_failures,
                stage=stored.stage,
                loss=HostLoss(identity=stored.lost_host, at_s=stored.lost_at_s)
                if stored.lost_host
                else None,
            )
            for stored in store.load_events()
        }

    def records(self) -> list[EventRecord]:
        """Return all events, for those who watch over them."""
        return list(self._records.values())

    def stop(self) -> None:
        """Let the writes that were asked for reach the disk, and take no more."""
        self._writer.shutdown(wait=True)

    async def write(self, change: Callable[[], T]) -> T:
        """Run one change of the store after all that were asked for before it."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, change)

    # --- where an event is -----------------------------------------------------------------------

    def state(self, event: str) -> EventState:
        """Return the state of an event as it was told last."""
        return self._record(event).told

    async def create(self, request: EventRequest) -> EventState:
        """Create an event with its first room."""
        event = request.event
        if event in self._records or event in self._creating:
            raise Refused(409, "event_exists", f"event {event!r} is there already")
        self._creating.add(event)
        try:
            room = await self._open_somewhere(
                event,
                generation=1,
                account=request.account,
                order=self._node_order(request.node, avoid=""),
            )
            await self.write(partial(self._store.add_event, request, room))
            record = EventRecord(
                request=request,
                room=room,
                lease=HostLease(request.candidates, self.rules, now=self.now()),
                probe_failures=self.config.probe_failures,
            )
            self._records[event] = record
        finally:
            self._creating.discard(event)
        log.info("event created: event=%s room=%d node=%s", event, room.room, room.node)
        return record.told

    async def fresh_room(self, event: str, *, account: str, node: str) -> EventState:
        """Open a fresh room as an operator wants it; the old one ends only if people are told."""
        record = self._record(event)
        order = self._node_order(node, avoid=record.room.node)
        ends = RoomPhase.CLOSING if self.config.remedies.redirect else RoomPhase.LEFT
        async with record.room_lock:
            return await self._follow(record, account=account, order=order, ends=ends)

    async def replace_room(self, record: EventRecord, reason: str) -> None:
        """Open a fresh room by itself, unless one was opened since the caller saw the need."""
        seen = record.room
        if record.room_lock.locked():
            return
        async with record.room_lock:
            if record.room.room != seen.room or not record.room.phase.current:
                return
            await self._follow(
                record,
                account=record.request.standby_account or seen.account,
                order=self._node_order("", avoid=seen.node),
                ends=RoomPhase.CLOSING,
            )
        log.info("fresh room by itself: event=%s reason=%s", record.request.event, reason)

    async def end_room(self, event: str) -> EventState:
        """End the current room; there is none until an operator opens one."""
        record = self._record(event)
        async with record.room_lock:
            if not record.room.phase.current:
                raise refusals.no_room(event)
            record.room = replace(record.room, phase=RoomPhase.CLOSING)
            await self._tell(
                record,
                partial(self._store.set_room_phase, record.room.room, RoomPhase.CLOSING),
            )
            self.chores.close(record.room)
        log.info("room ended: event=%s room=%d", event, record.room.room)
        return record.told

    async def judge_room(self, record: EventRecord, room: Room, found: bool) -> None:
        """Take the outcome of a probe of `room`; a room that is found again is open again."""
        if record.room.room != room.room or not record.room.phase.current:
            return
        lost = record.health.judge(found)
        phase = RoomPhase.OPEN if found else RoomPhase.LOST if lost else record.room.phase
        if phase is record.room.phase:
            return
        log.info("room %s: event=%s room=%d", phase, record.request.event, room.room)
        record.room = replace(record.room, phase=phase)
        await self._tell(record, partial(self._store.set_room_phase, room.room, phase))

    # --- who hosts and who speaks ----------------------------------------------------------------

    async def heartbeat(self, event: str, identity: str) -> LeaseReply:
        """Take the heartbeat of a candidate."""
        record = self._record(event)
        if not record.lease.is_candidate(identity):
            raise Refused(403, "not_a_candidate", f"{identity!r} may not hold the host lease")
        change = record.lease.heartbeat(identity, self.now())
        if change is not None:
            await self._lease_changed(record, change)
        return LeaseReply(
            holder=record.lease.holder == identity,
            lease_s=self.config.lease_s,
            generation=record.told.generation,
        )

    async def judge_lease(self, record: EventRecord) -> None:
        """Let a lease lapse whose time is over."""
        change = record.lease.judge(self.now())
        if change is not None:
            await self._lease_changed(record, change)

    async def _lease_changed(self, record: EventRecord, change: LeaseChange) -> None:
        event, now = record.request.event, self.now()
        if change.lapsed:
            record.loss = HostLoss(identity=change.lapsed, at_s=now)
        if record.loss is not None and record.loss.is_over(change.holder):
            record.loss = None
        note = partial(
            self._store.set_host,
            event,
            change.holder,
            lost_host=record.loss.identity if record.loss else "",
            lost_at_s=record.loss.at_s if record.loss else 0.0,
        )
        removals: list[Removal] = []
        if change.lapsed and not self.config.remedies.keep_stage_on_host_loss:
            removals = record.revoke_stage(now)
            note = partial(self._store.lapse, *note.args, **note.keywords, removals=removals)
        await self._tell(record, note)
        # Who was let on again while the revocation was being written stays.
        self.chores.remove(r for r in removals if r.identity not in record.stage)
        log.info(
            "host lease: event=%s holder=%s lapsed=%s revoked=%d",
            event, change.holder or "-", change.lapsed or "-", len(removals),
        )  # fmt: skip

    async def ask_stage(self, event: str, identity: str) -> StageReply:
        """Let a speaker on the stage while a live host holds the lease."""
        record = self._record(event)
        if identity not in record.request.speakers:
            return StageReply(granted=False, reason="not_a_speaker")
        await self.judge_lease(record)
        if identity not in record.stage:
            if not record.lease.holder:
                return StageReply(granted=False, reason="no_host")
            record.stage.append(identity)
            self.chores.spare(event, identity)
            await self._tell(record, partial(self._store.grant, event, identity, self.now()))
        return StageReply(granted=True)

    # --- who is there ----------------------------------------------------------------------------

    async def join(self, event: str, identity: str) -> JoinReply:
        """Send somebody to the room that is open when the work for it is done."""
        record = self._record(event)
        self.counters["join_attempts"] += 1
        try:
            if record.told.status != "open":
                raise refusals.no_room(event)
            reply = await self._pool.run(partial(self._admit, record, identity))
        except QueueFull:
            self.counters["refused_busy"] += 1
            raise Refused(503, "busy", "too many joins wait already") from None
        except Refused:
            self.counters["refused_no_room"] += 1
            raise
        self.counters["joined"] += 1
        return reply

    def _admit(self, record: EventRecord, identity: str) -> JoinReply:
        """Do the work of one join (on a worker thread)."""
        state = record.told
        if state.status != "open":
            raise refusals.no_room(state.event)
        token = secrets.token_urlsafe(16)
        self._store.join(state.event, identity, state.room, token, self.now())
        return JoinReply(
            event=state.event,
            generation=state.generation,
            room=state.room,
            node=state.node,
            token=token,
            stage=identity in state.stage,
        )

    async def leave(self, event: str, identity: str) -> None:
        """End a membership; a grant goes with it."""
        record = self._record(event)
        note = partial(self._store.leave, event, identity, self.now())
        if identity in record.stage:
            record.stage.remove(identity)
            await self._tell(record, note)
        else:
            await self.write(note)

    # --- how -------------------------------------------------------------------------------------

    def _record(self, event: str) -> EventRecord:
        record = self._records.get(event)
        if record is None:
            raise refusals.no_event(event)
        return record

    async def _tell(self, record: EventRecord, note: Callable[[], None]) -> None:
        """Write the change that `record` just went through, then tell everybody."""
        state = record.state()
        await self.write(note)
        record.told = state
        self._hub.publish(state.event, encode_message(state) + b"\n")

    async def _follow(
        self, record: EventRecord, *, account: str, order: Sequence[str], ends: RoomPhase
    ) -> EventState:
        """Open a room that follows the current one, which `ends` if it has not ended before."""
        room = await self._open_somewhere(
            record.request.event,
            generation=record.room.generation + 1,
            account=account,
            order=order,
        )
        before = record.room
        if before.phase.current:
            before = replace(before, phase=ends)
        record.enter(room)
        await self._tell(record, partial(self._store.switch_room, room, before.room, before.phase))
        if before.phase is RoomPhase.CLOSING:
            self.chores.close(before)
        log.info(
            "fresh room: event=%s generation=%d room=%d node=%s account=%s",
            room.event, room.generation, room.room, room.node, account,
        )  # fmt: skip
        return record.told

    async def _open_somewhere(
        self, event: str, *, generation: int, account: str, order: Sequence[str]
    ) -> Room:
        """Open a room on the first node of `order` that does it."""
        failures = []
        for node in order:
            try:
                return await self._open_at(node, event, generation=generation, account=account)
            except NodeError as error:
                failures.append(f"{node}: {error}")
        raise refusals.no_node("; ".join(failures))

    async def _open_at(self, node: str, event: str, *, generation: int, account: str) -> Room:
        """Open a room at `node`; each try has a number of its own. Raises NodeError."""
        for _ in range(NUMBERS_TO_TRY):
            room = await self.write(
                partial(
                    self._store.new_room,
                    event=event,
                    generation=generation,
                    node=node,
                    account=account,
                    opened_s=self.now(),
                )
            )
            try:
                await self._nodes.open_room(node, room.room, description=event)
            except RoomTaken:
                # Somebody else's room, so not ours to destroy.
                await self.write(partial(self._store.set_room_phase, room.room, RoomPhase.CLOSED))
                continue
            except NodeError:
                # It may be there all the same: an answer that came too late is no answer.
                await self.write(partial(self._store.set_room_phase, room.room, RoomPhase.CLOSING))
                self.chores.close(replace(room, phase=RoomPhase.CLOSING))
                raise
            return replace(room, phase=RoomPhase.OPEN, opened_s=self.now())
        raise NodeError(f"it has rooms of the next {NUMBERS_TO_TRY} numbers already")

    def _node_order(self, node: str, *, avoid: str) -> list[str]:
        """Return the nodes to try: `node` alone, or all, silent ones and `avoid` last."""
        names = [known.name for known in self.config.nodes]
        if node and node not in names:
            raise Refused(400, "unknown_node", f"there is no node {node!r}: {', '.join(names)}")
        if node:
            return [node]
        return sorted(names, key=lambda name: (self._nodes.silent(name), name == avoid))
