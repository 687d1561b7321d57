"""The `local` runtime: the services of a stack as child processes of the guardian."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from chaoskit.errors import AdapterError, EnvironmentMissing
from chaoskit.model import HealthProbe, ServiceSpec, ServiceStatus
from chaoskit.runtimes import plain_http
from chaoskit.runtimes.logs import last_lines
from chaoskit.runtimes.ports import LOOPBACK, PortBlock, require_free
from chaoskit.wire.guardian import Exited, Stopped

POLL_S = 0.010
START_S = 20.0
"""A service is up after a second on an idle machine; a busy one may take much longer."""
_PROBE_S = 0.5
_DEATH_S = 2.0
_EFFECT_S = 1.0
_ENDING = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT})
_PLACEHOLDER = re.compile(r"\{(python|name|ready|port)(?::([\w-]+))?\}")


class Spawner(Protocol):
    """Who starts and holds processes: the guardian, through its client."""

    async def spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> ServiceStatus:
        """Start a process in the run folder. Raises AdapterError."""

    async def signal(self, name: str, signum: int) -> None:
        """Send a signal by pidfd. Raises AdapterError."""

    async def status(self, name: str) -> ServiceStatus:
        """Return what the kernel says. Raises AdapterError."""

    async def shutdown(self, waves: Sequence[Sequence[str]], *, grace_s: float) -> Stopped:
        """Stop everything in waves. Raises AdapterError."""

    def on_exit(self, listener: Callable[[Exited], None]) -> None:
        """Call `listener` for every process that ends."""


ExitListener = Callable[[str, int, bool, float], None]
"""Gets service, exit (status or minus the signal), whether somebody asked for it, and when it ended
(monotonic seconds, the guardian's stamp)."""


@dataclass(slots=True)
class _Service:
    spec: ServiceSpec
    ports: Mapping[str, int]
    argv: tuple[str, ...]
    pid: int = 0
    exit: int | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    asked_to_end: bool = False


class LocalRuntime:
    """Starts services in parallel, knows when they serve, restarts them where they were.

    Implements ports.ServiceControl. Services may be added while others run. Nothing here outlives
    the guardian that `spawner` talks to.
    """

    def __init__(self, folder: Path, spawner: Spawner, block: PortBlock) -> None:
        """Run services in `folder` (ready/ and logs/ are there) on ports of `block`."""
        self._folder = folder
        self._spawner = spawner
        self._block = block
        self._services: dict[str, _Service] = {}
        self._by_pid: dict[int, _Service] = {}
        self._exits: dict[int, Exited] = {}
        self._waves: list[list[str]] = []
        self._listeners: list[ExitListener] = []
        self._stopping = False
        spawner.on_exit(self._exited)

    def on_exit(self, listener: ExitListener) -> None:
        """Call `listener` for every service that ends from now on."""
        self._listeners.append(listener)

    def prepare(self, specs: Sequence[ServiceSpec]) -> None:
        """Give every service its ports and command line, without starting it.

        Raises EnvironmentMissing when a fixed port is taken, ValueError for a placeholder or a
        dependency that is not there.
        """
        for spec in specs:
            if spec.name not in self._services:
                self._services[spec.name] = self._prepared(spec)
        for spec in specs:
            for needed in spec.depends:
                if needed not in self._services:
                    raise ValueError(f"{spec.name} depends on {needed}, which is no service")

    def _prepared(self, spec: ServiceSpec) -> _Service:
        for fixed in spec.ports.values():
            if fixed:
                require_free(fixed, spec.name)
        ports = {name: fixed or self._block.take() for name, fixed in spec.ports.items()}

        def fill(match: re.Match[str]) -> str:
            word, port = match.groups()
            if word == "port":
                if (port or "main") not in ports:
                    raise ValueError(f"{spec.name} has no port {port or 'main'}")
                return str(ports[port or "main"])
            return {"python": sys.executable, "name": spec.name}.get(word, _ready_name(spec.name))

        argv = tuple(_PLACEHOLDER.sub(fill, word) for word in spec.argv)
        return _Service(spec=spec, ports=ports, argv=argv)

    def port(self, service: str, name: str = "main") -> int:
        """Return a port of a prepared service. Raises KeyError."""
        return self._services[service].ports[name]

    def addresses(self) -> Mapping[tuple[str, str], str]:
        """Return `ip:port` by (service, port name), for `Stack.links`."""
        return {
            (service.spec.name, name): f"{LOOPBACK}:{port}"
            for service in self._services.values()
            for name, port in service.ports.items()
        }

    async def start(self, specs: Sequence[ServiceSpec], *, within_s: float = START_S) -> None:
        """Start services in parallel, each after those it depends on, and wait until all serve.

        Raises EnvironmentMissing for one that died, with its exit and last log lines, or that does
        not serve in time, with what was waited for. What was started stays: `stop` ends it.
        """
        self.prepare(specs)
        self._waves.append([spec.name for spec in specs])
        serving = {spec.name: asyncio.Event() for spec in specs}
        deadline_s = time.monotonic() + within_s

        async def bring_up(spec: ServiceSpec) -> None:
            for needed in spec.depends:
                if needed in serving:
                    await serving[needed].wait()
            await self._spawn(self._services[spec.name])
            await self._wait_serving(self._services[spec.name], deadline_s, within_s)
            serving[spec.name].set()

        await _all_or_first_error([bring_up(spec) for spec in specs])

    def services(self) -> tuple[str, ...]:
        """Return the names of all services."""
        return tuple(self._services)

    async def status(self, name: str) -> ServiceStatus:
        """Return what the kernel says of a service. Raises AdapterError."""
        return await self._spawner.status(name)

    async def signal(self, name: str, signum: int) -> None:
        """Send a signal by pidfd. Raises AdapterError for a service that is not there.

        SIGSTOP and SIGKILL take effect when the process is next scheduled: returns once the kernel
        shows it, or after a second, so that a read-back right away sees what was done.
        """
        service = self._service(name)
        if signum in _ENDING:
            service.asked_to_end = True
        await self._spawner.signal(name, signum)
        deadline_s = time.monotonic() + _EFFECT_S
        if signum == signal.SIGSTOP:
            while (await self._spawner.status(name)).state == "running":
                if time.monotonic() > deadline_s:
                    return
                await asyncio.sleep(POLL_S)
        elif signum == signal.SIGKILL:
            with suppress(AdapterError):
                await self.wait_exit(name, within_s=_EFFECT_S)

    async def restart(self, name: str, *, within_s: float = START_S) -> None:
        """Start a service that has exited, on its old ports, and wait until it serves.

        One that runs is left as it is. Raises AdapterError when it does not come back.
        """
        service = self._service(name)
        if service.asked_to_end:
            await self.wait_exit(name, within_s=_DEATH_S)
        try:
            if service.gone.is_set() or service.pid == 0:
                await self._spawn(service)
            await self._wait_serving(service, time.monotonic() + within_s, within_s)
        except EnvironmentMissing as error:
            raise AdapterError(error.message, hint=error.hint) from error

    async def wait_exit(self, name: str, *, within_s: float) -> int:
        """Return how a service ended. Raises AdapterError when it still runs after `within_s`."""
        service = self._service(name)
        if service.pid == 0:
            raise AdapterError(f"{name}: was never started")
        try:
            async with asyncio.timeout(within_s):
                await service.gone.wait()
        except TimeoutError:
            raise AdapterError(
                f"{name}: pid {service.pid} still runs after {within_s:g} s"
            ) from None
        assert service.exit is not None
        return service.exit

    async def stop(self, *, first: Sequence[str] = (), grace_s: float = 3.0) -> Stopped:
        """Stop `first`, then all others, those started last first; SIGKILL after `grace_s` each.

        Returns how each ended and which had to be killed. Raises AdapterError when the guardian is
        gone, and with it every service.
        """
        self._stopping = True
        rest = [[name for name in wave if name not in first] for wave in self._waves[::-1]]
        return await self._spawner.shutdown([list(first), *rest], grace_s=grace_s)

    def _service(self, name: str) -> _Service:
        try:
            return self._services[name]
        except KeyError:
            known = ", ".join(self._services)
            raise AdapterError(f"no service {name!r}; there are {known or 'none'}") from None

    def _exited(self, notice: Exited) -> None:
        # No pid is used twice in a run: the guardian keeps its dead.
        self._exits[notice.pid] = notice
        service = self._by_pid.get(notice.pid)
        if service is not None:
            self._end(service, notice)

    def _end(self, service: _Service, notice: Exited) -> None:
        service.exit = notice.exit
        service.gone.set()
        expected = self._stopping or service.asked_to_end
        for listener in self._listeners:
            listener(service.spec.name, notice.exit, expected, notice.at_s)

    async def _spawn(self, service: _Service) -> None:
        name = service.spec.name
        # One of a process before it, or of a run before a crash, would pass for this one's.
        (self._folder / _ready_name(name)).unlink(missing_ok=True)
        service.exit = None
        service.asked_to_end = False
        service.gone = asyncio.Event()
        try:
            status = await self._spawner.spawn(name, service.argv, service.spec.env)
        except AdapterError as error:
            raise EnvironmentMissing(error.message, hint=error.hint) from error
        service.pid = status.pid
        self._by_pid[status.pid] = service
        # It may have died before we knew its pid.
        if status.pid in self._exits:
            self._end(service, self._exits[status.pid])

    async def _wait_serving(self, service: _Service, deadline_s: float, within_s: float) -> None:
        waiting_for = "its ready file" if service.spec.ready else "its health"
        while time.monotonic() < deadline_s:
            if service.exit is not None:
                raise self._died(service)
            if service.spec.ready and not self._is_ready(service):
                waiting_for = "its ready file"
            else:
                waiting_for = await _unhealthy(service)
                if not waiting_for:
                    return
            await asyncio.sleep(POLL_S)
        raise await self._late(service, waiting_for, within_s)

    def _is_ready(self, service: _Service) -> bool:
        """A ready file counts when the process that we started wrote it."""
        try:
            ready = json.loads((self._folder / _ready_name(service.spec.name)).read_bytes())
            return bool(ready["pid"] == service.pid)
        except (OSError, ValueError, TypeError, KeyError):
            return False

    def _died(self, service: _Service) -> EnvironmentMissing:
        name = service.spec.name
        return EnvironmentMissing(
            f"{name} died while starting: {_ending(service.exit)}\n{self._last_lines(name)}",
            hint=f"the whole log is {self._folder / 'logs' / name}.log",
        )

    async def _late(
        self, service: _Service, waiting_for: str, within_s: float
    ) -> EnvironmentMissing:
        name = service.spec.name
        try:
            state = (await self._spawner.status(name)).state
        except AdapterError as error:
            state = error.message
        return EnvironmentMissing(
            f"{name} does not serve: waited {within_s:.0f} s for {waiting_for}; pid {service.pid}"
            f" was {state}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
            + self._last_lines(name),
            hint=f"on a busy machine try again; the whole log is logs/{name}.log of the run",
        )

    def _last_lines(self, name: str) -> str:
        return last_lines(self._folder / "logs" / f"{name}.log")


def _ready_name(service: str) -> str:
    return f"ready/{service}.json"


def _ending(exit_: int | None) -> str:
    if exit_ is None or exit_ >= 0:
        return f"exit {exit_}"
    return f"killed by {signal.Signals(-exit_).name}"


async def _unhealthy(service: _Service) -> str:
    """Return what is missing for the service to be healthy, "" when nothing is."""
    probe: HealthProbe = service.spec.health
    if probe.kind == "none":
        return ""
    address = f"{LOOPBACK}:{service.ports[probe.port]}"
    try:
        if probe.kind == "http":
            url = f"http://{address}{probe.path}"
            status, _ = await plain_http.request("GET", url, timeout_s=_PROBE_S)
            return "" if status == 200 else f"GET {url}, which answers {status}"
        async with asyncio.timeout(_PROBE_S):
            _, writer = await asyncio.open_connection(LOOPBACK, service.ports[probe.port])
            writer.close()
            await writer.wait_closed()
    except OSError as error:
        return f"{probe.kind} on {address} ({str(error) or type(error).__name__})"
    return ""


async def _all_or_first_error(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await all; when one fails, cancel the others and raise its error as it is."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
