"""Appends events to a journal as they happen, on disk before it returns when it must be.

Format `chaoskit.journal/v1`: one JSON object a line; the first is the header, every other an event
with its number `seq`, from 1 without a gap. A file is only ever appended to; when a write fails the
torn line is cut off again, so that the next one starts on a line of its own.
"""

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import chaoskit
from chaoskit.errors import EnvironmentMissing
from chaoskit.journal.codec import encode, encode_event
from chaoskit.journal.redact import Redactor
from chaoskit.model import Event, Json

JOURNAL_FORMAT = "chaoskit.journal/v1"
HEAL_FORMAT = "chaoskit.heal/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHeader:
    """First line of a journal.

    `started_at`: RFC 3339, UTC. `started_s`, `origin_s`: CLOCK_MONOTONIC seconds of the start and
    of run time 0, valid on the boot `boot_id` alone. `argv`: the command line without its secrets.
    """

    run: str
    experiment: str
    digest: str
    seed: int
    started_at: str
    started_s: float
    origin_s: float
    boot_id: str
    version: str
    argv: tuple[str, ...]
    format: str = JOURNAL_FORMAT


def header(
    *,
    run: str,
    experiment: str,
    digest: str,
    seed: int,
    started_s: float,
    origin_s: float,
    argv: Sequence[str],
    environ: Mapping[str, str] | None = None,
) -> JournalHeader:
    """Return a header stamped with the wall clock, the boot and the version of chaoskit."""
    return JournalHeader(
        run=run,
        experiment=experiment,
        digest=digest,
        seed=seed,
        started_at=utc_now(),
        started_s=started_s,
        origin_s=origin_s,
        boot_id=boot_id(),
        version=chaoskit.__version__,
        argv=Redactor(environ).command_line(argv),
    )


def utc_now() -> str:
    """Return the wall clock as RFC 3339 with milliseconds and `Z`."""
    now = datetime.datetime.now(datetime.UTC)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def boot_id() -> str:
    """Return the kernel's id of this boot: monotonic stamps of another boot mean nothing here."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class JournalWriter:
    """The open journal of a run (implements ports.Journal).

    Raises EnvironmentMissing when the line cannot be written or synced: an effect whose undo is not
    on disk must not happen.
    """

    def __init__(self, path: Path, redactor: Redactor | None = None) -> None:
        """Open `path` for appending, making it when it is not there.

        `redactor`: takes secrets out of every line; by default those of the environment too.
        """
        self._path = path
        self._redactor = redactor or Redactor()
        self._seq = 0
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _cannot_write(path, error) from error

    @classmethod
    def create(
        cls, path: Path, first_line: JournalHeader, redactor: Redactor | None = None
    ) -> "JournalWriter":
        """Open a journal and put its header on disk, the folder's entry for it included."""
        writer = cls(path, redactor)
        writer.append_json(encode(first_line), durable=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return writer

    def append(self, event: Event, *, durable: bool = False) -> None:
        """Append `event`; when `durable`, return only after it is on disk (fsync)."""
        obj = {"seq": self._seq + 1, **encode_event(event)}
        self.append_json(obj, durable=durable)
        self._seq += 1

    def append_json(self, obj: Json, *, durable: bool = False) -> None:
        """Append one object as a line of its own."""
        text = json.dumps(
            self._redactor.json(obj), separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        # A lone surrogate (an undecodable file name in an error text) has no UTF-8 form.
        line = text.encode("utf-8", errors="replace") + b"\n"
        try:
            self._write(line)
            if durable:
                os.fsync(self._fd)
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._fd).st_size
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, size)
            raise

    def close(self) -> None:
        """Sync and close; a second call does nothing."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.fsync(fd)
        except OSError as error:
            raise _cannot_write(self._path, error) from error
        finally:
            os.close(fd)


def _cannot_write(path: Path, error: OSError) -> EnvironmentMissing:
    return EnvironmentMissing(
        f"cannot write the journal {path}: {error.strerror}",
        hint="free space or choose another place with --runs-dir",
    )
