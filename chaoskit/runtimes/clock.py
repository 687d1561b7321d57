"""Run time on this machine's monotonic clock."""

import asyncio
import time


class MonotonicClock:
    """Seconds since a run's origin (implements ports.Clock), alike in every process of a host."""

    def __init__(self, origin_s: float) -> None:
        """Count from the CLOCK_MONOTONIC stamp `origin_s`."""
        self.origin_s = origin_s

    def now(self) -> float:
        """Return run time in seconds."""
        return time.monotonic() - self.origin_s

    async def sleep_until(self, at_s: float) -> None:
        """Return at run time `at_s` or later; at once when it is past."""
        left_s = at_s - self.now()
        while left_s > 0:
            # The loop's timer may fire a hair early; nobody may wake before the time it asked for.
            await asyncio.sleep(left_s)
            left_s = at_s - self.now()

    def to_run(self, monotonic_s: float) -> float:
        """Return the run time of a monotonic stamp."""
        return monotonic_s - self.origin_s
