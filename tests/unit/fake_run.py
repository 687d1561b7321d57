"""A whole run without processes: crowd, links and every port, small enough to read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chaoskit.errors import AdapterError
from chaoskit.model import (
    BlastRadius,
    CheckResult,
    CheckSpec,
    Crowd,
    Event,
    Experiment,
    FaultSpec,
    Group,
    Hypothesis,
    Json,
    LinkSpec,
    Profile,
    Segment,
    Verdict,
)
from chaoskit.ports import Tools
from tests.unit.fake_clock import VirtualClock
from tests.unit.fake_crowd import FakeCrowd
from tests.unit.fake_proxy import FakeProxy
from tests.unit.fake_services import FakeServices

HOST, GUEST, LISTENERS = 0, 1, range(2, 12)
CROWD = Crowd(
    groups=(
        Group(name="host", role="host", count=1, first=0, speaker=0, candidate=True),
        Group(name="guest", role="guest", count=1, first=1, speaker=1),
        Group(name="listeners", role="listener", count=10, first=2),
    )
)
SERVICES = ("fault-proxy", "directory", "room-a", "room-b")


def links_of(crowd: Crowd = CROWD) -> tuple[LinkSpec, ...]:
    """Return the links of every group and of the room observer."""
    found = []
    for group in [*(g.name for g in crowd.groups), "observer"]:
        if group != "observer":
            found.append((f"{group}.api.directory", "tcp"))
        found += [(f"{group}.signal.{room}", "tcp") for room in ("room-a", "room-b")]
        if group != "observer":
            found += [(f"{group}.media.{room}", "udp") for room in ("room-a", "room-b")]
    return tuple(LinkSpec(name=n, transport=t, upstream="") for n, t in found)


class FakeDirectory:
    """The operator's door: one room, replaced on demand."""

    def __init__(self) -> None:
        self.generation = 1
        self.failing = False
        self.calls: list[tuple[str, Mapping[str, Json]]] = []

    async def state(self) -> Mapping[str, Json]:
        if self.failing:
            raise AdapterError("directory: does not answer")
        return {
            "event": "night",
            "generation": self.generation,
            "status": "open",
            "room": self.generation,
            "node": "room-a",
            "opened_s": 1000.0,
        }

    async def fresh_room(self, *, account: str, node: str | None = None) -> Mapping[str, Json]:
        self.calls.append(("fresh_room", {"account": account, "node": node}))
        state = await self.state()
        self.generation += 1
        return {**state, "generation": self.generation}

    async def end_room(self) -> Mapping[str, Json]:
        self.calls.append(("end_room", {}))
        return {**await self.state(), "status": "no_room"}


@dataclass
class FakeJournal:
    """Keeps events in memory, in order; `durable` holds those that had to be on disk."""

    events: list[Event] = field(default_factory=list)
    durable: list[Event] = field(default_factory=list)
    full: bool = False

    def append(self, event: Event, *, durable: bool = False) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.events.append(event)
        if durable:
            self.durable.append(event)

    def of(self, *kinds: type[Event]) -> list[Event]:
        return [e for e in self.events if isinstance(e, kinds)]


@dataclass
class FakeRun:
    """Every port of a run, and the parts behind them."""

    clock: VirtualClock
    proxy: FakeProxy
    services: FakeServices
    crowd: FakeCrowd
    directory: FakeDirectory
    journal: FakeJournal
    tools: Tools


def fake_run(*, honest: bool = True, crowd: Crowd = CROWD) -> FakeRun:
    """Return a run in which everybody is joined; `honest` False: a proxy that does nothing."""
    clock = VirtualClock()
    links = links_of(crowd)
    proxy = FakeProxy(links, clock, honest=honest)
    services = FakeServices(*SERVICES)
    people = FakeCrowd(crowd, proxy, clock)
    directory = FakeDirectory()
    tools = Tools(
        clock=clock,
        crowd=crowd,
        links=links,
        proxy=proxy,
        services=services,
        control=people,
        facts=people,
        observer=people,
        directory=directory,
    )
    return FakeRun(clock, proxy, services, people, directory, FakeJournal(), tools)


def experiment(
    *method: FaultSpec, crowd: Crowd = CROWD, zero_s: float = 5.0, **changes: object
) -> Experiment:
    """Return an experiment with gate 2–5 s, zero at 5 s, end at 60 s, and a wide blast radius."""
    made = Experiment(
        id="test",
        title="A test",
        stack="embedded",
        crowd=crowd,
        profile=Profile(name="as-it-happened"),
        hypothesis=Hypothesis(
            title="All is well",
            checks=(CheckSpec(name="join_success", kind="join_success"),),
        ),
        programme=(Segment(from_s=0.0, until_s=60.0, speakers=("host",)),),
        script=(),
        method=method,
        blast_radius=BlastRadius(
            roles=("host", "guest", "listener"),
            services=(*SERVICES, "observer"),
            max_faults=4,
            max_duration_s=60.0,
        ),
        gate_from_s=2.0,
        gate_s=zero_s - 2.0,
        method_zero_s=zero_s,
        end_s=60.0,
        steady_again_s=10.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def held(when: str) -> tuple[CheckResult, ...]:
    """A judge for whom all is always well."""
    return (result(Verdict.HELD, when),)


def result(verdict: Verdict, note: str = "") -> CheckResult:
    return CheckResult(
        name="join_success",
        kind="join_success",
        verdict=verdict,
        observed=1.0,
        threshold="≥ 0.99",
        unit="",
        population="listeners",
        n=10,
        note=note,
    )


def kinds(events: Sequence[Event]) -> list[str]:
    """Return the types of events, in order."""
    return [e.type for e in events]
