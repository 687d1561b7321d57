"""Signals: the first stops a run, the second reports, the third leaves healing to the guardian."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """The body was stopped by a signal and has rolled back."""

    def __init__(self, signum: int) -> None:
        """Keep the first signal's number."""
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


async def guarded(body: Coroutine[object, object, T], say: Callable[[str], None]) -> T:
    """Run `body` to its end and return its result.

    Signal 1 cancels the body, whose own `finally` heals and takes the stack down. Signal 2 only
    says so. Signal 3 ends this process at once: the guardian then heals and tears down by itself.
    Raises Interrupted after a cancelled body has finished.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(body)
    seen: list[int] = []

    def on_signal(signum: int) -> None:
        seen.append(signum)
        if len(seen) == 1:
            task.cancel()
        elif len(seen) == 2:
            say("still healing; once more to leave it to the guardian, then: chaoskit heal")
        else:
            os._exit(128 + signum)

    for signum in _STOPPING:
        loop.add_signal_handler(signum, on_signal, signum)
    try:
        return await task
    except asyncio.CancelledError:
        if seen:
            raise Interrupted(seen[0]) from None
        raise
    finally:
        for signum in _STOPPING:
            loop.remove_signal_handler(signum)
