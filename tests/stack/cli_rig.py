"""Starts the command line as a user would, strikes at a chosen moment, and looks what is left."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.journal.folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
SHORT = Path(__file__).parent / "data" / "short.yaml"
GONE_WITHIN_S = 10.0
_POLL_S = 0.01
_MARK = "CHAOSKIT_CLI_TEST"


def wait_until(why_not_yet: Callable[[], str | None], *, within_s: float) -> None:
    """Return once `why_not_yet` returns None; fail with its last answer after `within_s`."""
    deadline = time.monotonic() + within_s
    while (reason := why_not_yet()) is not None:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {reason}")
        time.sleep(_POLL_S)


@dataclass
class Command:
    """A `chaoskit` command under way, in a process group of its own."""

    process: "subprocess.Popen[bytes]"
    runs: Path
    out: Path
    err: Path
    mark: str

    def stdout(self) -> str:
        """Return what it printed so far."""
        return self.out.read_text()

    def stderr(self) -> str:
        """Return what it said so far."""
        return self.err.read_text()

    def folder(self) -> RunFolder:
        """Return its run folder, once there is one."""

        def why_not_yet() -> str | None:
            if self._folders():
                return None
            return self._ended() or f"no run folder in {self.runs}"

        wait_until(why_not_yet, within_s=20.0)
        return RunFolder(self._folders()[0])

    def _folders(self) -> list[Path]:
        found = self.runs.iterdir() if self.runs.exists() else ()
        return [path for path in found if path.is_dir() and not path.is_symlink()]

    def _ended(self) -> str | None:
        status = self.process.poll()
        if status is not None:
            raise AssertionError(f"it ended with {status}: {self.stderr()}{self.stdout()}")
        return None

    def journal(self) -> list[dict[str, Any]]:
        """Return the whole lines of its journal; [] before there is one."""
        try:
            lines = self.folder().journal.read_text().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_event(self, type_: str, *, within_s: float = 40.0, **values: object) -> None:
        """Return once the journal has an event of that type with these values."""

        def why_not_yet() -> str | None:
            lines = self.journal()
            for line in lines:
                if line.get("type") == type_ and values.items() <= line.items():
                    return None
            return self._ended() or f"no {type_} in {lines[-2:]}"

        wait_until(why_not_yet, within_s=within_s)

    def pid_of(self, service: str) -> int:
        """Return the pid that a service wrote into its ready file."""
        return int(json.loads(self.folder().ready(service).read_text())["pid"])

    def press(self, signum: int) -> None:
        """Send a signal to the command alone."""
        self.process.send_signal(signum)

    def finish(self, *, within_s: float = 60.0) -> int:
        """Wait for its end and return its exit code."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs: {self.stderr()}") from None

    def result(self) -> dict[str, Any]:
        """Return its result.json."""
        result: dict[str, Any] = json.loads(self.folder().result.read_text())
        return result

    def left(self) -> str | None:
        """Return which of its descendants still run, None: none does."""
        pids = [pid for pid in _marked(self.mark) if pid != self.process.pid]
        shown = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in pids]
        return f"still there: {dict(zip(pids, shown, strict=True))}" if pids else None

    def end(self) -> None:
        """Kill whatever a failed test left of it."""
        for pid in {self.process.pid, *_marked(self.mark)}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def _marked(mark: str) -> list[int]:
    """Return the living processes that inherited the mark; a zombie has no environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{_MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


@contextmanager
def chaoskit(
    *arguments: str,
    folder: Path,
    name: str = "chaoskit",
    env: Mapping[str, str] | None = None,
) -> Iterator[Command]:
    """Run `chaoskit` with `arguments`; run folders and output go to `folder`.

    name: of its output there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    out, err = folder / f"{name}.stdout", folder / f"{name}.stderr"
    mark = secrets.token_hex(8)
    environment = {**os.environ, _MARK: mark, "COLUMNS": "80"}
    environment["CHAOSKIT_RUNS"] = str(folder / "runs")
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "chaoskit", *arguments],
            cwd=ROOT,
            env={**environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    command = Command(process, folder / "runs", out, err, mark)
    try:
        yield command
    finally:
        command.end()
