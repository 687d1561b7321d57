"""What a proxy, a link and a service say of themselves while a run goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaoskit.model.terms import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """A link as the proxy reports it. `listen` is `ip:port` without scheme."""

    name: str
    transport: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple["Toxic", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxic:
    """What a Toxiproxy server calls a toxic. `stream`: upstream | downstream.

    `cohort`: toxics of the same cohort and toxicity hit the same clients, on all links and after
    every reconnect; without one the toxicity is rolled for each connection (embedded proxy only).
    """

    name: str
    type: str
    stream: str = "downstream"
    toxicity: float = 1.0
    attributes: Mapping[str, Json] = field(default_factory=dict)
    cohort: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionCounters:
    """Units (TCP chunks or UDP datagrams) of one direction of a link, cumulative."""

    seen: int
    forwarded: int
    dropped: int
    delayed: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCounters:
    """Live counters of a link. `first_effect_s`, `last_effect_s` are monotonic seconds or None."""

    name: str
    transport: str
    enabled: bool
    open: int
    accepted: int
    refused: int
    cut: int
    up: DirectionCounters
    down: DirectionCounters
    first_effect_s: float | None
    last_effect_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyVersion:
    """`version` as Toxiproxy answers it; `server` is empty for a real Toxiproxy."""

    version: str
    server: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """A service as the kernel sees it. `state`: running | stopped | exited.

    `exit`: exit status, or minus the signal. `started_s`: monotonic seconds at which this process
    was started; a restart changes both it and the pid.
    """

    name: str
    pid: int
    state: str
    exit: int | None = None
    started_s: float = 0.0
