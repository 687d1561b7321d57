"""Run time that moves only when a test says so."""

import asyncio
import heapq
from collections.abc import Awaitable
from itertools import count
from typing import TypeVar

T = TypeVar("T")
_ROUNDS = 40
"""Rounds of the event loop after which everything that could run has run."""


class VirtualClock:
    """A Clock for tests. Monotonic stamps are run time plus `origin_s`."""

    def __init__(self, origin_s: float = 1000.0) -> None:
        self.origin_s = origin_s
        self._now = 0.0
        self._order = count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def to_run(self, monotonic_s: float) -> float:
        return monotonic_s - self.origin_s

    async def sleep_until(self, at_s: float) -> None:
        if at_s <= self._now:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (at_s, next(self._order), woken))
        await woken

    def stall(self, seconds: float) -> None:
        """Let `seconds` pass in which nobody got to run."""
        self._now += seconds

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: wake sleepers in order, and let each do what it does."""
        until_s = self._now + seconds
        await self._settle()
        while self._waiting and self._waiting[0][0] <= until_s:
            await self._wake_next()
        self._now = until_s
        await self._settle()

    async def finish(self, work: Awaitable[T], *, within_s: float = 1000.0) -> T:
        """Return what `work` returns, letting as much run time pass as it needs.

        Raises AssertionError when it waits for something else than this clock, or for too long.
        """
        task = asyncio.ensure_future(work)
        limit_s = self._now + within_s
        await self._settle()
        while not task.done():
            while self._waiting and self._waiting[0][2].done():
                heapq.heappop(self._waiting)
            assert self._waiting, "waits for something that is not the clock"
            assert self._waiting[0][0] <= limit_s, f"still waiting at {self._now:g} s"
            await self._wake_next()
        return task.result()

    async def _wake_next(self) -> None:
        at_s, _, woken = heapq.heappop(self._waiting)
        if woken.done():
            return
        self._now = max(self._now, at_s)
        woken.set_result(None)
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
