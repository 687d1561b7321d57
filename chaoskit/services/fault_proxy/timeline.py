"""The relay's clock and timers: one heap for all, one timer of the loop for the next one due."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Protocol


class Wakeup(Protocol):
    """A timer of the loop that can be cancelled."""

    def cancel(self) -> None:
        """Make sure that it does not fire."""


class Timer:
    """A callback that waits for its moment; `cancel` is idempotent."""

    __slots__ = ("_callback", "_timeline", "due_s")

    def __init__(self, due_s: float, callback: Callable[[], None], timeline: "Timeline") -> None:
        """Made by `Timeline.at` only."""
        self.due_s = due_s
        self._callback: Callable[[], None] | None = callback
        self._timeline = timeline

    @property
    def is_over(self) -> bool:
        """Whether it fired or was cancelled."""
        return self._callback is None

    def cancel(self) -> None:
        """Forget the callback; the heap entry is skipped when its moment comes."""
        if self._callback is not None:
            self._callback = None
            self._timeline.cancelled()

    def fire(self) -> None:
        """Run the callback once, unless it was cancelled."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timeline:
    """Calls back at or after given moments, never before; equal moments in the order of asking.

    All times are CLOCK_MONOTONIC seconds. A thousand held datagrams cost a heap entry each and one
    timer of the event loop together.
    """

    def __init__(
        self, now: Callable[[], float], wake_at: Callable[[float, Callable[[], None]], Wakeup]
    ) -> None:
        """`wake_at(moment, callback)` asks the loop for one wake-up (`loop.call_at`)."""
        self.now = now
        self._wake_at = wake_at
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0
        self._wakeup: Wakeup | None = None
        self._wakes_s = float("inf")

    def at(self, due_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` at `due_s` or as soon after it as the loop gets there."""
        timer = Timer(due_s, callback, self)
        heapq.heappush(self._heap, (due_s, next(self._order), timer))
        if due_s < self._wakes_s:
            self._arm(due_s)
        return timer

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in `delay_s` seconds."""
        return self.at(self.now() + delay_s, callback)

    def cancelled(self) -> None:
        """Take note of a cancelled timer; sweep them out once they are most of the heap."""
        self._cancelled += 1
        if self._cancelled > 1000 and 2 * self._cancelled > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].is_over]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def __len__(self) -> int:
        """Return how many timers are kept, cancelled ones included until they are swept out."""
        return len(self._heap)

    def _arm(self, due_s: float) -> None:
        if self._wakeup is not None:
            self._wakeup.cancel()
        self._wakes_s = due_s
        self._wakeup = self._wake_at(due_s, self._fire)

    def _fire(self) -> None:
        self._wakeup = None
        self._wakes_s = float("inf")
        now_s = self.now()
        try:
            while self._heap and self._heap[0][0] <= now_s:
                heapq.heappop(self._heap)[2].fire()
        finally:  # one callback that fails must not silence the others
            if self._heap and self._heap[0][0] < self._wakes_s:
                self._arm(self._heap[0][0])
