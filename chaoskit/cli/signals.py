"""Signals: the first stops a run, the second reports, the third leaves healing to the guardian."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import TypeVar

from chaoskit.cli.interrupted import Interrupted

T = TypeVar("T")

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Presses:
    """The signals that asked this process to stop, in order."""

    def __init__(self) -> None:
        """Begin without any."""
        self.seen: list[int] = []

    @property
    def first(self) -> int | None:
        """The signal that the exit code tells of; None when there was none."""
        return self.seen[0] if self.seen else None


async def guarded(
    body: Coroutine[object, object, T], presses: Presses, say: Callable[[str], None]
) -> T:
    """Run `body` to its end and return its result.

    Signal 1 cancels the body, whose own `finally` heals and takes the stack down; it may still
    return a result. Signal 2 only says so. Signal 3 ends this process at once: the guardian then
    heals and tears down by itself. `presses` is told of every signal.
    Raises Interrupted when a signal left no result.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(body)

    def on_signal(signum: int) -> None:
        presses.seen.append(signum)
        if len(presses.seen) == 1:
            task.cancel()
        elif len(presses.seen) == 2:
            say("Still healing; once more leaves it to the guardian (then: chaoskit heal)")
        else:
            say("Left to the guardian; chaoskit heal shows what became of it")
            os._exit(128 + signum)

    for signum in _STOPPING:
        loop.add_signal_handler(signum, on_signal, signum)
    try:
        return await task
    except asyncio.CancelledError:
        if presses.first is not None:
            raise Interrupted(presses.first) from None
        raise
    finally:
        for signum in _STOPPING:
            loop.remove_signal_handler(signum)
