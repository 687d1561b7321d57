"""The one door to a Toxiproxy-like server, embedded or real: implements `ports.ProxyControl`.

toxiproxy-python keeps host and port on a class and `asyncio.to_thread` would block the
interpreter's exit while a call hangs, so one daemon thread makes all calls of this process, one
after another, and nobody waits for it at the end.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Self, TypeVar

from chaoskit.drivers.toxiproxy_client import ToxiproxyClient, ToxiproxyError
from chaoskit.model import Json, LinkCounters, LinkSpec, LinkState, ProxyVersion, Toxic
from chaoskit.ports import ProxyControl

__all__ = ["ToxiproxyDriver", "ToxiproxyError"]

T = TypeVar("T")
CALL_S = 5.0
"""Limit of one HTTP exchange, seconds; a control call is up to three of them."""
PATIENCE_S = 3 * CALL_S + 1.0


class _Worker:
    """A daemon thread that runs calls in order."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="toxiproxy", daemon=True).start()

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Run `call` after those before it."""
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put(job)
        return future

    def _run(self) -> None:
        while True:
            self._jobs.get()()


class _Workshop:
    """The worker of this process; one that hangs for good is left behind and replaced."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None

    def worker(self) -> _Worker:
        """Return the worker, started on first use."""
        if self._worker is None:
            self._worker = _Worker()
        return self._worker

    def abandon(self, worker: _Worker) -> None:
        """Let `worker` be; the next call gets another one."""
        if self._worker is worker:
            self._worker = None


_WORKSHOP = _Workshop()


class ToxiproxyDriver:
    """One server. Every call is bounded, every change read back, every failure a ToxiproxyError."""

    def __init__(
        self,
        url: str,
        *,
        epoch: str | None = None,
        lease: str | None = None,
        token: str | None = None,
        call_s: float = CALL_S,
    ) -> None:
        """Know where the server is (`http://ip:port`); connect to nothing yet.

        `epoch`: of the run, refused once it is closed. `lease`: faults set here end when it lapses.
        Both mean something to the embedded server only. `token`: its bearer token, if it wants one.
        """
        self._client = ToxiproxyClient(url, epoch=epoch, lease=lease, token=token, timeout_s=call_s)
        self._patience_s = 3 * call_s + 1.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections; calls under way end by themselves."""
        self._client.close()

    async def _call(self, call: Callable[[], T]) -> T:
        worker = _WORKSHOP.worker()
        future = asyncio.wrap_future(worker.submit(call))
        try:
            async with asyncio.timeout(self._patience_s):
                return await future
        except TimeoutError:
            _WORKSHOP.abandon(worker)
            self._client.start_anew()
            raise ToxiproxyError(0, f"no end of an answer in {self._patience_s:.0f} s") from None

    async def version(self) -> ProxyVersion:
        """Return the server's version."""
        return await self._call(self._client.version)

    async def populate(self, links: Sequence[LinkSpec]) -> Mapping[str, LinkState]:
        """Create all links on ports of the server's choice; return their states by name."""
        return await self._call(lambda: self._client.populate(links))

    async def links(self) -> Mapping[str, LinkState]:
        """Return all links by name."""
        return await self._call(self._client.links)

    async def link(self, name: str) -> LinkState:
        """Return one link."""
        return await self._call(lambda: self._client.link(name))

    async def set_enabled(
        self, name: str, enabled: bool, *, ttl_s: float | None = None, reset: bool = False
    ) -> None:
        """Cut or restore a link. `reset`: live TCP connections end with RST instead of EOF."""
        await self._call(lambda: self._client.set_enabled(name, enabled, ttl_s=ttl_s, reset=reset))

    async def toxics(self, name: str) -> tuple[Toxic, ...]:
        """Return the toxics of a link."""
        return await self._call(lambda: self._client.toxics(name))

    async def add_toxic(self, name: str, toxic: Toxic, *, ttl_s: float | None = None) -> None:
        """Add `toxic` to link `name`."""
        await self._call(lambda: self._client.add_toxic(name, toxic, ttl_s=ttl_s))

    async def update_toxic(self, name: str, toxic: Toxic) -> None:
        """Change attributes and toxicity of a toxic that is there."""
        await self._call(lambda: self._client.update_toxic(name, toxic))

    async def remove_toxic(self, name: str, toxic_name: str) -> None:
        """Remove a toxic."""
        await self._call(lambda: self._client.remove_toxic(name, toxic_name))

    async def counters(self, name: str) -> LinkCounters:
        """Return live counters of a link."""
        return await self._call(lambda: self._client.counters(name))

    async def all_counters(self) -> Mapping[str, LinkCounters]:
        """Return live counters of all links by name."""
        return await self._call(self._client.all_counters)

    async def reset(self) -> None:
        """Enable all links and remove all toxics."""
        await self._call(self._client.reset)

    async def open_lease(self, ttl_s: float, holder: str) -> str:
        """Open a lease and return its id; later faults of this driver are set under it."""
        return await self._call(lambda: self._client.open_lease(ttl_s, holder))

    async def renew_lease(self, lease: str) -> None:
        """Let a lease live for its whole time from now on."""
        await self._call(lambda: self._client.renew_lease(lease))

    async def close_lease(self, lease: str) -> None:
        """End a lease; its faults are lifted."""
        await self._call(lambda: self._client.close_lease(lease))

    async def close_epoch(self, epoch: str) -> None:
        """Refuse later writes of a run's epoch."""
        await self._call(lambda: self._client.close_epoch(epoch))

    async def events(self, since: int) -> tuple[tuple[Mapping[str, Json], ...], int]:
        """Return the server's events from number `since` on, and the number to ask for next."""
        return await self._call(lambda: self._client.events(since))

    async def lag(self) -> Mapping[str, float]:
        """Return how late the server's loop was: `max_ms_1s`, `max_ms`."""
        return await self._call(self._client.lag)

    async def clock(self) -> float:
        """Return the server's CLOCK_MONOTONIC in seconds."""
        return await self._call(self._client.clock)


_: type[ProxyControl] = ToxiproxyDriver
