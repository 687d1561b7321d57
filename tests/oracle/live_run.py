"""Starts the product as a user would, waits for what it shows, and strikes at a chosen moment."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.oracle.processes import MARK, Process, marked
from tests.oracle.recorded import Recorded

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "data"
FAKES = Path(__file__).parent / "fakes"
_POLL_S = 0.01


def wait_until(why_not_yet: Callable[[], str | None], *, within_s: float) -> None:
    """Return once `why_not_yet` returns None. Fails with its last answer after `within_s`."""
    deadline = time.monotonic() + within_s
    while (reason := why_not_yet()) is not None:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {reason}")
        time.sleep(_POLL_S)


@dataclass
class LiveRun:
    """One `chaoskit` command under way, in a session of its own. `mark` is in every descendant."""

    process: subprocess.Popen[bytes]
    runs: Path
    mark: str
    output: Path
    _folder: Path | None = field(default=None, init=False)

    # --- what it shows ---

    @property
    def folder(self) -> Path:
        """The run folder. Fails when there is none yet."""
        if self._folder is None:
            found = [p for p in self.runs.iterdir() if p.is_dir() and not p.is_symlink()]
            assert len(found) == 1, f"run folders in {self.runs}: {found}; {self.said()}"
            self._folder = found[0]
        return self._folder

    def said(self) -> str:
        """Return the end of what the command printed, for messages."""
        return f"chaoskit said:\n{self.output.read_text()[-3000:]}"

    def journal(self) -> list[dict[str, Any]]:
        """Return the journal so far; [] before there is one."""
        if self._folder is None and not any(p.is_dir() for p in self.runs.iterdir()):
            return []
        return list(_whole_lines(self.folder / "journal.jsonl"))

    def wait_for(self, event: str, *, within_s: float = 60.0, **values: object) -> dict[str, Any]:
        """Return the first journal line of type `event` with these values, once it is there."""
        found: list[dict[str, Any]] = []

        def why_not_yet() -> str | None:
            lines = self.journal()
            found[:] = [
                line
                for line in lines
                if line.get("type") == event and values.items() <= line.items()
            ]
            if found:
                return None
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the run ended with {self.process.returncode} before {event} {values};"
                    f" {self.said()}"
                )
            last = lines[-1] if lines else "nothing"
            return f"no {event} {values} in the journal; its last line: {last}; {self.said()}"

        wait_until(why_not_yet, within_s=within_s)
        return found[0]

    def pid_of(self, service: str) -> int:
        """Return the pid that a service wrote into its ready file."""
        ready = json.loads((self.folder / "ready" / f"{service}.json").read_text())
        return int(ready["pid"])

    def services(self) -> dict[str, dict[str, Any]]:
        """Return all ready files by service."""
        files = sorted((self.folder / "ready").glob("*.json"))
        return {file.stem: json.loads(file.read_text()) for file in files}

    def processes(self) -> list[Process]:
        """Return every living process of the command, itself included."""
        return marked(self.mark)

    # --- what is done to it ---

    @contextmanager
    def stopped(self, pid: int) -> Iterator[None]:
        """Hold a process with SIGSTOP for the length of the block."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def finish(self, *, within_s: float = 120.0) -> int:
        """Wait for the command's end and return its exit code."""

        def why_not_yet() -> str | None:
            ended = self.process.poll() is not None
            return None if ended else f"it still runs; {self.said()}"

        wait_until(why_not_yet, within_s=within_s)
        return self.process.returncode

    def recorded(self) -> Recorded:
        """Return what the run left in its folder."""
        return Recorded(self.folder)

    def end(self) -> None:
        """Kill whatever is left of it. Only for a test that failed half-way."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.process.wait()


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = file.read_text()
    except FileNotFoundError:
        return
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


@contextmanager
def chaoskit(
    *arguments: str, folder: Path, fakes: Mapping[str, str] | None = None
) -> Iterator[LiveRun]:
    """Run `chaoskit` with `arguments`; run folders and output go to `folder`.

    fakes: service → script in fakes/ that is started in its place, with the same arguments.
    """
    runs = folder / "runs"
    runs.mkdir(parents=True)
    mark = secrets.token_hex(8)
    environment = {**os.environ, MARK: mark, "NO_COLOR": "1", "COLUMNS": "160"}
    for service, script in (fakes or {}).items():
        name = f"CHAOSKIT_SERVICE_{service.upper().replace('-', '_')}"
        environment[name] = f"{sys.executable} {FAKES / script}"
    output = folder / "output.txt"
    command = [sys.executable, "-m", "chaoskit", *arguments, "--runs-dir", str(runs)]
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    run = LiveRun(process, runs, mark, output)
    try:
        yield run
    finally:
        run.end()
