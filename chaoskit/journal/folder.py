"""Run folders: where everything that belongs to one run lies, and who holds it.

`runs/<id>/` has:

- `lock`: whoever runs or heals the run holds a flock on it; engine and guardian share one open
  file, so the run is live as long as either is
- `plan.json`: the experiment as it was run
- `journal.jsonl`, `heal.jsonl`: what the engine did, and what the guardian or `heal` did after it
- `proxy.json`: where the run's fault proxy answers
- `directory.json`, `directory.sqlite`: the directory's configuration and its database
- `crowd/<shard>.json`, `facts-<shard>.jsonl`: the plan of a shard, and what it reports
- `ctl/<shard>.sock`, `ready/<service>.json`, `logs/<service>.log`: of its processes
- `result.json`, `timeline.md`: how it went
- `crash.txt`: the traceback of an error that nobody expected
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from chaoskit.errors import EnvironmentMissing, InvalidInput

SUBFOLDERS = ("crowd", "ctl", "ready", "logs")
_LONGEST_SOCKET_PATH = 100  # sockaddr_un holds 107 bytes and an end mark


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyAddress:
    """Where the run's fault proxy answers, for healing from another process.

    `ours`: it is a process of this run, so that its faults end with it at the latest.
    """

    url: str
    epoch: str
    ours: bool = True


class RunLock:
    """A held lock. It ends when every process that shares its open file has closed it or died."""

    def __init__(self, fd: int) -> None:
        """Take over the locked descriptor `fd`."""
        self.fd = fd

    def release(self) -> None:
        """Close this process's share; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run. `path` is absolute and, as made and found here, without symlinks.

    Processes of the run are marked with it, so one run must have one spelling.
    """

    path: Path

    @property
    def id(self) -> str:
        """The run's id: the folder's name."""
        return self.path.name

    @property
    def lock(self) -> Path:
        """The file whose flock says that the run is live."""
        return self.path / "lock"

    @property
    def journal(self) -> Path:
        """What the engine wrote."""
        return self.path / "journal.jsonl"

    @property
    def heal(self) -> Path:
        """What the guardian or `chaoskit heal` wrote."""
        return self.path / "heal.jsonl"

    @property
    def plan(self) -> Path:
        """The experiment as it was run."""
        return self.path / "plan.json"

    @property
    def result(self) -> Path:
        """The run's result, `chaoskit.run/v1`."""
        return self.path / "result.json"

    @property
    def timeline(self) -> Path:
        """The run as a page of Markdown."""
        return self.path / "timeline.md"

    def crowd_plan(self, shard: str) -> Path:
        """Return the plan of a crowd shard."""
        return self.path / "crowd" / f"{shard}.json"

    def facts(self, shard: str) -> Path:
        """Return the facts file of a crowd shard."""
        return self.path / f"facts-{shard}.jsonl"

    def ready(self, service: str) -> Path:
        """Return the file that a service writes when it serves."""
        return self.path / "ready" / f"{service}.json"

    def log(self, service: str) -> Path:
        """Return the log of a process of the run."""
        return self.path / "logs" / f"{service}.log"

    def control_socket(self, shard: str) -> Path:
        """Return the command socket of a shard by a path short enough for connect(2).

        Relative to the working directory where that is shorter. Raises EnvironmentMissing when even
        that is too long.
        """
        whole = self.path / "ctl" / f"{shard}.sock"
        near = Path(os.path.relpath(whole))
        shortest = min((whole, near), key=lambda path: len(os.fsencode(path)))
        if len(os.fsencode(shortest)) > _LONGEST_SOCKET_PATH:
            raise EnvironmentMissing(
                f"the path of a unix socket is too long for the kernel: {shortest}",
                hint="use a shorter --runs-dir",
            )
        return shortest

    def note_proxy(self, address: ProxyAddress) -> None:
        """Put the proxy's address on disk, before anything is injected there."""
        temporary = self.path / ".proxy.json"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(asdict(address), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / "proxy.json")

    def proxy(self) -> ProxyAddress | None:
        """Return the proxy's address, None when none was noted or the note cannot be read."""
        try:
            return ProxyAddress(**json.loads((self.path / "proxy.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def try_lock(self, *, patience_s: float = 0.2) -> RunLock | None:
        """Take the run's lock; None when the run is live.

        A look by `is_live` holds a shared lock for an instant, hence the patience.
        """
        fd = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    return None
                time.sleep(0.005)
            else:
                return RunLock(fd)

    def is_live(self) -> bool:
        """Return whether an engine, a guardian or a heal holds the run."""
        try:
            fd = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


def create_run(
    runs_dir: Path, *, new_id: Callable[[int], str] = secrets.token_hex
) -> tuple[RunFolder, RunLock]:
    """Make a run folder with a fresh id, hold its lock, point `latest` at it.

    `new_id(n)` returns 2n hex digits; ids grow when short ones run out. Raises EnvironmentMissing
    when the folder cannot be made.
    """
    runs_dir = runs_dir.resolve()
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        folder = _make_folder(runs_dir, new_id)
        for name in SUBFOLDERS:
            (folder.path / name).mkdir()
        lock = folder.try_lock(patience_s=2.0)
        _point_latest(runs_dir, folder.id)
    except OSError as error:
        raise EnvironmentMissing(
            f"cannot make a run folder in {runs_dir}: {error.strerror}",
            hint="name a folder that can be written with --runs-dir",
        ) from error
    if lock is None:
        raise EnvironmentMissing(f"another process holds the new run folder {folder.path}")
    return folder, lock


def _make_folder(runs_dir: Path, new_id: Callable[[int], str]) -> RunFolder:
    for attempt in range(64):
        path = runs_dir / new_id(2 + attempt // 8)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return RunFolder(path)
    raise EnvironmentMissing(f"no free run id in {runs_dir} after 64 tries")


def _point_latest(runs_dir: Path, run_id: str) -> None:
    # Two runs may start at once: each swaps in a link of its own name, the later one stays.
    temporary = runs_dir / f".latest-{run_id}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run_id)
    temporary.replace(runs_dir / "latest")


def run_folders(runs_dir: Path) -> Iterator[RunFolder]:
    """Yield the run folders in `runs_dir`, oldest first; none when it is not there.

    Raises InvalidInput when it is something else than a folder, or cannot be read.
    """
    try:
        entries = [entry for entry in os.scandir(runs_dir.resolve()) if _is_run(entry)]
    except FileNotFoundError:
        return
    except OSError as error:
        why = (
            "is a file, not a folder of runs"
            if isinstance(error, NotADirectoryError)
            else f"cannot be read: {error.strerror}"
        )
        raise InvalidInput(
            f"{runs_dir} {why}", hint="name the folder of the runs with --runs-dir"
        ) from error
    for entry in sorted(entries, key=lambda e: (_birth_s(e), e.name)):
        yield RunFolder(Path(entry.path))


def _is_run(entry: os.DirEntry[str]) -> bool:
    return (
        not entry.name.startswith(".")
        and entry.is_dir(follow_symlinks=False)
        and (Path(entry.path) / "lock").exists()
    )


def _birth_s(entry: os.DirEntry[str]) -> float:
    # The lock is made with the folder and never written again.
    return (Path(entry.path) / "lock").stat().st_mtime


def find_run(runs_dir: Path, name: str) -> RunFolder:
    """Return the run called `name`: an id, `latest`, or a path to a run folder.

    Raises InvalidInput when there is none, naming the newest ones that are there.
    """
    for path in (runs_dir / name, Path(name)):
        resolved = path.resolve()
        if (resolved / "lock").exists():
            return RunFolder(resolved)
    known = [folder.id for folder in run_folders(runs_dir)][-5:]
    seen = f"there are {', '.join(reversed(known))}" if known else "there are none"
    raise InvalidInput(f"no run {name!r} in {runs_dir}; {seen}", hint="chaoskit list runs")


def child_environment(folder: RunFolder) -> Mapping[str, str]:
    """Return the variables that mark a process as one of this run; strays are found by them."""
    return {"CHAOSKIT_RUN": folder.id, "CHAOSKIT_RUN_FOLDER": os.fspath(folder.path)}
