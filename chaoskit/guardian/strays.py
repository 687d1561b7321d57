"""Finds processes that a run left behind, by the mark in their environment, and ends them."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chaoskit.journal.folder import RunFolder

_MARK = b"CHAOSKIT_RUN_FOLDER="


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A process of a run. `folder`: the run folder that its environment names, without symlinks."""

    pid: int
    folder: Path
    command: str

    def __str__(self) -> str:
        """Return pid and command for a report."""
        return f"{self.pid} ({self.command})"


def find_strays(folder: Path | None = None) -> list[Stray]:
    """Return the living processes that are marked as of the run in `folder`, this one excepted.

    None: of every run whose lock nobody holds, its folder being there or not.
    """
    if folder is not None:
        place = folder.resolve()
        return [stray for stray in _marked() if stray.folder == place]
    live: dict[Path, bool] = {}
    strays = []
    for stray in _marked():
        if stray.folder not in live:
            live[stray.folder] = RunFolder(stray.folder).is_live()
        if not live[stray.folder]:
            strays.append(stray)
    return strays


def kill_strays(strays: list[Stray]) -> list[Stray]:
    """Kill them; return those that were killed. A pid that changed hands is left alone."""
    killed = []
    for stray in strays:
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(stray.pid)
            try:
                # The pidfd is open: from here on the pid cannot change hands.
                if _folder_of(stray.pid) == stray.folder:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    killed.append(stray)
            finally:
                os.close(pidfd)
    return killed


def _marked() -> Iterator[Stray]:
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        folder = _folder_of(int(entry.name))
        if folder is not None:
            yield Stray(pid=int(entry.name), folder=folder, command=_command_of(entry.name))


def _folder_of(pid: int) -> Path | None:
    """Return the run folder that a process of ours is marked with.

    A zombie has no environment left.
    """
    process = Path(f"/proc/{pid}")
    try:
        if process.stat().st_uid != os.geteuid():
            return None
        environment = (process / "environ").read_bytes()
    except OSError:
        return None
    for variable in environment.split(b"\0"):
        if variable.startswith(_MARK):
            return Path(os.fsdecode(variable.removeprefix(_MARK))).resolve()
    return None


def _command_of(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return "?"
    return " ".join(os.fsdecode(word) for word in words)[:80]
