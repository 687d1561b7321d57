"""The guardian process: serves the engine, and takes over when the engine is gone."""

import asyncio
import functools
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from typing import Any

from chaoskit.errors import ChaosKitError
from chaoskit.guardian.children import Child, Children
from chaoskit.guardian.leases import keep_lease
from chaoskit.journal.folder import RunFolder
from chaoskit.model import ServiceStatus
from chaoskit.wire.guardian import (
    LONGEST_LINE,
    Exited,
    Farewell,
    KeepLease,
    LeaseTrouble,
    Notice,
    Ready,
    Reply,
    Request,
    Shutdown,
    Signal,
    Spawn,
    Status,
    decode_request,
    encode_answer,
)

# Within 10 s of the engine's death nothing may be left (DESIGN §5): these add up to less, and the
# alarm ends a guardian that hangs, whereupon the kernel kills its children.
_HEAL_S = 4.5
_GRACE_S = 1.0
_ALARM_S = 9
_FAREWELL = "the run is over"

log = logging.getLogger("guardian")


class Guardian:
    """Holds the processes of one run and talks to its engine."""

    def __init__(self, folder: RunFolder, control: socket.socket) -> None:
        """Serve the engine at the other end of `control`."""
        self._folder = folder
        self._control = control
        self._children = Children(folder, self._report_exit)
        self._writer: asyncio.StreamWriter | None = None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._farewell_id = 0

    async def serve(self) -> None:
        """Return when the run is over and nothing of it is left, whoever ended it."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, log.info, "ignored %s", signum.name)
        loop.add_signal_handler(signal.SIGTERM, self._finish, "the guardian was told to stop")
        reader, self._writer = await asyncio.open_connection(sock=self._control, limit=LONGEST_LINE)
        self._say(Ready(pid=os.getpid()))
        self._start(self._listen(reader))
        why = await self._over
        log.info("ending: %s", why)
        if why == _FAREWELL:
            stopped = await self._children.stop([], _GRACE_S)
            self._say(Reply(id=self._farewell_id, value=asdict(stopped)))
        else:
            await self._take_over(why)
        self._children.reap()
        self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._handle(line)
        except (ConnectionError, ValueError) as error:
            log.info("control channel: %s", error)
        self._finish("the engine is gone")

    def _finish(self, why: str) -> None:
        if not self._over.done():
            self._over.set_result(why)

    def _handle(self, line: bytes) -> None:
        number, request = decode_request(line)
        try:
            self._obey(number, request)
        except ChaosKitError as error:
            self._say(Reply(id=number, error=error.message))

    def _obey(self, number: int, request: Request) -> None:
        match request:
            case Spawn():
                child = self._children.spawn(request.name, request.argv, request.env)
                log.info("started %s pid=%d", child.name, child.pid)
                self._say(Reply(id=number, value=asdict(child.describe())))
            case Signal():
                self._children.child(request.name).send(request.signum)
                self._say(Reply(id=number))
            case Status():
                process = self._children.child(request.name).describe()
                self._say(Reply(id=number, value=asdict(process)))
            case KeepLease():
                trouble = functools.partial(self._report_lease, request.lease)
                self._start(keep_lease(request, trouble))
                self._say(Reply(id=number))
            case Shutdown():
                self._start(self._shut_down(number, request))
            case Farewell():
                self._farewell_id = number
                self._finish(_FAREWELL)
            case _:
                self._say(Reply(id=number, error=f"unknown request {request.cmd!r}"))

    async def _shut_down(self, number: int, request: Shutdown) -> None:
        stopped = await self._children.stop(request.waves, request.grace_s)
        self._say(Reply(id=number, value=asdict(stopped)))

    async def _take_over(self, why: str) -> None:
        # Imported now: a guardian has to start in no time, and most never come here.
        from chaoskit.guardian.takeover import take_over

        signal.alarm(_ALARM_S)
        # A stopped process answers nobody, and all of them are about to end.
        for child in self._children.living():
            child.send(signal.SIGCONT)
        try:
            report = await take_over(
                self._folder,
                by="guardian",
                why=why,
                services=OwnServices(self._children),
                stop=self._stop_everything,
                within_s=_HEAL_S,
            )
            log.info("done: %s", report)
        finally:
            await self._stop_everything()

    async def _stop_everything(self) -> Sequence[str]:
        return (await self._children.stop([], _GRACE_S)).killed

    def _report_lease(self, lease: str, why: str) -> None:
        log.warning("lease %s: %s", lease, why)
        self._say(LeaseTrouble(lease=lease, why=why))

    def _report_exit(self, child: Child) -> None:
        assert child.exit is not None
        log.info("ended %s pid=%d exit=%d", child.name, child.pid, child.exit)
        at_s = asyncio.get_running_loop().time()
        self._say(Exited(name=child.name, pid=child.pid, exit=child.exit, at_s=at_s))

    def _say(self, answer: Reply | Notice) -> None:
        # Never waits for the engine: it may be stopped, and what is said is little.
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode_answer(answer))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class OwnServices:
    """The guardian's children as the services of a run, for healing (implements ServiceControl)."""

    def __init__(self, children: Children) -> None:
        """Control `children`."""
        self._children = children

    def services(self) -> tuple[str, ...]:
        """Return the names of all services."""
        return self._children.names()

    async def status(self, name: str) -> ServiceStatus:
        """Return what the kernel says of a service. Raises AdapterError."""
        return ServiceStatus(**asdict(self._children.child(name).describe()))

    async def signal(self, name: str, signum: int) -> None:
        """Send a signal by pidfd. Raises AdapterError."""
        self._children.child(name).send(signum)

    async def restart(self, name: str) -> None:
        """Start a service that has exited; nobody waits for its health, it is about to end.

        Raises AdapterError.
        """
        child = self._children.child(name)
        if child.read_exit() is not None:
            self._children.spawn(name, child.argv, child.env)
