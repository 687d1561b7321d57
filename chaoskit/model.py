"""The nouns of the design as frozen values: experiment, crowd, fault, check, event, verdict.

Standard library only. All times are seconds; a field that ends in `_s` and names a moment is *run
time* (seconds since the run's origin) unless its docstring says monotonic.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, ClassVar

Json = Any
"""A JSON value: null, bool, number, string, list or object with string keys."""
SLOT_S = 0.020
"""One frame slot: 20 ms (DESIGN §6)."""


class Verdict(StrEnum):
    """What a check or a run showed; ordered from good to bad by `worst`."""

    HELD = "held"
    INCONCLUSIVE = "inconclusive"
    DEVIATED = "deviated"


_RANK = {Verdict.HELD: 0, Verdict.INCONCLUSIVE: 1, Verdict.DEVIATED: 2}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst verdict; nothing judged is inconclusive, not a pass."""
    return max(verdicts, key=_RANK.__getitem__, default=Verdict.INCONCLUSIVE)


class RunStatus(StrEnum):
    """How a run went, apart from what it showed."""

    COMPLETED = "completed"
    REFUSED = "refused"
    ABORTED = "aborted"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"


class Phase(StrEnum):
    """Phases of a run, in order (DESIGN §5)."""

    PREPARE = "prepare"
    GATE = "gate"
    INJECT = "inject"
    RECOVER = "recover"
    STEADY_AGAIN = "steady_again"
    JUDGE = "judge"
    SEAL = "seal"


class Plane(StrEnum):
    """Which hop of a group a link carries."""

    API = "api"
    SIGNAL = "signal"
    MEDIA = "media"


# --- crowd ---------------------------------------------------------------------------------------


class ReconnectKind(StrEnum):
    """How a client waits between tries to come back."""

    NONE = "none"
    FIXED = "fixed"
    EXPONENTIAL = "exponential"
    FULL_JITTER = "full_jitter"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectRule:
    """Wait before try n (0-based): base; base*2^n up to cap; or uniform(0, that) for full jitter.

    `attempts` None = for ever. Source of full jitter: AWS architecture blog, exponential backoff.
    """

    kind: ReconnectKind = ReconnectKind.FULL_JITTER
    base_s: float = 0.5
    cap_s: float = 5.0
    attempts: int | None = None


class FindKind(StrEnum):
    """How a client learns that its event moved to another room."""

    WATCH = "watch"
    POLL = "poll"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRules:
    """What the product's client does by itself. Nothing in chaoskit helps it beyond this.

    `poll_s`: period of the state poll (each client starts at a random phase).
    `join_timeout_s`: one whole join attempt. `media_timeout_s`: so long without a
    datagram while joined makes the client rejoin (None = it stays). `heartbeat_s`: period of the
    lease heartbeat of host candidates.
    """

    reconnect: ReconnectRule = field(default_factory=ReconnectRule)
    find: FindKind = FindKind.WATCH
    poll_s: float = 5.0
    join_timeout_s: float = 5.0
    media_timeout_s: float | None = None
    heartbeat_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Participants that share role, client rules and zone: numbers first..first+count-1.

    `speaker`: beacon band 0..2 when its (single) member speaks, else None.
    `candidate`: sends the host lease heartbeat. `arrive_from_s`, `arrive_over_s`: arrivals spread
    evenly over that span of run time. `stay_s`: each leaves so long after its arrival; for good, or
    to arrive again every `every_s` after its first arrival until the run ends.
    """

    name: str
    role: str
    count: int
    first: int
    client: ClientRules = field(default_factory=ClientRules)
    zone: str = "default"
    speaker: int | None = None
    candidate: bool = False
    arrive_from_s: float = 0.0
    arrive_over_s: float = 0.0
    stay_s: float | None = None
    every_s: float | None = None

    def members(self) -> range:
        """Return the participant numbers of this group."""
        return range(self.first, self.first + self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """All groups of a run."""

    groups: tuple[Group, ...]

    def group_of(self, participant: int) -> Group:
        """Return the group that owns `participant`. Raises KeyError when none does."""
        for group in self.groups:
            if participant in group.members():
                return group
        raise KeyError(participant)

    def members(self, names: Iterable[str]) -> tuple[int, ...]:
        """Return the participants of every group whose name or role is in `names`, ascending."""
        wanted = set(names)
        return tuple(
            k for g in self.groups if g.name in wanted or g.role in wanted for k in g.members()
        )


class Mic(StrEnum):
    """What a speaker's microphone really does."""

    BEACON = "beacon"
    SILENCE = "silence"
    PRIVATE = "private"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MicCue:
    """From `at_s` on the microphone of group `group` is in state `mic`."""

    at_s: float
    group: str
    mic: Mic


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Programme: from `from_s` to `until_s` every group in `speakers` is planned on air.

    A listener hears the programme when it hears any one of them.
    """

    from_s: float
    until_s: float
    speakers: tuple[str, ...]


# --- faults --------------------------------------------------------------------------------------


class TargetKind(StrEnum):
    """What a fault acts on."""

    LINK = "link"
    SERVICE = "service"
    PARTICIPANTS = "participants"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Names or globs of links or services, or group names."""

    kind: TargetKind
    patterns: tuple[str, ...]

    def matches(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of `names` that any pattern matches, in their order."""
        return tuple(n for n in names if any(fnmatchcase(n, p) for p in self.patterns))


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Trigger: seconds after the method's zero (end of the gate; in a replay the run's origin)."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Trigger: when the crowd's count `fact` (e.g. `listeners.joined`) is at least `at_least`."""

    fact: str
    at_least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """Trigger: `delay_s` after step `step` was healed (or done)."""

    step: str
    delay_s: float = 0.0


Trigger = At | When | After


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """One fault as written: kind, target, parameters, trigger, duration (None = until recovery)."""

    id: str
    kind: str
    target: Target
    trigger: Trigger
    params: Mapping[str, Json] = field(default_factory=dict)
    duration_s: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpec:
    """A step that is no fault: an operator's act at the directory (`fresh_room`, `end_room`)."""

    id: str
    kind: str
    trigger: Trigger
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """A line of the record shown at its run time. `status`: executed | narrative | not_yet."""

    at_s: float
    event: str
    text: str
    status: str
    basis: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastRadius:
    """What the method may touch. Empty tuples allow nothing of that kind."""

    roles: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    max_faults: int = 1
    max_duration_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """How to heal one fault, as data: names we chose, prior state; journaled before injection."""

    fault_id: str
    kind: str
    handle: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an independent witness saw of a fault. `affected`/`targeted` count units (see `unit`).

    `measures`: numbers that the witness saw, e.g. {"connections_lost": 1}. `first_s`: run time of
    the first effect (proxy's or kernel's stamp), None when none was seen.
    """

    measures: Mapping[str, float]
    witness: str
    affected: int
    targeted: int
    unit: str = "links"
    first_s: float | None = None

    @property
    def share(self) -> float:
        """Affected over targeted; 0.0 when nothing was targeted."""
        return self.affected / self.targeted if self.targeted else 0.0


# --- checks --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """One check as written. `params` are the kind's own; the rest is common to all kinds.

    `name` is unique in the experiment. `of`: fault id. `from_`: `effect` or `heal`. `during`:
    `steady`, `run`, or a fault id. `members`: group names or roles of the population.
    """

    name: str
    kind: str
    params: Mapping[str, Json] = field(default_factory=dict)
    of: str | None = None
    from_: str = "effect"
    during: str = "run"
    members: tuple[str, ...] = ("listener",)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Verdict of one check with the number it rests on. `n` = size of the population judged."""

    name: str
    kind: str
    verdict: Verdict
    observed: float | None
    threshold: str
    unit: str
    population: str
    n: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortCondition:
    """Stop when `check`'s live value is below/above the bound for `for_s` within `window_s`."""

    check: CheckSpec
    below: float | None
    above: float | None
    window_s: float
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What must be true: judged before anything is injected and again at the end."""

    title: str
    checks: tuple[CheckSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The directory's remedies and timers for a run; `settings` go to the directory as they are."""

    name: str
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The other half of a pair: the same experiment with `changes` must end in `expect`."""

    title: str
    changes: Mapping[str, Json]
    expect: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One run, fully written down. Replays compile to this too.

    Times: arrivals from run time 0; gate from `gate_from_s` for `gate_s` (0 = none); the method's
    zero is `method_zero_s`; the run ends at `end_s` at the latest. `recovery_s`: from the last heal
    to the closing steady state, which lasts `steady_again_s`; None = the recovery lasts until
    `end_s - steady_again_s` (replays). `account`: under which the first room runs;
    `standby_account`: under which an automatic fresh room does. `control`: the other half of the
    pair that this is the first half of. `expect`: of the other half itself, the verdict that it
    must end in.
    """

    id: str
    title: str
    stack: str
    crowd: Crowd
    profile: Profile
    hypothesis: Hypothesis
    programme: tuple[Segment, ...]
    script: tuple[MicCue, ...]
    method: tuple[FaultSpec, ...]
    actions: tuple[ActionSpec, ...] = ()
    cues: tuple[Cue, ...] = ()
    blast_radius: BlastRadius = field(default_factory=BlastRadius)
    abort: tuple[AbortCondition, ...] = ()
    seed: int = 1
    gate_from_s: float = 0.0
    gate_s: float = 10.0
    method_zero_s: float = 0.0
    end_s: float = 60.0
    steady_again_s: float = 10.0
    recovery_s: float | None = None
    control: Control | None = None
    digest: str = ""
    account: str = "first"
    standby_account: str = "standby"
    expect: Verdict | None = None

    def control_row(self, verdict: Verdict) -> dict[str, Json] | None:
        """Return whether a control ended as it must, as result.json has it; None for no control."""
        if self.expect is None:
            return None
        return {"expect": self.expect.value, "as_expected": verdict is self.expect}


# --- stack ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """One hop of one group through the fault proxy. `transport`: tcp | udp.

    `upstream`: host:port, or `dynamic` for a UDP link whose peers are announced (DESIGN §10).
    `allowed_peers`: addresses or networks that its clients may name; empty = 127.0.0.1 alone.
    """

    name: str
    transport: str
    upstream: str
    allowed_peers: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The group (first part of the name)."""
        return self.name.split(".")[0]

    @property
    def plane(self) -> str:
        """The plane (second part of the name)."""
        return self.name.split(".")[1]

    @property
    def service(self) -> str:
        """The service (last part of the name)."""
        return self.name.split(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthProbe:
    """How a service shows that it serves, on the port named `port`.

    `kind`: http (GET `path` answers 200) | tcp (accepts) | none.
    """

    kind: str = "none"
    port: str = "main"
    path: str = "/health"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One process of a stack, as a runtime starts it.

    `argv`: template; `{python}`, `{name}`, `{ready}` (the ready file, from the run folder) and
    `{port}` or `{port:NAME}` are filled in. `ports`: name → fixed number, 0 = one of the run's
    block; a restarted service keeps its ports. `ready`: the process writes its ready file when it
    serves. `depends`: services that must be healthy first.
    """

    name: str
    argv: tuple[str, ...]
    ports: Mapping[str, int] = field(default_factory=dict)
    ready: bool = True
    health: HealthProbe = field(default_factory=HealthProbe)
    depends: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSpec:
    """How a group reaches the services of one plane. `transport`: tcp | udp; `port`: a port's name.

    `upstream`: `service` (the service's address) or `dynamic` (peers are announced, UDP only).
    `allows`: fault kinds that may act on links of this plane.
    """

    plane: Plane
    services: tuple[str, ...]
    transport: str
    port: str = "main"
    upstream: str = "service"
    allows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Permits:
    """What faults may act on. `services` and `planes`: name → fault kinds that it allows.

    What is named in neither, and the links and members of the groups in `harness`, are chaoskit's
    own: no fault may act on them.
    """

    services: Mapping[str, tuple[str, ...]]
    planes: Mapping[str, tuple[str, ...]]
    harness: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack as its file describes it; any runtime realises it.

    `proxy`, `directory`, `rooms`: names of the services that play these parts. `allows`: service →
    fault kinds that may act on it. `harness`: link groups that are no crowd (observer, operator,
    the directory itself) → the planes that they use. `ear_delay_s`: stated mouth-to-ear delay of
    the healthy stack; audio planned at the microphone at t is due at the ear at t + ear_delay_s.
    """

    id: str
    title: str
    services: tuple[ServiceSpec, ...]
    planes: tuple[PlaneSpec, ...]
    proxy: str
    directory: str
    rooms: tuple[str, ...]
    harness: Mapping[str, tuple[Plane, ...]] = field(default_factory=dict)
    allows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ear_delay_s: float = 0.26

    def filled(self, values: Mapping[str, str]) -> "Stack":
        """Return the stack with `{key}` of `values` filled in in every command line."""

        def fill(word: str) -> str:
            for key, value in values.items():
                word = word.replace(f"{{{key}}}", value)
            return word

        services = tuple(
            replace(s, argv=tuple(fill(word) for word in s.argv)) for s in self.services
        )
        return replace(self, services=services)

    def service_names(self) -> tuple[str, ...]:
        """Return the names of all services, in the order of the file."""
        return tuple(s.name for s in self.services)

    def permits(self) -> Permits:
        """Return what faults may act on: everything but the proxy and the harness, as allowed."""
        names = (name for name in self.service_names() if name != self.proxy)
        return Permits(
            services={name: self.allows.get(name, ()) for name in names},
            planes={str(plane.plane): plane.allows for plane in self.planes},
            harness=frozenset(self.harness),
        )

    def links(
        self, groups: Iterable[str], addresses: Mapping[tuple[str, str], str] | None = None
    ) -> tuple[LinkSpec, ...]:
        """Return every link of `groups` and of the harness, in a stable order.

        `addresses`: (service, port name) → `host:port`; without them upstreams are empty, which is
        enough to plan. Raises KeyError when an address is missing from a mapping that is given.
        """
        # A group of the crowd may play a part of the harness (the canary does): one link is enough.
        wanted = {group: tuple(Plane) for group in groups}
        wanted |= {g: planes for g, planes in self.harness.items() if g not in wanted}
        return tuple(
            LinkSpec(
                name=f"{group}.{plane.plane}.{service}",
                transport=plane.transport,
                upstream=_upstream(plane, service, addresses),
            )
            for group, planes in wanted.items()
            for plane in self.planes
            if plane.plane in planes
            for service in plane.services
            if service != group
        )


def _upstream(
    plane: PlaneSpec, service: str, addresses: Mapping[tuple[str, str], str] | None
) -> str:
    if plane.upstream == "dynamic":
        return "dynamic"
    return "" if addresses is None else addresses[service, plane.port]


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


# --- run events ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something the engine saw or did. `at_s` is run time; the journal adds a sequence number."""

    type: ClassVar[str] = "event"
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEntered(Event):
    """The run entered `phase`."""

    type: ClassVar[str] = "phase_entered"
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultInjecting(Event):
    """About to inject; fsynced before the side effect."""

    type: ClassVar[str] = "fault_injecting"
    fault_id: str
    kind: str
    target: str
    undo: Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultActive(Event):
    """Injected and read back. `active` False = the read-back disagrees."""

    type: ClassVar[str] = "fault_active"
    fault_id: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEffect(Event):
    """The best proof of effect seen while the fault was active."""

    type: ClassVar[str] = "fault_effect"
    fault_id: str
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultHealed(Event):
    """Healed; `confirmed` False = the read-back does not confirm it (residue)."""

    type: ClassVar[str] = "fault_healed"
    fault_id: str
    confirmed: bool
    by: str = "engine"
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultFailed(Event):
    """Not injected, or not all of it, or not as long as planned: no verdict can rest on it."""

    type: ClassVar[str] = "fault_failed"
    fault_id: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDone(Event):
    """An operator's act was carried out; `result` is what the service answered."""

    type: ClassVar[str] = "action_done"
    action_id: str
    kind: str
    result: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFailed(Event):
    """An operator's act was not carried out."""

    type: ClassVar[str] = "action_failed"
    action_id: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CueReached(Event):
    """A line of the record came up."""

    type: ClassVar[str] = "cue_reached"
    event: str
    text: str
    status: str
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed(Event):
    """A probe's value, e.g. participants listed in a room. `value` None = the probe failed."""

    type: ClassVar[str] = "observed"
    probe: str
    value: Json
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceExited(Event):
    """A service ended; `expected` when a fault or the shutdown ended it."""

    type: ClassVar[str] = "service_exited"
    service: str
    exit: int
    expected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GateJudged(Event):
    """The steady state before (`when` = gate) or after (`when` = again)."""

    type: ClassVar[str] = "gate_judged"
    when: str
    results: tuple[CheckResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborted(Event):
    """An abort condition held; rollback follows."""

    type: ClassVar[str] = "aborted"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """Method and rollback are over. `residual` names faults that could not be confirmed healed."""

    type: ClassVar[str] = "run_ended"
    status: RunStatus
    residual: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealBegun(Event):
    """Somebody other than the engine takes the run over: `by` guardian | heal; `why` in words."""

    type: ClassVar[str] = "heal_begun"
    by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealEnded(Event):
    """The take-over is done. `residual`: faults that could not be confirmed healed.

    `killed`: services that had to be killed; `left`: processes that are still there.
    """

    type: ClassVar[str] = "heal_ended"
    by: str
    residual: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
