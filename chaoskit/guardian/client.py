"""The engine's end: starts the guardian and has it start, signal and stop processes."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import chaoskit
from chaoskit.errors import AdapterError, EnvironmentMissing
from chaoskit.journal.folder import RunFolder, RunLock, child_environment
from chaoskit.model import ServiceStatus
from chaoskit.runtimes.logs import last_lines
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
    Stopped,
    decode_answer,
    encode_request,
)

_START_S = 10.0
_ANSWER_S = 10.0
_END_S = 10.0

ExitListener = Callable[[Exited], None]


class GuardianClient:
    """Requests to one guardian. Every method raises AdapterError when it is gone.

    `lost` is set when it went away unasked: its children are dead by then (the kernel kills them),
    and only the engine is left to report.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Talk to `process` over its channel; see `start_guardian`."""
        self._process = process
        self._writer = writer
        self._next_id = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._exit_listeners: list[ExitListener] = []
        self._lease_listeners: list[Callable[[LeaseTrouble], None]] = []
        self._living: dict[int, str] = {}
        self._dead: set[int] = set()
        self._ending = False
        self._closed = False
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()
        self._listener = asyncio.create_task(self._listen(reader))

    @property
    def pid(self) -> int:
        """The guardian's process id."""
        return self._process.pid

    def on_exit(self, listener: ExitListener) -> None:
        """Call `listener` for every process that ends from now on."""
        self._exit_listeners.append(listener)

    def on_lease_trouble(self, listener: Callable[[LeaseTrouble], None]) -> None:
        """Call `listener` when a lease cannot be renewed."""
        self._lease_listeners.append(listener)

    async def wait_ready(self) -> None:
        """Return when the guardian serves. Raises AdapterError when it dies first."""
        await self._ready

    async def spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> ServiceStatus:
        """Start a process in the run folder; its output goes to logs/<name>.log."""
        reply = await self._ask(Spawn(name=name, argv=list(argv), env=dict(env)))
        status = ServiceStatus(**reply)
        if status.pid not in self._dead:
            self._living[status.pid] = name
        return status

    async def signal(self, name: str, signum: int) -> None:
        """Send a signal by pidfd; one to a process that has ended does nothing."""
        await self._ask(Signal(name=name, signum=signum))

    async def status(self, name: str) -> ServiceStatus:
        """Return what the kernel says of a process."""
        return ServiceStatus(**await self._ask(Status(name=name)))

    async def keep_lease(self, url: str, lease: str, *, ttl_s: float) -> None:
        """Have a lease of the fault proxy at `url` renewed for as long as the guardian lives."""
        await self._ask(KeepLease(url=url, lease=lease, ttl_s=ttl_s))

    async def shutdown(self, waves: Sequence[Sequence[str]], *, grace_s: float) -> Stopped:
        """Stop all processes, wave by wave: SIGTERM, SIGKILL after `grace_s` each."""
        request = Shutdown(waves=[list(wave) for wave in waves], grace_s=grace_s)
        answer_s = (grace_s + 2.0) * (len(waves) + 1) + _ANSWER_S
        return Stopped(**await self._ask(request, answer_s))

    async def close(self) -> Stopped:
        """Say farewell: what still runs is stopped, nothing is healed, the guardian ends.

        Never raises: one that does not end is killed, and its children with it. A second call does
        nothing.
        """
        stopped = Stopped(exits={}, killed=[])
        if self._closed:
            return stopped
        self._ending = True
        try:
            stopped = Stopped(**await self._ask(Farewell(), _END_S))
        except AdapterError:
            pass
        finally:
            self._closed = True
            self._writer.close()
            await self._wait_end()
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        return stopped

    async def _wait_end(self) -> None:
        deadline = time.monotonic() + _END_S
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                self._process.kill()
            await asyncio.sleep(0.005)

    async def _ask(self, request: Request, within_s: float = _ANSWER_S) -> dict[str, Any]:
        if self._closed or self.lost.is_set():
            raise AdapterError(f"{request.cmd}: the guardian (pid {self.pid}) is gone")
        self._next_id += 1
        number = self._next_id
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(encode_request(number, request))
            async with asyncio.timeout(within_s):
                reply = await future
        except TimeoutError:
            raise AdapterError(
                f"{request.cmd}: no answer from the guardian (pid {self.pid}) in {within_s:g} s"
            ) from None
        finally:
            self._waiting.pop(number, None)
        if reply.error is not None:
            raise AdapterError(reply.error)
        return dict(reply.value)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._take(decode_answer(line))
        except ConnectionError:
            pass  # the same as the end of the stream
        finally:
            self._gone()

    def _take(self, answer: Reply | Notice) -> None:
        match answer:
            case Reply():
                future = self._waiting.get(answer.id)
                if future is not None and not future.done():
                    future.set_result(answer)
            case Exited():
                self._ended(answer)
            case LeaseTrouble():
                for on_trouble in self._lease_listeners:
                    on_trouble(answer)
            case Ready():
                self._ready.set_result(answer)
            case _:
                pass

    def _ended(self, notice: Exited) -> None:
        self._living.pop(notice.pid, None)
        self._dead.add(notice.pid)
        for listener in self._exit_listeners:
            listener(notice)

    def _gone(self) -> None:
        if not self._ending:
            self.lost.set()
            # Nobody is left to tell us, but the kernel kills what the guardian held.
            for pid, name in list(self._living.items()):
                now_s = time.monotonic()
                self._ended(Exited(name=name, pid=pid, exit=-signal.SIGKILL, at_s=now_s))
        error = AdapterError(f"the guardian (pid {self.pid}) is gone")
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._waiting.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen: nobody may be waiting for it


async def start_guardian(
    folder: RunFolder, lock: RunLock, *, hold: Sequence[int] = ()
) -> GuardianClient:
    """Fork the guardian of a run and return when it serves.

    It has a session of its own and outlives the caller; it shares the run's `lock` and the open
    files `hold` (the runtime's ports) from the first instant. Raises EnvironmentMissing with its
    last words when it does not come up.
    """
    if not hasattr(os, "pidfd_open"):
        raise EnvironmentMissing("this Python has no os.pidfd_open", hint="use Linux 5.4 or newer")
    ours, theirs = socket.socketpair()
    process = _fork(folder, theirs, (lock.fd, *hold))
    reader, writer = await asyncio.open_connection(sock=ours, limit=LONGEST_LINE)
    client = GuardianClient(process, reader, writer)
    try:
        async with asyncio.timeout(_START_S):
            await client.wait_ready()
    except BaseException as error:
        # Cancelled, too: a guardian that nobody holds would stay until we end.
        process.kill()
        await client.close()
        if not isinstance(error, TimeoutError | AdapterError):
            raise
        raise EnvironmentMissing(
            f"the guardian did not start: exit {process.returncode}\n"
            + last_lines(folder.log("guardian"))
        ) from error
    return client


def _fork(
    folder: RunFolder, control: socket.socket, hold: Sequence[int]
) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "chaoskit.guardian", "--folder", os.fspath(folder.path)]
    argv += ["--control", str(control.fileno())]
    for fd in hold:
        argv += ["--hold", str(fd)]
    try:
        with control, folder.log("guardian").open("ab") as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder.path,
                env={**os.environ, **child_environment(folder), "PYTHONPATH": _python_path()},
                pass_fds=(control.fileno(), *hold),
                start_new_session=True,
            )
    except OSError as error:
        raise EnvironmentMissing(f"cannot start the guardian: {error}") from error


def _python_path() -> str:
    """Return PYTHONPATH with this chaoskit in front: children run elsewhere than we do."""
    ours = os.fspath(Path(chaoskit.__file__).resolve().parents[1])
    theirs = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(part for part in (ours, theirs) if part)
