"""Messages of the directory's HTTP API (OpenAPI: services/directory/openapi.yaml) and its config file.

Routes under /v1:
  POST   /events                          EventRequest → 201 EventState
  GET    /events/{event}                  → 200 EventState
  GET    /events/{event}/watch?generation=N&…  → 200 NDJSON stream of EventState, one per change
  POST   /events/{event}/join             JoinRequest → 200 JoinReply | 403 | 404 | 409 no room | 503
  POST   /events/{event}/leave            JoinRequest → 204
  PUT    /events/{event}/lease            LeaseRequest → 200 LeaseReply | 403 not a candidate
  POST   /events/{event}/stage            JoinRequest → 200 StageReply | 403 StageReply(granted false)
  POST   /events/{event}/fresh-room       FreshRoomRequest → 201 EventState     (operator)
  POST   /events/{event}/end-room         → 200 EventState                      (operator)
  GET    /health                          → 200 Health
  GET    /openapi.json
Errors: {"error": {"code": "no_room", "message": "…"}} with the HTTP status.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """A room node and the URL (through the directory's own link) by which the directory reaches it."""

    name: str
    signal_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """Switches of the directory. All off = as it happened.

    standby_host: the lease passes to the next live candidate when the holder is gone.
    auto_fresh_room: opens a fresh room by itself when the host or the room is lost.
    redirect: pushes changes to watchers at once and names the successor when a room ends; off: the
    watch stream carries no room change (clients poll).
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
    `probe_s`: period of the room health probe, `probe_failures` in a row make a room lost.
    """

    nodes: list[NodeConfig]
    remedies: Remedies = field(default_factory=Remedies)
    lease_s: float = 4.0
    grace_s: float = 0.0
    probe_s: float = 1.0
    probe_failures: int = 2
    database: str = "directory.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRequest:
    """Create an event with its first room. `candidates`: identities that may hold the host lease, in order.

    `speakers`: identities that may ask for the stage. `account`: under which the first room runs.
    `standby_account`: used by an automatic fresh room. `node`: where, default the first healthy one.
    """

    event: str
    account: str
    candidates: list[str]
    speakers: list[str]
    standby_account: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventState:
    """Where an event is now. `status`: open | no_room. `generation` grows with every change of room.

    `stage`: identities granted; `host`: lease holder or "" ; `opened_s`: monotonic stamp of the room.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseReply:
    """Whether the caller holds the lease now, for how long, and the room generation."""

    holder: bool
    lease_s: float
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReply:
    """Whether the caller may speak; `reason` when not."""

    granted: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshRoomRequest:
    """Open a fresh room under `account` on `node` (default: a healthy one other than the current)."""

    account: str
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The service is up."""

    status: str
    nodes: dict[str, bool]
