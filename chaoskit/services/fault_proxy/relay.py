"""What all links of one relay process share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.services.fault_proxy.events import EventLog
from chaoskit.services.fault_proxy.poller import Poller
from chaoskit.services.fault_proxy.timeline import Timeline

QUEUE_BYTES = 32 * 1024 * 1024
"""Default bound of what one direction of one TCP connection holds: Toxiproxy's worst case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The loop that owns all state, its timers and pollers, the seed, and the event log."""

    loop: asyncio.AbstractEventLoop
    timeline: Timeline
    poller: Poller
    events: EventLog
    seed: int
    queue_bytes: int = QUEUE_BYTES
    dial_timeout_s: float = 10.0
    idle_flow_s: float = 60.0

    @classmethod
    def on(cls, loop: asyncio.AbstractEventLoop, *, seed: int) -> "Relay":
        """Return a relay on `loop`, which must run in this thread."""
        timeline = Timeline(loop.time, _wake_at(loop))
        return cls(
            loop=loop,
            timeline=timeline,
            poller=Poller(loop),
            events=EventLog(timeline.now),
            seed=seed,
        )


def _wake_at(
    loop: asyncio.AbstractEventLoop,
) -> Callable[[float, Callable[[], None]], asyncio.TimerHandle]:
    def wake_at(due_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return loop.call_at(due_s, callback)

    return wake_at
