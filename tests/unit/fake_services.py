"""Services without processes, as the kernel would report them."""

import signal

from chaoskit.errors import AdapterError
from chaoskit.model import ServiceStatus

_ENDING = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT}


class FakeServices:
    """Services by name. `deaf` True: signals are accepted and change nothing."""

    def __init__(self, *names: str, deaf: bool = False) -> None:
        self.deaf = deaf
        self.failing: set[str] = set()
        self.signals: list[tuple[str, int]] = []
        self._next_pid = 100
        self._status: dict[str, ServiceStatus] = {}
        for name in names:
            self._start(name)

    def services(self) -> tuple[str, ...]:
        return tuple(self._status)

    async def status(self, name: str) -> ServiceStatus:
        if name not in self._status:
            raise AdapterError(f"{name}: no such service")
        return self._status[name]

    async def signal(self, name: str, signum: int) -> None:
        status = await self.status(name)
        self.signals.append((name, signum))
        if self.deaf or status.state == "exited":
            return
        if signum in _ENDING:
            self._set(name, status.pid, "exited", -signum)
        elif signum == signal.SIGSTOP:
            self._set(name, status.pid, "stopped")
        elif signum == signal.SIGCONT:
            self._set(name, status.pid, "running")

    async def restart(self, name: str) -> None:
        if "restart" in self.failing:
            raise AdapterError(f"{name}: does not start")
        if (await self.status(name)).state == "exited":
            self._start(name)

    def _start(self, name: str) -> None:
        self._next_pid += 1
        self._set(name, self._next_pid, "running")

    def _set(self, name: str, pid: int, state: str, exit_: int | None = None) -> None:
        self._status[name] = ServiceStatus(name=name, pid=pid, state=state, exit=exit_)
