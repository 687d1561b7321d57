"""The fixed worker pool through which joins go, and its bounded FIFO.

A job is a callable that runs on a worker thread; what it costs is its own affair. A job that was
taken is finished, whether or not its caller still waits.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class QueueFull(Exception):
    """The FIFO holds as many jobs as it may."""


class WorkerPool:
    """`workers` threads that take jobs in the order of their coming. Used from one event loop."""

    def __init__(self, *, workers: int, queue_size: int) -> None:
        """Start no thread yet; at most `queue_size` jobs wait while all workers are busy."""
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="work")
        self._workers = workers
        self._limit = workers + queue_size
        self._unfinished = 0
        self._waiting_peak = 0

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker now."""
        return max(0, self._unfinished - self._workers)

    @property
    def waiting_peak(self) -> int:
        """The most jobs that ever waited."""
        return self._waiting_peak

    async def run(self, job: Callable[[], T]) -> T:
        """Return what `job` returns, or raise what it raises.

        Raises QueueFull, without having taken the job, when there is no room in the FIFO.
        """
        if self._unfinished >= self._limit:
            raise QueueFull
        self._unfinished += 1
        done = asyncio.get_running_loop().run_in_executor(self._executor, job)
        done.add_done_callback(self._finished)
        self._waiting_peak = max(self._waiting_peak, self.waiting)
        # Shielded: a caller that is cancelled must not pull its job out of the FIFO.
        return await asyncio.shield(done)

    def stop(self) -> None:
        """Drop what waits and let the workers end after the jobs they are at."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _finished(self, done: asyncio.Future[T]) -> None:
        self._unfinished -= 1
        if not done.cancelled():
            done.exception()  # looked at: a caller that is gone leaves nobody to report to
