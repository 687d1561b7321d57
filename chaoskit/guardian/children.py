"""Processes that cannot outlive the guardian and whose pids are not used again while it lives.

Each child has a session of its own, dies by SIGKILL when the guardian's main thread dies, is held
by a pidfd and, once dead, stays a zombie until the very end: a signal can never hit a stranger.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from chaoskit.errors import AdapterError
from chaoskit.journal.folder import RunFolder, child_environment
from chaoskit.wire.guardian import Process, Stopped

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_KILL_WAIT_S = 2.0
_STATES = {b"T": "stopped", b"t": "stopped", b"Z": "exited", b"X": "exited"}


class Child:
    """One process. `exit` is None while it lives, then its exit status or minus the signal."""

    def __init__(self, name: str, argv: Sequence[str], env: dict[str, str], pid: int) -> None:
        """Hold process `pid`, which must be our child and not reaped."""
        self.name = name
        self.argv = tuple(argv)
        self.env = env
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.started_s = time.monotonic()
        self.exit: int | None = None
        self.gone = asyncio.Event()

    def read_exit(self) -> int | None:
        """Return how it ended without reaping it; None while it lives."""
        seen = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if seen is None:
            return None
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status

    def send(self, signum: int) -> None:
        """Send a signal; one to a process that has ended does nothing."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signum)

    def kill_group(self) -> None:
        """Kill it and whatever it started. The zombie holds the group's number: nobody else's."""
        self.send(signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def state(self) -> str:
        """Return running, stopped or exited, as /proc says."""
        if self.exit is not None:
            return "exited"
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return "exited"
        letter = stat.rpartition(b")")[2].split()[0]  # the name before it may hold anything
        return _STATES.get(letter, "running")

    def describe(self) -> Process:
        """Return the process for the wire."""
        exit_ = self.exit if self.exit is not None else self.read_exit()
        state = "exited" if exit_ is not None else self.state()
        return Process(
            name=self.name, pid=self.pid, state=state, exit=exit_, started_s=self.started_s
        )


class Children:
    """All processes of a run, the dead ones included."""

    def __init__(self, folder: RunFolder, on_exit: Callable[[Child], None]) -> None:
        """Spawn in `folder`; `on_exit` is called on the loop when a child has ended."""
        self._folder = folder
        self._on_exit = on_exit
        self._by_name: dict[str, Child] = {}
        self._all: list[Child] = []
        # A Popen that is collected reaps its process: they are kept to the end.
        self._popens: list[subprocess.Popen[bytes]] = []
        self.shutting_down = False

    def spawn(self, name: str, argv: Sequence[str], env: dict[str, str]) -> Child:
        """Start a process in the run folder. Raises AdapterError when it cannot be started."""
        old = self._by_name.get(name)
        if old is not None and old.exit is None:
            if old.read_exit() is None:
                raise AdapterError(f"{name}: already runs with pid {old.pid}")
            self._ended(old)  # so that nobody hears of its end after the start of its successor
        if self.shutting_down:
            raise AdapterError(f"{name}: not started, the run is being taken down")
        guardian = os.getpid()

        def die_with_the_guardian() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guardian:  # it died before the line above could see it
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with self._folder.log(name).open("ab") as log:
                popen = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder.path,
                    env={**os.environ, **env, **child_environment(self._folder)},
                    start_new_session=True,
                    preexec_fn=die_with_the_guardian,
                )
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise AdapterError(
                f"{name}: cannot start {argv[0] if argv else '?'}: {error}"
            ) from error
        self._popens.append(popen)
        child = Child(name, argv, env, popen.pid)
        self._by_name[name] = child
        self._all.append(child)
        asyncio.get_running_loop().add_reader(child.pidfd, self._ended, child)
        return child

    def _ended(self, child: Child) -> None:
        exit_ = child.read_exit()
        if exit_ is None:
            return
        asyncio.get_running_loop().remove_reader(child.pidfd)
        child.exit = exit_
        child.gone.set()
        self._on_exit(child)

    def child(self, name: str) -> Child:
        """Return the newest process of that name. Raises AdapterError when there was none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise AdapterError(f"{name}: no such process in this run") from None

    def names(self) -> tuple[str, ...]:
        """Return the names of all processes, in the order of their first start."""
        return tuple(self._by_name)

    def living(self) -> list[Child]:
        """Return the processes that have not ended."""
        return [child for child in self._all if child.exit is None]

    async def stop(self, waves: Iterable[Iterable[str]], grace_s: float) -> Stopped:
        """Stop everything, wave by wave; what no wave names comes last.

        A stopped process is continued after SIGTERM, so that it can end by itself.
        """
        self.shutting_down = True
        killed: list[str] = []
        named = [[self._by_name[n] for n in wave if n in self._by_name] for wave in waves]
        seen = {id(child) for wave in named for child in wave}
        for wave in (*named, [child for child in self._all if id(child) not in seen]):
            killed += await _stop_wave([child for child in wave if child.exit is None], grace_s)
        for child in self._all:
            child.kill_group()
        exits = {n: c.exit for n, c in self._by_name.items() if c.exit is not None}
        return Stopped(exits=exits, killed=killed)

    def reap(self) -> None:
        """Let go of all dead processes: from here on their pids may be used again."""
        for child, popen in zip(self._all, self._popens, strict=True):
            os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG)
            os.close(child.pidfd)
            popen.returncode = child.exit if child.exit is not None else 0


async def _stop_wave(wave: list[Child], grace_s: float) -> list[str]:
    for child in wave:
        child.send(signal.SIGTERM)
        child.send(signal.SIGCONT)
    await _wait_gone(wave, grace_s)
    late = [child for child in wave if child.exit is None]
    for child in late:
        child.kill_group()
    await _wait_gone(late, _KILL_WAIT_S)
    return [child.name for child in late]


async def _wait_gone(children: list[Child], within_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            for child in children:
                await child.gone.wait()
