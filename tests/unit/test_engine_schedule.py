"""Laws of the schedule, for any method."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from chaoskit.engine.engine import Engine
from chaoskit.engine.plan import make_plan
from chaoskit.engine.schedule import most_at_once, windows_of
from chaoskit.errors import PlanRefused
from chaoskit.model import (
    After,
    At,
    BlastRadius,
    Experiment,
    FaultFailed,
    FaultHealed,
    FaultInjecting,
    FaultSpec,
    RunEnded,
    RunStatus,
    Target,
    TargetKind,
    When,
)
from tests.unit.fake_run import SERVICES, experiment, fake_run, held, links_of
from tests.unit.test_fault_effects import EVERY_KIND

pytestmark = pytest.mark.unit
SPECS = [
    *(EVERY_KIND[kind] for kind in ("drop", "blackhole", "latency", "pause", "mute", "leave")),
    replace(EVERY_KIND["drop"], target=Target(kind=TargetKind.LINK, patterns=("guest.*",))),
    replace(EVERY_KIND["pause"], target=Target(kind=TargetKind.SERVICE, patterns=("room-b",))),
    replace(EVERY_KIND["mute"], target=Target(kind=TargetKind.PARTICIPANTS, patterns=("host",))),
]


@st.composite
def methods(draw: st.DrawFn) -> tuple[FaultSpec, ...]:
    """Up to five faults: at a time, after an earlier one, or when a fact comes."""
    made: list[FaultSpec] = []
    for i in range(draw(st.integers(0, 5))):
        trigger: At | After | When = At(at_s=draw(st.integers(0, 30)) / 2)
        choice = draw(st.sampled_from(["at", "at", "after", "when"]))
        if choice == "after" and any(f.duration_s for f in made):
            earlier = draw(st.sampled_from([f for f in made if f.duration_s])).id
            trigger = After(step=earlier, delay_s=draw(st.integers(0, 4)) / 2)
        elif choice == "when":
            trigger = When(fact="crowd.joined", at_least=draw(st.sampled_from([1, 12, 99])))
        spec = draw(st.sampled_from(SPECS))
        lasts_s = draw(st.one_of(st.none(), st.integers(1, 12).map(float)))
        made.append(replace(spec, id=f"f{i}", trigger=trigger, duration_s=lasts_s))
    return tuple(made)


def plan_of(method: tuple[FaultSpec, ...], max_faults: int) -> Experiment:
    radius = BlastRadius(
        roles=("host", "guest", "listener"),
        services=SERVICES,
        max_faults=max_faults,
        max_duration_s=200.0,
    )
    # Room for the longest chain and for facts that come late.
    return experiment(*method, blast_radius=radius, end_s=150.0)


@given(
    method=methods(), max_faults=st.integers(2, 5), stop_s=st.one_of(st.none(), st.floats(0, 60))
)
@settings(max_examples=30, deadline=None)
async def test_every_injection_has_its_heal_and_the_blast_radius_is_never_exceeded(
    method: tuple[FaultSpec, ...], max_faults: int, stop_s: float | None
) -> None:
    plan = plan_of(method, max_faults)
    try:
        make_plan(plan, links=links_of(), services=SERVICES)
    except PlanRefused:
        reject()
    run = fake_run()
    run.crowd.counts = {"crowd.joined": 12.0}
    work = Engine(plan, run.tools, run.journal, held).run()
    if stop_s is None:
        assert await run.clock.finish(work) is RunStatus.COMPLETED
    else:
        task = asyncio.ensure_future(work)
        await run.clock.advance(stop_s)
        task.cancel()
        assert await run.clock.finish(task) is RunStatus.INTERRUPTED
    active: set[str] = set()
    times: dict[str, float] = {}
    for event in run.journal.events:
        if isinstance(event, FaultInjecting):
            assert event.fault_id not in times, "injected twice"
            active.add(event.fault_id)
            times[event.fault_id] = event.at_s
        elif isinstance(event, FaultHealed):
            assert event.confirmed
            active.discard(event.fault_id)
        assert len(active) <= max_faults
    assert not active
    end = run.journal.events[-1]
    assert isinstance(end, RunEnded)
    assert end.residual == ()
    if stop_s is None:
        given_up = {e.fault_id for e in run.journal.events if isinstance(e, FaultFailed)}
        assert set(times) | given_up == {f.id for f in method}
    _check_times(plan, times)


def _check_times(plan: Experiment, times: dict[str, float]) -> None:
    """A step with a known time is never early; one that follows another never comes before it."""
    planned = windows_of(plan)
    for spec in plan.method:
        if spec.id not in times:
            continue
        window = planned[spec.id]
        if isinstance(spec.trigger, At):
            assert times[spec.id] == pytest.approx(window.from_s)
        if isinstance(spec.trigger, After) and spec.trigger.step in times:
            assert times[spec.id] >= times[spec.trigger.step] + spec.trigger.delay_s - 1e-6


@given(method=methods())
@settings(max_examples=200, deadline=None)
def test_the_largest_set_at_once_is_a_set_of_the_method_and_no_smaller_than_any_pair(
    method: tuple[FaultSpec, ...],
) -> None:
    planned = windows_of(plan_of(method, 5))
    ids = [spec.id for spec in method]
    most = most_at_once(planned, ids)
    assert set(most) <= set(ids)
    assert len(most) == len(set(most))
    assert bool(most) == bool(ids)
    for a in ids:
        for b in ids:
            if a != b and planned[a].overlaps(planned[b]):
                assert len(most) >= 2


@given(method=methods())
@settings(max_examples=100, deadline=None)
def test_overlapping_is_mutual(method: tuple[FaultSpec, ...]) -> None:
    planned = list(windows_of(plan_of(method, 5)).values())
    assert all(a.overlaps(b) == b.overlaps(a) for a in planned for b in planned)
