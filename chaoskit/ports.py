"""What the core needs from the outside world, as small protocols; adapters are further out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chaoskit.errors import PlanRefused
from chaoskit.model import (
    Crowd,
    Event,
    Json,
    LinkCounters,
    LinkSpec,
    LinkState,
    Mic,
    Permits,
    ProxyVersion,
    ServiceStatus,
    Toxic,
)

T = TypeVar("T")


class Clock(Protocol):
    """Run time. Virtual in tests."""

    def now(self) -> float:
        """Return run time in seconds (monotonic stamp minus the run's origin)."""

    async def sleep_until(self, at_s: float) -> None:
        """Return at run time `at_s` or later; at once when it is past."""

    def to_run(self, monotonic_s: float) -> float:
        """Return the run time of a monotonic stamp."""


class Journal(Protocol):
    """The append-only record of a run."""

    def append(self, event: Event, *, durable: bool = False) -> None:
        """Append `event`; when `durable`, return only after it is on disk (fsync)."""


class ProxyControl(Protocol):
    """Control of one Toxiproxy-like server. Every change is read back. Raises AdapterError."""

    async def version(self) -> ProxyVersion:
        """Return the server's version."""

    async def populate(self, links: Sequence[LinkSpec]) -> Mapping[str, LinkState]:
        """Create all links on ports of the server's choice; return their states by name."""

    async def links(self) -> Mapping[str, LinkState]:
        """Return all links by name."""

    async def link(self, name: str) -> LinkState:
        """Return one link."""

    async def set_enabled(
        self, name: str, enabled: bool, *, ttl_s: float | None = None, reset: bool = False
    ) -> None:
        """Cut or restore a link. `reset`: live TCP connections end with RST instead of EOF."""

    async def toxics(self, name: str) -> tuple[Toxic, ...]:
        """Return the toxics of a link."""

    async def add_toxic(self, name: str, toxic: Toxic, *, ttl_s: float | None = None) -> None:
        """Add `toxic` to link `name`."""

    async def remove_toxic(self, name: str, toxic_name: str) -> None:
        """Remove a toxic."""

    async def counters(self, name: str) -> LinkCounters:
        """Return live counters of a link."""


class ServiceControl(Protocol):
    """The services of the stack, as the runtime holds them."""

    def services(self) -> tuple[str, ...]:
        """Return the names of all services."""

    async def status(self, name: str) -> ServiceStatus:
        """Return what the kernel says of a service."""

    async def signal(self, name: str, signum: int) -> None:
        """Send a signal by pidfd."""

    async def restart(self, name: str) -> None:
        """Start a service that has exited, on its old port, and wait until it is healthy."""


class CrowdControl(Protocol):
    """Commands to participants; after its time limit the shard undoes each by itself."""

    async def set_mute(self, participants: Sequence[int], muted: bool, *, ttl_s: float) -> None:
        """Mute or unmute at the room server, as the client's own button does."""

    async def leave(self, participants: Sequence[int], *, ttl_s: float) -> None:
        """Make participants leave and stay away until `rejoin` or the time limit."""

    async def rejoin(self, participants: Sequence[int]) -> None:
        """End a `leave`."""

    async def set_mic(self, participants: Sequence[int], mic: Mic, *, ttl_s: float) -> None:
        """Override what microphones do until the time limit; then the script rules again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Live state of one participant as the crowd reported it last.

    `state`: away | trying | joined | gone. `room`, `node`, `generation` of the last join.
    """

    participant: int
    state: str
    room: int | None = None
    node: str | None = None
    generation: int | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSample:
    """Media counters of one participant, cumulative: received, missing by RTP sequence, late, sent.

    `transit_ms`: mean arrival offset of the last interval against the first packets of its room.
    """

    at_s: float
    received: int
    missing: int
    late: int
    sent: int
    transit_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A participant noticed a lost connection or could not make one. `link` names the hop."""

    at_s: float
    participant: int
    link: str
    why: str


class CrowdFacts(Protocol):
    """What the crowd reported so far (facts files): for triggers, proofs, live views."""

    def presence(self) -> Mapping[int, Presence]:
        """Return the latest presence by participant."""

    def losses(self, *, since_s: float) -> Sequence[Loss]:
        """Return losses and failed connections noticed at or after run time `since_s`."""

    def net(self, participant: int, *, since_s: float = float("-inf")) -> Sequence[NetSample]:
        """Return the media samples of a participant taken at or after `since_s`, oldest first."""

    def rtt_ms(self, link: str) -> Sequence[tuple[float, float]]:
        """Return (run time, round trip in ms) samples seen on a TCP link."""

    def hearing(self, participant: int) -> int:
        """Return the ear code of the participant's last judged slot (audio.listening)."""

    def count(self, name: str) -> float:
        """Return a crowd count such as `listeners.joined`, `listeners.trying`, `crowd.joined`.

        Raises KeyError for an unknown name.
        """


class RoomObserver(Protocol):
    """A pair of eyes on the room servers, on its own link."""

    async def participants(self, node: str, room: int) -> Mapping[int, bool]:
        """Return participant number → muted, as the room server lists them. Raises AdapterError."""


class DirectoryControl(Protocol):
    """The operator's door to the directory."""

    async def state(self) -> Mapping[str, Json]:
        """Return the event's state (wire.directory.EventState as JSON)."""

    async def fresh_room(self, *, account: str, node: str | None = None) -> Mapping[str, Json]:
        """Open a fresh room under `account`; return the event's new state."""

    async def end_room(self) -> Mapping[str, Json]:
        """End the current room; return the event's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The ports that this run really has. The plan refuses a fault that needs a missing one.

    `permits`: what faults may act on; None = on everything that the ports reach.
    """

    clock: Clock
    crowd: Crowd
    links: tuple[LinkSpec, ...] = ()
    proxy: ProxyControl | None = None
    services: ServiceControl | None = None
    control: CrowdControl | None = None
    facts: CrowdFacts | None = None
    observer: RoomObserver | None = None
    directory: DirectoryControl | None = None
    permits: Permits | None = None

    def need_proxy(self) -> ProxyControl:
        """Return the proxy port. Raises PlanRefused when the run has none."""
        return _need(self.proxy, "a fault proxy")

    def need_services(self) -> ServiceControl:
        """Return the services port. Raises PlanRefused when the run has none."""
        return _need(self.services, "services that chaoskit started")

    def need_control(self) -> CrowdControl:
        """Return the crowd's control port. Raises PlanRefused when the run has none."""
        return _need(self.control, "participants of our own")

    def need_facts(self) -> CrowdFacts:
        """Return the crowd's facts. Raises PlanRefused when the run has none."""
        return _need(self.facts, "facts from a crowd")

    def need_observer(self) -> RoomObserver:
        """Return the room observer. Raises PlanRefused when the run has none."""
        return _need(self.observer, "a room observer")

    def need_directory(self) -> DirectoryControl:
        """Return the operator's door. Raises PlanRefused when the run has none."""
        return _need(self.directory, "a directory with an operator's door")


def _need(port: T | None, what: str) -> T:
    if port is None:
        raise PlanRefused(f"this run has no mechanism for it: it needs {what}")
    return port


Consumer = Callable[[Event], None]
"""Receives every event of a run; must not raise and must not block."""


def broadcast(event: Event, consumers: Iterable[Consumer]) -> None:
    """Hand `event` to each consumer in order."""
    for consume in consumers:
        consume(event)
