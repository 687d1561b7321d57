"""Pace: both directions, labels, and what may not be compressed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.replay.errors import ReplayError
from chaoskit.replay.pace import Act, Pace, Timer, check_timers, incident_label

pytestmark = pytest.mark.unit

ACTS = (
    Act(name="waiting", until_s=0.0, run_s=8.0),
    Act(name="real time", until_s=20.0, run_s=20.0),
    Act(name="idle", until_s=1780.0, run_s=10.0),
    Act(name="fresh room", until_s=1840.0, run_s=15.0),
)
PACE = Pace.of(-400.0, ACTS)


def test_knots_of_both_clocks_meet() -> None:
    assert [PACE.to_incident(t) for t in (0.0, 8.0, 28.0, 38.0, 53.0)] == [
        -400.0,
        0.0,
        20.0,
        1780.0,
        1840.0,
    ]
    assert PACE.end_s == 53.0


def test_speed_is_that_of_the_act_that_begins() -> None:
    assert [PACE.speed_at(t) for t in (0.0, 7.9, 8.0, 30.0, 38.0)] == [
        50.0,
        50.0,
        1.0,
        176.0,
        4.0,
    ]


def test_outside_the_acts_time_runs_as_it_is() -> None:
    assert PACE.to_incident(-1.0) == -401.0
    assert PACE.to_incident(55.0) == 1842.0
    assert (PACE.speed_at(-1.0), PACE.speed_at(60.0)) == (1.0, 1.0)


@given(st.floats(-10.0, 60.0))
def test_to_run_undoes_to_incident(run_s: float) -> None:
    assert PACE.to_run(PACE.to_incident(run_s)) == pytest.approx(run_s, abs=1e-6)


@st.composite
def paces(draw: st.DrawFn) -> Pace:
    begins = draw(st.floats(-1000.0, 1000.0))
    lengths = draw(
        st.lists(st.tuples(st.floats(0.5, 3600.0), st.floats(0.5, 60.0)), min_size=1, max_size=8)
    )
    acts, until = [], begins
    for i, (incident_s, run_s) in enumerate(lengths):
        until += incident_s
        acts.append(Act(name=f"act {i}", until_s=until, run_s=run_s))
    return Pace.of(begins, acts)


@given(paces(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_every_pace_is_monotonic_and_invertible(pace: Pace, a: float, b: float) -> None:
    first, second = sorted((a * pace.end_s, b * pace.end_s))
    assert pace.to_incident(first) <= pace.to_incident(second) + 1e-6
    assert pace.to_run(pace.to_incident(first)) == pytest.approx(first, abs=1e-5)


def test_an_act_that_takes_no_time_on_either_clock_is_refused() -> None:
    with pytest.raises(ReplayError, match="ends before it begins") as backwards:
        Pace.of(0.0, [Act(name="a", until_s=-1.0, run_s=1.0)])
    assert backwards.value.where == ("pace", 0, "until")
    with pytest.raises(ReplayError, match="takes no time"):
        Pace.of(0.0, [Act(name="a", until_s=1.0, run_s=0.0)])
    with pytest.raises(ReplayError, match="at least one act"):
        Pace.of(0.0, [])


def test_a_timer_must_not_be_pending_across_a_large_change_of_pace() -> None:
    check_timers(PACE, [Timer(name="lease", value_s=4.0, from_s=8.0)])
    with pytest.raises(ReplayError, match="from 1x to 176x at run time 28 s while lease") as found:
        check_timers(PACE, [Timer(name="lease", value_s=4.0, from_s=17.0)])
    assert found.value.where == ("timers", 0)


def test_a_change_of_pace_by_four_is_allowed_and_repeats_add_up() -> None:
    four = Pace.of(
        0.0,
        [Act(name="a", until_s=10.0, run_s=10.0), Act(name="b", until_s=50.0, run_s=10.0)],
    )
    check_timers(four, [Timer(name="poll", value_s=8.0, from_s=5.0)])
    check_timers(PACE, [Timer(name="poll", value_s=3.0, from_s=10.0, repeats=3)])
    with pytest.raises(ReplayError, match="pending"):
        check_timers(PACE, [Timer(name="poll", value_s=3.0, from_s=10.0, repeats=4)])


def test_labels_are_incident_time() -> None:
    assert [incident_label(t) for t in (-440.4, -0.2, 0.0, 59.6, 3599.6, 5680.0)] == [
        "T-07:20",
        "T+00:00",
        "T+00:00",
        "T+01:00",
        "T+1:00:00",
        "T+1:34:40",
    ]
    assert PACE.label(38.0) == "T+29:40"
