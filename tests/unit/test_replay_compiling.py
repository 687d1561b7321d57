"""Record and map become an experiment; what does not fit together is refused with its place."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chaoskit.model import At, CheckSpec, Mic, Profile, Target, TargetKind
from chaoskit.replay.compiling import Replay, compile_replay
from chaoskit.replay.errors import ReplayError
from chaoskit.replay.mapping import (
    Audience,
    Basis,
    Compare,
    MapAction,
    MapFault,
    MicLine,
    OnAir,
    Party,
    ReplayMap,
    Row,
    Status,
)
from chaoskit.replay.pace import Act, Timer
from chaoskit.replay.record import (
    Certainty,
    Figure,
    FigureKind,
    IncidentRecord,
    RecordEvent,
    Source,
    Telling,
    When,
    check_record,
)

pytestmark = pytest.mark.unit

SIZE = Figure(
    value=1000.0,
    low=950.0,
    high=1050.0,
    unit="listeners",
    kind=FigureKind.CONCURRENT,
)


def event(event_id: str, **changes: Any) -> RecordEvent:
    plain = RecordEvent(
        id=event_id,
        lane="room",
        actor="room",
        telling=Telling.NARRATED,
        text=f"what {event_id} says",
        certainty=Certainty.STATED,
        source="diary",
    )
    return replace(plain, **changes)


def record(*events: RecordEvent) -> IncidentRecord:
    own = events or (
        event("A01", figure=SIZE),
        event("A02", after=("A01",), at=When(from_s=0, until_s=60, certainty=Certainty.STATED)),
    )
    return IncidentRecord(
        incident="outage",
        record="diary",
        title="An outage",
        sources=(Source(key="diary", title="a diary"),),
        events=own,
    )


def row(event_id: str, **changes: Any) -> Row:
    plain = Row(
        event=event_id,
        title=event_id,
        at_s=0.0,
        basis=Basis.NARRATIVE,
        status=Status.NARRATIVE,
        how="told",
    )
    return replace(plain, **changes)


def replay_map(**changes: Any) -> ReplayMap:
    plain = ReplayMap(
        incident="outage",
        record="diary",
        title="The outage, replayed",
        stack="embedded",
        begins_s=-100.0,
        acts=(
            Act(name="before", until_s=0.0, run_s=10.0),
            Act(name="after", until_s=80.0, run_s=80.0),
        ),
        audience=Audience(count=50, figure="A01"),
        parties=(
            Party(group="host", role="host", arrive_s=-100, arrive_until_s=-100, speaker=0),
            Party(group="crowd", role="listener", arrive_s=-90, arrive_until_s=-50, count=None),
        ),
        programme=(OnAir(from_s=0, until_s=80, speakers=("host",)),),
        script=(MicLine(at_s=0, group="host", mic=Mic.BEACON),),
        faults=(
            MapFault(
                id="cut",
                kind="drop",
                target=Target(kind=TargetKind.LINK, patterns=("host.*",)),
                from_s=20,
                until_s=30,
            ),
        ),
        actions=(MapAction(id="fresh", kind="fresh_room", at_s=30.0, params={"account": "host"}),),
        rows=(
            row("A01"),
            row(
                "A02",
                status=Status.EXECUTED,
                basis=Basis.EMERGENT,
                measure="silence_span",
                params={"after": "cut"},
                compare=Compare.AT,
            ),
        ),
        profile=Profile(name="as-it-happened"),
        gate_at_s=0.0,
        gate_s=5.0,
        blast_roles=("host",),
        account="owner",
    )
    return replace(plain, **changes)


def compiled(**changes: Any) -> Replay:
    return compile_replay(record(), replay_map(**changes))


def test_moments_of_the_incident_become_run_time() -> None:
    experiment = compiled().experiment
    assert (experiment.id, experiment.end_s, experiment.account) == ("outage", 90.0, "owner")
    fault, action = experiment.method[0], experiment.actions[0]
    assert (fault.trigger, fault.duration_s) == (At(at_s=30.0), 10.0)
    assert action.trigger == At(at_s=40.0)
    assert (experiment.gate_from_s, experiment.gate_s, experiment.method_zero_s) == (10.0, 5.0, 0.0)
    assert [(s.from_s, s.until_s) for s in experiment.programme] == [(10.0, 90.0)]
    assert [(c.at_s, c.event) for c in experiment.cues] == [(10.0, "A01"), (10.0, "A02")]
    crowd = experiment.crowd.groups[1]
    assert (crowd.first, crowd.count) == (1, 50)
    assert (crowd.arrive_from_s, crowd.arrive_over_s) == (1.0, 4.0)
    assert (experiment.blast_radius.max_faults, experiment.blast_radius.max_duration_s) == (1, 10.0)


def test_the_audience_follows_the_figure_and_the_scale() -> None:
    plain = compiled()
    assert (plain.listeners, plain.scale) == (50, 20.0)
    scaled = compile_replay(record(), replay_map(), scale=10)
    assert (scaled.listeners, scaled.scale, scaled.experiment.crowd.groups[1].count) == (
        100,
        10.0,
        100,
    )
    counted = compile_replay(record(), replay_map(), listeners=30)
    assert counted.listeners == 30
    assert counted.scale == pytest.approx(1000 / 30)


def test_seed_and_profile_can_be_changed() -> None:
    other = compile_replay(record(), replay_map(), seed=9, profile=Profile(name="hardened"))
    assert (other.experiment.seed, other.experiment.profile.name) == (9, "hardened")


def test_a_first_word_counts_from_the_scheduled_start() -> None:
    word = CheckSpec(name="word", kind="first_word", params={"speaker": "host", "within_s": 60.0})
    told = replace(word, params={**word.params, "after_s": 3.0})
    checks = compiled(checks=(word, told)).experiment.hypothesis.checks
    assert [c.params["after_s"] for c in checks] == [10.0, 3.0]


def fault(**changes: Any) -> tuple[MapFault, ...]:
    return (replace(replay_map().faults[0], **changes),)


def second_row(**changes: Any) -> tuple[Row, ...]:
    rows = replay_map().rows
    return (rows[0], replace(rows[1], **changes))


def parties(change: Callable[[Party], Party]) -> tuple[Party, ...]:
    return tuple(change(p) for p in replay_map().parties)


GUEST = Party(group="guest", role="guest", arrive_s=0, arrive_until_s=0, speaker=0)


@pytest.mark.parametrize(
    ("changes", "message", "where"),
    [
        ({"record": "press"}, "the map is for record press", ("record",)),
        ({"audience": Audience(count=5, figure="A02")}, "no figure A02", ("audience", "figure")),
        ({"audience": Audience(count=5, figure="A09")}, "no figure A09", ("audience", "figure")),
        ({"audience": Audience(count=0, figure="A01")}, "0 real listeners", ("audience",)),
        ({"programme": ()}, "without a programme", ("programme",)),
        (
            {"programme": (OnAir(from_s=0, until_s=80, speakers=("crowd",)),)},
            "crowd is no speaker",
            ("programme", 0, "speakers"),
        ),
        (
            {"script": (MicLine(at_s=0, group="ghost", mic=Mic.BEACON),)},
            "ghost is no speaker",
            ("script", 0, "group"),
        ),
        ({"script": (MicLine(at_s=99, group="host", mic=Mic.BEACON),)}, "outside the acts", ()),
        ({"parties": replay_map().parties[:1]}, "exactly one group", ("crowd",)),
        ({"parties": (*replay_map().parties, GUEST)}, "two speakers share a band", ("crowd",)),
        (
            {"parties": (*replay_map().parties, replay_map().parties[0])},
            "stands here twice",
            ("crowd",),
        ),
        (
            {"parties": parties(lambda p: replace(p, arrive_until_s=-200))},
            "arrives backwards",
            ("crowd", 0),
        ),
        ({"faults": fault(until_s=20)}, "cut ends before it begins", ("faults", 0, "until")),
        ({"faults": fault(from_s=4)}, "before the gate is over", ("faults", 0, "from")),
        ({"faults": fault(until_s=75)}, "closing steady state", ("faults", 0, "until")),
        ({"faults": fault(id="fresh")}, "same id", ("faults",)),
        ({"rows": replay_map().rows[:1]}, "the map has no row for A02", ("rows",)),
        ({"rows": (*replay_map().rows, row("A07"))}, "no entry A07", ("rows", 2, "event")),
        ({"rows": second_row(measure="")}, "nothing measures it", ("rows", 1)),
        (
            {"rows": second_row(measure="vibes")},
            'unknown measure "vibes"',
            ("rows", 1, "measure", "kind"),
        ),
        (
            {"rows": second_row(params={"loudness": 3})},
            "no parameter loudness",
            ("rows", 1, "measure", "loudness"),
        ),
        (
            {"rows": second_row(measure="first_word", params={})},
            "needs group",
            ("rows", 1, "measure"),
        ),
        (
            {"rows": second_row(measure="first_word", params={"group": "ghost"})},
            "no such group or role: ghost",
            ("rows", 1, "measure", "group"),
        ),
        (
            {"rows": second_row(params={"after": "later"})},
            "no such moment: later",
            ("rows", 1, "measure", "after"),
        ),
        ({"rows": second_row(params={"after": 500.0})}, "outside the acts", ()),
        ({"rows": second_row(compare=Compare.FIGURE)}, "no figure", ("rows", 1, "compare")),
        (
            {"timers": (Timer(name="lease", value_s=5.0, from_s=-20.0),)},
            "while lease",
            ("timers", 0),
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    changes: dict[str, Any], message: str, where: tuple[Any, ...]
) -> None:
    with pytest.raises(ReplayError, match=message) as found:
        compiled(**changes)
    if where:
        assert found.value.where == where


def test_a_row_compared_with_a_time_needs_one_in_the_record() -> None:
    rows = (
        replace(replay_map().rows[1], event="A01"),
        replay_map().rows[1],
    )
    with pytest.raises(ReplayError, match="A01 has no time in the record"):
        compiled(rows=rows)


@pytest.mark.parametrize("scale", [0.5, 0.01, 5000.0])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(ReplayError, match="out of range"):
        compile_replay(record(), replay_map(), scale=scale)


def test_scale_and_listeners_exclude_each_other() -> None:
    with pytest.raises(ReplayError, match="not both"):
        compile_replay(record(), replay_map(), scale=10, listeners=10)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ((event("A01"), event("A01")), "A01 stands here twice"),
        ((event("A01", after=("A02",)), event("A02")), "follows A02"),
        ((event("A01", source="rumour"),), "unknown source rumour"),
        (
            (event("A01", at=When(from_s=5, until_s=1, certainty=Certainty.STATED)),),
            "ends before it begins",
        ),
        ((event("A01", figure=replace(SIZE, value=2000.0)),), "outside its range"),
        ((event("A01", figure=replace(SIZE, since="A05")),), "A05, which is no entry"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    events: tuple[RecordEvent, ...], message: str
) -> None:
    with pytest.raises(ReplayError, match=message):
        check_record(record(*events))
