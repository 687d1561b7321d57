"""Messages of the directory's HTTP API and its config file.

The OpenAPI file is services/directory/openapi.yaml; a test holds both against each other.

Routes under /v1 (`/health` and `/openapi.json` also without the prefix):
  POST   /events                          EventRequest → 201 EventState | 409 event_exists
                                            | 503 no_node
  GET    /events/{event}                  → 200 EventState
  GET    /events/{event}/watch            → 200 NDJSON stream: the state now, then one line a change
                                            and an empty line every 5 s
  POST   /events/{event}/join             JoinRequest → 200 JoinReply | 409 no_room | 503 busy
  POST   /events/{event}/leave            JoinRequest → 204
  PUT    /events/{event}/lease            LeaseRequest → 200 LeaseReply | 403 not_a_candidate
  POST   /events/{event}/stage            JoinRequest → 200 | 403 StageReply
  POST   /events/{event}/fresh-room       FreshRoomRequest → 201 EventState | 503 no_node (operator)
  POST   /events/{event}/end-room         → 200 EventState | 409 no_room                  (operator)
  GET    /health                          → 200 Health
  GET    /openapi.json
Errors: {"error": {"code": "no_room", "message": "…"}} with the HTTP status. Common to all: 400
bad_request, 404 no_event. Codecs: `chaoskit.wire.directory_codec`; this module needs no pydantic,
so that the core may name its types.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

EVENT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What an event may be called: it stands in URLs."""
PRINTABLE_NAME = r"^[!-~]{1,64}$"
"""What an identity, an account and a node may be called."""

_EVENT_NAME = re.compile(EVENT_NAME + r"(?!\n)")
_PRINTABLE_NAME = re.compile(PRINTABLE_NAME + r"(?!\n)")


def _check_names(field_name: str, names: Iterable[str]) -> None:
    for name in names:
        if not _PRINTABLE_NAME.match(name):
            raise ValueError(
                f"{field_name}: {name!r} is not 1 to 64 printable ASCII characters without spaces"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """A room node and the URL by which the directory reaches it, through its own link."""

    name: str
    signal_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """Switches of the directory. All off = as it happened.

    standby_host: the lease passes to the next live candidate when the holder is gone.
    auto_fresh_room: opens a fresh room by itself when the room is lost, or when the host is lost
    (`grace_s` after its lease lapsed, unless it has it again) and standby_host is on.
    redirect: pushes changes to watchers at once and ends the room that a fresh one follows; off:
    the watch stream carries no change (clients poll), and an operator's fresh room leaves the old
    one as it is.
    keep_stage_on_host_loss: grants outlive the host's lease.
    """

    standby_host: bool = False
    auto_fresh_room: bool = False
    redirect: bool = False
    keep_stage_on_host_loss: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryConfig:
    """Config file of the service (JSON). Times in seconds.

    `lease_s`: host lease; `grace_s`: after the lease lapsed, before an automatic fresh room;
    `probe_s`: period of the room health probe, `probe_failures` in a row make a room lost;
    `call_s`: limit of one call to a room node. `workers` threads work on joins, `queue_size` joins
    may wait for them; one more is refused. `database`: a path, relative to the working directory.
    """

    nodes: list[NodeConfig]
    remedies: Remedies = field(default_factory=Remedies)
    lease_s: float = 4.0
    grace_s: float = 0.0
    probe_s: float = 1.0
    probe_failures: int = 2
    database: str = "directory.sqlite"
    call_s: float = 1.0
    workers: int = 2
    queue_size: int = 1024

    def __post_init__(self) -> None:
        """Raise ValueError for what no directory can run with."""
        names = [node.name for node in self.nodes]
        if not names or len(set(names)) != len(names):
            raise ValueError("nodes: at least one, each name once")
        _check_names("nodes", names)
        for name in ("lease_s", "probe_s", "call_s", "probe_failures", "workers", "queue_size"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: must be above 0")
        if self.grace_s < 0:
            raise ValueError("grace_s: must not be below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRequest:
    """Create an event with its first room.

    `candidates`: identities that may hold the host lease, in order. `speakers`: identities that may
    ask for the stage. `account`: under which the first room runs.
    `standby_account`: used by an automatic fresh room, "" = the account of the room before.
    `node`: where, "" = the first healthy one.
    """

    event: str
    account: str
    candidates: list[str]
    speakers: list[str]
    standby_account: str = ""
    node: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for names that cannot be used."""
        if not _EVENT_NAME.match(self.event):
            raise ValueError(f"event: {self.event!r} does not match {EVENT_NAME}")
        _check_names("account", [self.account])
        _check_names("candidates", self.candidates)
        _check_names("speakers", self.speakers)
        _check_names("standby_account", filter(None, [self.standby_account]))
        _check_names("node", filter(None, [self.node]))
        if len(set(self.candidates)) != len(self.candidates):
            raise ValueError("candidates: each identity once")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """Where an event is now. `status`: open | no_room. `generation` grows with every fresh room.

    `room`, `node`: 0 and "" while there is no room. `account`, `opened_s` (monotonic stamp): of the
    room, or of the last one. `stage`: identities granted, oldest first; `host`: lease holder or "".
    """

    event: str
    generation: int
    status: str
    room: int
    node: str
    account: str
    host: str
    stage: list[str]
    opened_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """Who asks."""

    identity: str

    def __post_init__(self) -> None:
        """Raise ValueError for an identity that cannot be used."""
        _check_names("identity", [self.identity])


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReply:
    """Where to go, and whether the caller may speak there."""

    event: str
    generation: int
    room: int
    node: str
    token: str
    stage: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """Heartbeat of a candidate."""

    identity: str

    def __post_init__(self) -> None:
        """Raise ValueError for an identity that cannot be used."""
        _check_names("identity", [self.identity])


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseReply:
    """Whether the caller holds the lease now, for how long from now, and the room generation."""

    holder: bool
    lease_s: float
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReply:
    """Whether the caller may speak; `reason` when not: not_a_speaker | no_host."""

    granted: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshRoomRequest:
    """Open a fresh room under `account` on `node`.

    `node` "": a healthy one, other than the current if there is another.
    """

    account: str
    node: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for names that cannot be used."""
        _check_names("account", [self.account])
        _check_names("node", filter(None, [self.node]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The service is up. `nodes`: whether the last call to each answered.

    `counters`: since the process started: join_attempts, joined, refused_no_room, refused_busy,
    wasted (joins worked on whose caller had gone), waiting, waiting_peak, watchers.
    """

    status: str
    nodes: dict[str, bool]
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request was refused: a code to branch on and a message to read."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReply:
    """The body of every error."""

    error: Refusal
