"""The life of one participant: arrive, find the room, join, stay, come back, leave.

These are its product's rules, and nothing in chaoskit helps it (DESIGN §1). It learns that
something is gone the way a client does: the connection ends, an answer does not come, the room
server says so, the directory names another room, or no sound arrives for `media_timeout_s`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any

from chaoskit.model import Mic
from chaoskit.rooms.driver import (
    ConnectionLost,
    Kicked,
    RoomError,
    RoomEvent,
    RoomGone,
    RoomUnavailable,
    RoundTrip,
)
from chaoskit.services.crowd.directory_client import DirectoryClient
from chaoskit.services.crowd.ear_table import EarRow
from chaoskit.services.crowd.finding import Whereabouts, follow
from chaoskit.services.crowd.hops import Hop, HopFailed, Refused, why_lost
from chaoskit.services.crowd.mics import Microphone
from chaoskit.services.crowd.place import GOODBYE_S, Place, Surroundings, enter
from chaoskit.services.crowd.playout import slot_at
from chaoskit.services.crowd.reconnect import delay_s
from chaoskit.services.crowd.telling import Teller
from chaoskit.wire import identity
from chaoskit.wire.crowd import GroupPlan, ParticipantPlan

log = logging.getLogger(__name__)

_BUTTON_S = 2.0
_MEDIA_CHECKS = 5  # looks at the media clock within one media timeout


class Participant:
    """One participant, from before its arrival to after its leaving. Used from one event loop."""

    def __init__(
        self,
        plan: ParticipantPlan,
        group: GroupPlan,
        around: Surroundings,
        *,
        ear: EarRow,
        mic: Microphone | None,
    ) -> None:
        """`mic` is there when it speaks."""
        self.plan = plan
        self.mic = mic
        self._group = group
        self._around = around
        self._ear = ear
        self._muted = False
        self._attempts = 0
        self._tried = 0
        self._inbox: asyncio.Queue[RoomEvent | None] = asyncio.Queue()
        self._news = asyncio.Event()
        self._back = asyncio.Event()
        self._going = asyncio.Event()
        self._seeking: asyncio.Task[None] | None = None
        self._goodbye = ""
        self._place: Place | None = None
        self._hop = Hop("api", group.api_link)
        self._tell = Teller(plan.k, around.write)
        self._where = Whereabouts(identity.identity(plan.k), self._tell, self._on_news)
        self._directory: DirectoryClient | None = None
        self._closing: set[asyncio.Task[None]] = set()

    # --- what may be asked of it -----------------------------------------------------------------

    def depart(self, why: str) -> None:
        """Leave the room politely and stay away: for good by `end`, until `come_back` by
        `command`.
        """
        if self._goodbye in ("end", why):
            return
        self._goodbye = why
        if why == "end":
            self._back.set()  # one that is away has nothing to wait for any more
        else:
            self._back.clear()
        self._going.set()
        if self._seeking is not None:
            self._seeking.cancel()

    def come_back(self) -> None:
        """End a departure by command; one by the end of the plan is for good."""
        if self._goodbye == "command":
            self._back.set()

    async def set_muted(self, muted: bool) -> None:
        """Mute or unmute at the room server, now and in every later join."""
        self._muted = muted
        if self._place is not None and self._place.mic is not None:
            # A connection that is going down at this moment is noticed elsewhere.
            with contextlib.suppress(RoomError, RoomUnavailable, TimeoutError):
                async with asyncio.timeout(_BUTTON_S):
                    await self._place.client.configure(muted=muted)

    def set_mic(self, mic: Mic, until_slot: int) -> None:
        """Override the script of its microphone up to `until_slot`."""
        if self.mic is not None:
            self.mic.override(mic, until_slot)

    # --- its life --------------------------------------------------------------------------------

    async def live(self) -> None:
        """Live until it has left for good or gave up; cancelling it skips the goodbyes."""
        await asyncio.sleep(self._run_time(self.plan.arrive_s) - time.monotonic())
        if self._goodbye == "end":
            return
        self._directory = self._make_directory_client()
        try:
            async with asyncio.TaskGroup() as group:
                duties = [group.create_task(duty) for duty in self._duties(self._directory)]
                await self._come_and_go()
                for task in duties:
                    task.cancel()
        finally:
            if self._place is not None:
                await self._place.abandon()
            await asyncio.gather(*self._closing, return_exceptions=True)
            await self._directory.close()

    async def _come_and_go(self) -> None:
        why = "arrival"
        while True:
            if self._goodbye == "command":
                await self._back.wait()
                if self._goodbye == "command":
                    self._goodbye, why = "", "rejoin"
                    self._going.clear()
            if self._is_departing():
                return
            now_s = time.monotonic()
            self._ear.appear(slot_at(now_s, self._around.origin_s))
            self._seeking = asyncio.create_task(self._seek(why, now_s))
            try:
                await asyncio.wait([self._seeking])
            finally:
                self._seeking.cancel()
            if not self._is_departing():
                await self._seeking  # gave up: its ear stays, and hears nothing
                if self.plan.every_s is None:
                    return
                await self._going.wait()
            await self._take_leave()

    def _is_departing(self) -> bool:
        return self._goodbye != ""

    async def _take_leave(self) -> None:
        now_s = time.monotonic()
        self._ear.vanish(slot_at(now_s, self._around.origin_s) + 1)
        place, self._place = self._place, None
        self._tell.left(self._goodbye, at_s=now_s)
        if place is not None:
            place.silence()
            await asyncio.gather(place.leave(), self._say_goodbye())

    async def _say_goodbye(self) -> None:
        assert self._directory is not None
        with contextlib.suppress(HopFailed):
            await self._directory.leave(GOODBYE_S)

    def _duties(self, directory: DirectoryClient) -> list[Coroutine[Any, Any, None]]:
        duties: list[Coroutine[Any, Any, None]] = [
            follow(
                self._where,
                directory,
                self._group,
                seed=self._around.seed,
                participant=self.plan.k,
                tell=self._tell,
            )
        ]
        if self.plan.candidate:
            duties.append(self._beat(directory))
        if self.plan.leave_s is not None:
            duties.append(self._leave_at(self._run_time(self.plan.leave_s)))
        return duties

    async def _leave_at(self, at_s: float) -> None:
        """Leave as planned: for good, or to come again every `every_s`."""
        every_s, back_s = self.plan.every_s, self._run_time(self.plan.arrive_s)
        while every_s is not None:
            await asyncio.sleep(at_s - time.monotonic())
            self.depart("command")
            at_s, back_s = at_s + every_s, back_s + every_s
            await asyncio.sleep(back_s - time.monotonic())
            self.come_back()
        await asyncio.sleep(at_s - time.monotonic())
        self.depart("end")

    async def _beat(self, directory: DirectoryClient) -> None:
        """Send the heartbeat of a host candidate, in a room or not."""
        due_s = time.monotonic()
        while True:
            try:
                await directory.beat(2 * self._group.heartbeat_s)
            except HopFailed as failed:
                self._tell.failed(failed)
            except Refused as refused:
                self._tell.refused(refused)
            due_s = max(due_s + self._group.heartbeat_s, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())

    # --- in and out of rooms ---------------------------------------------------------------------

    async def _seek(self, why: str, now_s: float) -> None:
        """Join, stay, and join again by the reconnect rule; returns when it gives up.

        now_s: stamp of the first attempt, in whose slot the ear begins.
        """
        failures = 0
        while True:
            next_why = await self._attempt(why, now_s)
            if self._place is not None:
                failures = 0
                why = await self._stay(self._place)
            else:
                failures, why = failures + 1, next_why
            if why != "moved":
                wait_s = delay_s(
                    self._group,
                    seed=self._around.seed,
                    participant=self.plan.k,
                    attempt=self._attempts,
                    failures=failures,
                )
                if wait_s is None:
                    self._tell.left("gave_up")
                    return
                await self._pause(wait_s)
            now_s = time.monotonic()

    async def _pause(self, wait_s: float) -> None:
        """Wait, or less when a room is named that was not tried yet."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while self._where.generation <= self._tried:
                    self._news.clear()
                    await self._news.wait()

    async def _attempt(self, why: str, now_s: float) -> str:
        """Try once to get into the room; return why the next attempt is made if this one failed."""
        self._attempts += 1
        self._tell.attempt(self._attempts, why, now_s)
        self._tried = self._where.generation
        self._inbox = asyncio.Queue()  # what an earlier connection still says is of no interest
        self._hop = Hop("api", self._group.api_link)
        try:
            async with asyncio.timeout(self._group.join_timeout_s):
                await self._go_in()
        except TimeoutError:
            self._tell.failed(HopFailed(self._hop, "timeout"))
            return "failed"
        except HopFailed as failed:
            self._tell.failed(failed)
            return "failed"
        except Refused as refused:
            self._tell.refused(refused)
            return "rejected"
        return ""

    async def _go_in(self) -> None:
        assert self._directory is not None
        to = await self._directory.join()
        self._tell.looked_up(to)
        self._tried = max(self._tried, to.generation)
        self._where.learn_generation(to.generation, "join")
        if self.mic is not None:
            await self._ask_stage(self._directory, granted=to.stage)
        self._place = await enter(
            self._around,
            self._group,
            to,
            ear=self._ear,
            mic=self.mic,
            muted=self._muted,
            attempt=self._attempts,
            on_event=self._inbox.put_nowait,
            on_hop=self._set_hop,
        )

    async def _ask_stage(self, directory: DirectoryClient, *, granted: bool) -> None:
        """Get the right to speak, without which a speaker stays outside. Raises Refused."""
        reason = ""
        if not granted:
            if self.plan.candidate:
                # A host's client takes the lease before it asks for the stage that comes with it.
                await directory.beat(self._group.join_timeout_s)
            reply = await directory.ask_stage()
            granted, reason = reply.granted, reply.reason
        self._where.learn_stage(granted)
        if not granted:
            raise Refused("directory", 403, reason)

    async def _stay(self, place: Place) -> str:
        """Stay until something is gone; return why the next attempt is made: lost | moved."""
        moved = await self._until_lost(place)
        self._tell.left("moved" if moved else "lost")
        self._place = None
        place.silence()
        closing = asyncio.create_task(place.abandon(), name=f"abandon p{self.plan.k}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        if not moved:
            # The room knows this participant by its id: it must be out before it joins again.
            await asyncio.wait([closing])
        return "moved" if moved else "lost"

    async def _until_lost(self, place: Place) -> bool:
        """Wait until it notices that its place is gone; return whether for another room."""
        timeout_s = self._group.media_timeout_s
        check_s = None if timeout_s is None else timeout_s / _MEDIA_CHECKS
        lost = partial(self._tell.lost, room=place.room)
        while True:
            if self._where.generation > place.generation:
                lost(Hop("api", self._group.api_link), "moved")
                return True
            event: RoomEvent | None = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(check_s):
                    event = await self._inbox.get()
            match event:
                case Kicked(at_s=at_s):
                    lost(place.signal, "kicked", at_s=at_s)
                    return False
                case RoomGone(at_s=at_s):
                    lost(place.signal, "destroyed", at_s=at_s)
                    return False
                case ConnectionLost(at_s=at_s, reason=reason):
                    lost(place.signal, why_lost(reason), at_s=at_s)
                    return False
                case RoundTrip(at_s=at_s, rtt_s=rtt_s):
                    self._tell.round_trip(place.signal.link, rtt_s * 1e3, at_s=at_s)
                case _:
                    pass
            heard_s = max(place.flow.last_s or 0.0, place.joined_s)
            if timeout_s is not None and time.monotonic() - heard_s >= timeout_s:
                lost(place.media_hop, "timeout")
                return False

    # --- small things ----------------------------------------------------------------------------

    def _on_news(self) -> None:
        self._news.set()
        self._inbox.put_nowait(None)

    def _set_hop(self, hop: Hop) -> None:
        self._hop = hop

    def _make_directory_client(self) -> DirectoryClient:
        return DirectoryClient(
            base_url=self._group.api,
            link=self._group.api_link,
            event=self._around.event,
            identity=identity.identity(self.plan.k),
            source_ip=identity.source_address(self.plan.k),
            timeout_s=self._group.join_timeout_s,
            on_round_trip=self._tell.round_trip,
        )

    def _run_time(self, at_s: float) -> float:
        return self._around.origin_s + at_s
