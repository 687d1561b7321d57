"""What engine and guardian say to each other: JSON lines over a socketpair.

Requests {"id", "cmd", …} are answered {"id", "ok": true, "value"} or {"id", "ok": false, "error"};
notices {"event", …} come unasked. For the guardian the end of the stream means that the engine is
gone.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Something the engine asks for."""

    cmd: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn(Request):
    """Start a process: its log is logs/<name>.log, `env` is added to the guardian's own.

    Answered with a `Process`. Refused while a process of that name lives.
    """

    cmd: ClassVar[str] = "spawn"
    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal(Request):
    """Send a signal to a process that lives."""

    cmd: ClassVar[str] = "signal"
    name: str
    signum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Request):
    """Ask what the kernel says of a process; answered with a `Process`."""

    cmd: ClassVar[str] = "status"
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepLease(Request):
    """Renew lease `lease` of the fault proxy at `url` every third of `ttl_s` from now on."""

    cmd: ClassVar[str] = "lease"
    url: str
    lease: str
    ttl_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown(Request):
    """Stop processes, wave by wave: SIGTERM, after `grace_s` SIGKILL. Answered with `Stopped`.

    Processes that no wave names come last.
    """

    cmd: ClassVar[str] = "shutdown"
    waves: list[list[str]]
    grace_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell(Request):
    """The run is over and healed: stop what is left, do not heal, and exit."""

    cmd: ClassVar[str] = "farewell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process as the kernel sees it. `state`: running | stopped | exited.

    `exit`: exit status, or minus the signal. `started_s`: monotonic seconds.
    """

    name: str
    pid: int
    state: str
    exit: int | None
    started_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How processes ended: exit status or minus the signal by name, and which had to be killed."""

    exits: dict[str, int]
    killed: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the guardian says unasked."""

    event: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Notice):
    """The guardian serves."""

    event: ClassVar[str] = "ready"
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited(Notice):
    """A process ended at `at_s` (monotonic); it stays a zombie, so its pid is not used again."""

    event: ClassVar[str] = "exited"
    name: str
    pid: int
    exit: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTrouble(Notice):
    """A lease could not be renewed; it is tried again."""

    event: ClassVar[str] = "lease_trouble"
    lease: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to request `id`: `value` when `error` is None."""

    id: int
    error: str | None = None
    value: Mapping[str, Any] = field(default_factory=dict)


_REQUESTS: dict[str, type[Request]] = {c.cmd: c for c in Request.__subclasses__()}
_NOTICES: dict[str, type[Notice]] = {c.event: c for c in Notice.__subclasses__()}


def encode_request(number: int, request: Request) -> bytes:
    """Return the line of a request."""
    return _line({"id": number, "cmd": request.cmd, **asdict(request)})


def decode_request(line: bytes) -> tuple[int, Request]:
    """Return number and request of a line. Raises ValueError."""
    try:
        obj = json.loads(line)
        return obj.pop("id"), _REQUESTS[obj.pop("cmd")](**obj)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a request: {line[:80]!r}") from error


def encode_answer(answer: Reply | Notice) -> bytes:
    """Return the line of a reply or a notice."""
    if isinstance(answer, Notice):
        return _line({"event": answer.event, **asdict(answer)})
    if answer.error is not None:
        return _line({"id": answer.id, "ok": False, "error": answer.error})
    return _line({"id": answer.id, "ok": True, "value": dict(answer.value)})


def decode_answer(line: bytes) -> Reply | Notice:
    """Return the reply or notice of a line. Raises ValueError."""
    try:
        obj = json.loads(line)
        if "event" in obj:
            return _NOTICES[obj.pop("event")](**obj)
        if obj["ok"]:
            return Reply(id=obj["id"], value=obj["value"])
        return Reply(id=obj["id"], error=obj["error"])
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not an answer: {line[:80]!r}") from error


def _line(obj: Mapping[str, Any]) -> bytes:
    return json.dumps(obj, separators=(",", ":")).encode() + b"\n"
