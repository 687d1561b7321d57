"""What happened to links and their faults, numbered, for clients that ask now and then."""

from collections import deque
from collections.abc import Callable
from typing import Any

KEPT = 10_000
"""Events kept; older ones are gone and their numbers are missing in an answer."""


class EventLog:
    """Numbered events with CLOCK_MONOTONIC stamps."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` stamps the events."""
        self._now = now
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._next = 0

    def add(
        self,
        kind: str,
        *,
        link: str | None = None,
        toxic: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Append an event."""
        self._events.append(
            {
                "n": self._next,
                "at_s": self._now(),
                "kind": kind,
                "link": link,
                "toxic": toxic,
                "detail": detail,
            }
        )
        self._next += 1

    def since(self, number: int) -> dict[str, Any]:
        """Return the events with `n` >= `number`, and the number to ask for next."""
        return {
            "events": [event for event in self._events if event["n"] >= number],
            "next": self._next,
        }
