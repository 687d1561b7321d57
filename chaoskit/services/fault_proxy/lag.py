"""How late the relay's loop is: when it is late, so are datagrams, and the harness must know."""

import asyncio
from collections import deque

INTERVAL_S = 0.02
WINDOW_S = 1.0


class LagMeter:
    """Asks for a wake-up every 20 ms and keeps by how much each one was late."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start measuring on `loop`."""
        self._loop = loop
        self._recent: deque[tuple[float, float]] = deque()  # moment, lag in ms
        self._max_ms = 0.0
        self._due_s = loop.time() + INTERVAL_S
        self._timer = loop.call_at(self._due_s, self._tick)

    def stop(self) -> None:
        """Measure no more."""
        self._timer.cancel()

    def to_json(self) -> dict[str, float]:
        """Return the largest lag of the last second and of all time, milliseconds."""
        self._forget(self._loop.time())
        recent = max((lag_ms for _, lag_ms in self._recent), default=0.0)
        return {"max_ms_1s": round(recent, 3), "max_ms": round(self._max_ms, 3)}

    def _tick(self) -> None:
        now_s = self._loop.time()
        lag_ms = (now_s - self._due_s) * 1000.0
        self._max_ms = max(self._max_ms, lag_ms)
        self._recent.append((now_s, lag_ms))
        self._forget(now_s)
        self._due_s = now_s + INTERVAL_S
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def _forget(self, now_s: float) -> None:
        while self._recent and self._recent[0][0] < now_s - WINDOW_S:
            self._recent.popleft()
