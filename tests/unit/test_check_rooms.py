"""Checks fresh_room, retention, first_word and no_ghosts: both ways, and who counts."""

from dataclasses import replace

import pytest

from chaoskit.checks.judging import judge_all
from chaoskit.model import CheckResult, CheckSpec, Observed, Segment, Verdict
from tests.unit.histories import (
    FIRST,
    GUEST,
    HEARS_GUEST,
    HEARS_HOST,
    HOST,
    HandMade,
    check,
    drop,
    near,
)

pytestmark = pytest.mark.unit


def judge(run: HandMade, spec: CheckSpec) -> CheckResult:
    return judge_all([spec], run.history())[0]


def moving(*, found: int, after_s: float = 5.0) -> HandMade:
    """20 listeners; the host is cut at 20 s; `found` of them join a fresh room `after_s` later."""
    run = HandMade(faults=[drop()])
    run.inject("drop-host", 20.0, 30.0)
    run.join([GUEST], 21.0, generation=2, why="moved")
    run.hear(run.listeners, 20.0, 60.0, 0)
    who = run.listeners[:found]
    run.join(who, 20.0 + after_s, generation=2, why="moved")
    run.hear(who, 20.0 + after_s + 0.5, 60.0, HEARS_HOST)
    return run


# --- fresh_room ---

FRESH = check("fresh_room", {"within_s": 10.0, "at_least": 0.95}, of="drop-host")


def test_fresh_room_holds_when_enough_are_there_in_time() -> None:
    found = judge(moving(found=19), FRESH)
    assert (found.verdict, found.observed, found.n) == (Verdict.HELD, 0.95, 20)


def test_fresh_room_counts_who_came_late_or_never() -> None:
    assert judge(moving(found=18), FRESH).verdict is Verdict.DEVIATED
    late = judge(moving(found=20, after_s=11.0), FRESH)
    assert (late.verdict, late.observed) == (Verdict.DEVIATED, 0.0)


def test_rejoining_the_same_room_is_no_fresh_room() -> None:
    run = HandMade(faults=[drop()])
    run.inject("drop-host", 20.0, 30.0)
    run.join(run.listeners, 22.0, why="lost")
    assert judge(run, FRESH).observed == 0.0


def test_fresh_room_from_healing_counts_from_there() -> None:
    spec = check("fresh_room", {"within_s": 1.0}, of="drop-host", from_="heal")
    assert judge(moving(found=20, after_s=10.5), spec).verdict is Verdict.HELD


def test_fresh_room_of_a_fault_that_was_never_injected_is_inconclusive() -> None:
    assert judge(HandMade(faults=[drop()]), FRESH).verdict is Verdict.INCONCLUSIVE


# --- retention ---


def test_retention_is_by_identity_of_those_in_the_first_room() -> None:
    run = moving(found=15)
    spec = check("retention", {"at_least": 0.75}, of="drop-host")
    assert (judge(run, spec).verdict, judge(run, spec).observed) == (Verdict.HELD, 0.75)
    tighter = check("retention", {"at_least": 0.8})
    assert judge(run, tighter).verdict is Verdict.DEVIATED


def test_newcomers_of_the_fresh_room_do_not_raise_retention() -> None:
    run = HandMade(faults=[drop()], quiet=True)
    old, new = run.listeners[:10], run.listeners[10:]
    run.join([HOST, *old], 0.5)
    run.join(new, 40.0, generation=2)
    run.hear(new, 41.0, 60.0, HEARS_HOST)
    found = judge(run, check("retention", {"at_least": 0.1}))
    assert (found.observed, found.n, found.verdict) == (0.0, 10, Verdict.DEVIATED)


def test_being_in_the_fresh_room_without_hearing_is_not_retained() -> None:
    run = moving(found=20)
    run.hear(run.listeners, 25.0, 60.0, 0)
    assert judge(run, check("retention", {"at_least": 0.5})).observed == 0.0


def test_retention_within_a_time_leaves_out_who_hears_later() -> None:
    run = moving(found=20, after_s=15.0)
    assert judge(run, check("retention", {"at_least": 1.0, "within_s": 14.0})).observed == 0.0
    assert judge(run, check("retention", {"at_least": 1.0, "within_s": 16.0})).observed == 1.0


def test_retention_without_a_fresh_room_is_nobody() -> None:
    found = judge(HandMade(), check("retention", {"at_least": 0.5}))
    assert (found.verdict, found.observed) == (Verdict.DEVIATED, 0.0)
    assert "no fresh room was opened" in found.note


# --- first_word ---

WORD = check("first_word", {"speaker": "guest", "within_s": 20.0})


def talking(hear: int, at_s: float) -> HandMade:
    run = HandMade(
        method_zero_s=10.0,
        programme=[Segment(from_s=1.0, until_s=60.0, speakers=("host", "guest"))],
    )
    run.hear(run.listeners[:hear], at_s, at_s + 5.0, HEARS_HOST | HEARS_GUEST)
    return run


def test_first_word_counts_from_the_methods_zero_and_for_nearly_all() -> None:
    found = judge(talking(20, 25.0), WORD)
    assert (found.verdict, found.observed) == (Verdict.HELD, near(15.0))
    assert judge(talking(20, 31.0), WORD).verdict is Verdict.DEVIATED


def test_the_first_word_counts_from_when_it_was_said() -> None:
    run = talking(20, 25.0)
    run.ear_delay_s = 0.26
    assert judge(run, WORD).observed == near(14.74)
    # Heard after the method's zero at 10 s, but said before.
    run = talking(0, 25.0)
    run.ear_delay_s = 0.26
    run.hear(run.listeners, 10.02, 10.2, HEARS_GUEST)
    assert judge(run, WORD).observed is None


def test_a_listener_that_never_hears_the_word_is_the_worst() -> None:
    found = judge(talking(19, 25.0), WORD)
    assert (found.verdict, found.observed, found.n) == (Verdict.DEVIATED, None, 20)
    assert "19 of 20 ever heard guest" in found.note
    half = check("first_word", {"speaker": "guest", "within_s": 20.0, "at_least": 0.5})
    assert judge(talking(19, 25.0), half).verdict is Verdict.HELD


def test_a_blip_shorter_than_100_ms_is_no_word() -> None:
    run = talking(0, 25.0)
    run.hear(run.listeners, 12.0, 12.08, HEARS_GUEST)
    assert judge(run, WORD).observed is None


def test_a_word_for_nobody_is_inconclusive() -> None:
    run = talking(20, 25.0)
    crowd = run.experiment.crowd
    empty = tuple(replace(g, count=0) if g.name == "listeners" else g for g in crowd.groups)
    run.experiment = replace(run.experiment, crowd=replace(crowd, groups=empty))
    assert judge(run, WORD).note == (
        "nobody in the population: the crowd has no member in listener"
    )
    renamed = tuple(replace(g, role="owner") if g.name == "listeners" else g for g in crowd.groups)
    run.experiment = replace(run.experiment, crowd=replace(crowd, groups=renamed))
    assert judge(run, WORD).note == "nobody in the population: no such group or role: listener"


def test_the_audience_is_a_role_however_its_group_is_called() -> None:
    run = talking(20, 25.0)
    crowd = run.experiment.crowd
    renamed = tuple(replace(g, name="public") if g.name == "listeners" else g for g in crowd.groups)
    run.experiment = replace(run.experiment, crowd=replace(crowd, groups=renamed))
    assert (judge(run, WORD).verdict, judge(run, WORD).n) == (Verdict.HELD, 20)


def test_a_word_of_somebody_without_a_voice_is_inconclusive() -> None:
    spec = check("first_word", {"speaker": "listeners", "within_s": 20.0})
    assert judge(talking(20, 25.0), spec).verdict is Verdict.INCONCLUSIVE


# --- no_ghosts ---

GHOSTS = check("no_ghosts", {"within_s": 5.0}, of="drop-host", from_="heal", members=("everyone",))


def haunted(until_s: float) -> HandMade:
    """The host is out from 20.5 s on; the room lists it until `until_s`; looks every second."""
    run = HandMade(faults=[drop()])
    run.inject("drop-host", 20.0, 30.0)
    run.lose([HOST], 20.5, link="host.signal.room-a", why="reset")
    for second in range(15, 60):
        listed = {str(k): False for k in run.everyone if k != HOST or second <= until_s}
        run.events.append(
            Observed(at_s=float(second), probe="participants:room-a:1001", value=listed)
        )
    return run


def test_a_ghost_that_is_gone_in_time_is_none() -> None:
    found = judge(haunted(34.0), GHOSTS)
    assert (found.verdict, found.observed) == (Verdict.HELD, near(4.0))


def test_a_ghost_that_stays_deviates_and_is_named() -> None:
    found = judge(haunted(40.0), GHOSTS)
    assert (found.verdict, found.observed) == (Verdict.DEVIATED, near(10.0))
    assert "still listed: p0" in found.note


def test_a_room_nobody_looked_at_is_inconclusive() -> None:
    run = haunted(34.0)
    run.events = [e for e in run.events if not isinstance(e, Observed) or e.at_s < 33.0]
    assert judge(run, GHOSTS).verdict is Verdict.INCONCLUSIVE
    run.events.append(
        Observed(at_s=50.0, probe="participants:room-a:1001", value=None, error="timeout")
    )
    assert judge(run, GHOSTS).verdict is Verdict.INCONCLUSIVE


def test_who_was_there_a_moment_ago_is_no_ghost() -> None:
    run = haunted(34.0)
    run.lose([FIRST], 49.5, link="listeners.signal.room-a", why="reset")
    found = judge(run, GHOSTS)
    # Listed at 50 s, half a second after it noticed: not a ghost; at 51 s it is one.
    assert found.observed == near(29.0)


def test_listed_in_the_old_room_while_in_the_new_one_is_a_ghost() -> None:
    run = haunted(34.0)
    run.join([FIRST], 45.0, generation=2, why="moved")
    assert judge(run, GHOSTS).verdict is Verdict.DEVIATED


def test_ghosts_of_a_fault_that_was_never_healed_are_inconclusive() -> None:
    run = HandMade(faults=[drop()])
    run.inject("drop-host", 20.0, None)
    found = judge(run, GHOSTS)
    assert (found.verdict, found.note) == (Verdict.INCONCLUSIVE, "drop-host has no heal")


def test_retention_needs_a_fault_that_happened_and_somebody_in_the_first_room() -> None:
    never = judge(HandMade(faults=[drop()]), check("retention", {"at_least": 1}, of="drop-host"))
    assert (never.verdict, never.note) == (Verdict.INCONCLUSIVE, "drop-host was never injected")
    nobody = judge(HandMade(quiet=True), check("retention", {"at_least": 1}))
    assert nobody.verdict is Verdict.INCONCLUSIVE
