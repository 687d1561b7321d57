"""The watch streams: one broadcast to all who wait on an event, and keep-alives.

A change is encoded once and handed to every watcher: none costs a query or a timer of its own.
"""

import asyncio
import time

KEEP_ALIVE_S = 5.0
"""A watcher gets something at least this often, if only an empty line."""
TICK_S = 0.5
BACKLOG_LINES = 64
"""A watcher that does not take so many lines is dropped: it can come back and learn the state."""


class Watcher:
    """What one stream still has to send."""

    def __init__(self, event: str, first: bytes) -> None:
        """Begin with the line `first`."""
        self.event = event
        self._lines = [first]
        self._ready = asyncio.Event()
        self._ready.set()
        self._closed = False
        self._fed_s = time.monotonic()

    async def take(self) -> bytes:
        """Wait for lines and return all that there are, joined; b"" when the stream is to end."""
        await self._ready.wait()
        self._ready.clear()
        if self._closed:
            return b""
        lines, self._lines = self._lines, []
        return b"".join(lines)

    def feed(self, line: bytes, now: float) -> None:
        """Queue `line`, or end the stream when too many lie there already."""
        if len(self._lines) >= BACKLOG_LINES:
            self.close()
            return
        self._lines.append(line)
        self._fed_s = now
        self._ready.set()

    def keep_alive(self, now: float) -> None:
        """Queue an empty line when the next tick would be too late for it."""
        if now + TICK_S - self._fed_s > KEEP_ALIVE_S:
            self.feed(b"\n", now)

    def close(self) -> None:
        """End the stream."""
        self._closed = True
        self._ready.set()


class WatchHub:
    """All watchers. Used from one event loop."""

    def __init__(self, *, push: bool) -> None:
        """`push` off: watchers get the first line and keep-alives, but no change."""
        self._push = push
        self._watchers: dict[str, set[Watcher]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._watchers.values()))

    def open(self, event: str, first: bytes) -> Watcher:
        """Begin a stream whose first line is `first`."""
        watcher = Watcher(event, first)
        self._watchers.setdefault(event, set()).add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Forget a stream that ended."""
        self._watchers.get(watcher.event, set()).discard(watcher)

    def publish(self, event: str, line: bytes) -> None:
        """Hand `line` to everybody who watches `event`, if changes are pushed at all."""
        if not self._push:
            return
        now = time.monotonic()
        for watcher in self._watchers.get(event, ()):
            watcher.feed(line, now)

    async def keep_alive(self) -> None:
        """Send keep-alives until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for watchers in self._watchers.values():
                for watcher in watchers:
                    watcher.keep_alive(now)

    def close(self) -> None:
        """End all streams."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.close()
