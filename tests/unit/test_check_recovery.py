"""Check recovery: both ways, never, unaffected, from effect and from healing."""

import pytest

from chaoskit.checks.judging import judge_all
from chaoskit.checks.summary import summarise
from chaoskit.model import CheckResult, CheckSpec, Verdict
from tests.unit.histories import HEARS_HOST, HOST, HandMade, check, drop, near

pytestmark = pytest.mark.unit


def judge(run: HandMade, spec: CheckSpec) -> CheckResult:
    return judge_all([spec], run.history())[0]


def cut(silent_s: float, *, hit: int = 40, listeners: int = 40) -> HandMade:
    """The host is cut at 20 s for 5 s; the first `hit` listeners hear nothing for `silent_s`."""
    run = HandMade(listeners=listeners, faults=[drop()])
    run.inject("drop-host", 20.0, 25.0)
    run.hear(run.listeners[:hit], 20.0, 20.0 + silent_s, 0)
    return run


def spec(**bounds: float) -> CheckSpec:
    return check("recovery", bounds, of="drop-host")


def test_recovery_holds_within_its_bound_and_deviates_outside() -> None:
    found = judge(cut(6.0), spec(p95_at_most_s=8.0))
    assert (found.verdict, found.observed, found.n) == (Verdict.HELD, near(6.0), 40)
    assert judge(cut(9.0), spec(p95_at_most_s=8.0)).verdict is Verdict.DEVIATED


def test_recovery_from_healing_counts_from_there() -> None:
    found = judge(cut(6.0), check("recovery", {"p95_at_most_s": 1.5}, of="drop-host", from_="heal"))
    assert (found.verdict, found.observed) == (Verdict.HELD, near(1.0))


def test_the_unaffected_count_as_zero_and_are_named() -> None:
    found = judge(cut(6.0, hit=1), spec(p95_at_most_s=1.0))
    assert (found.verdict, found.observed) == (Verdict.HELD, 0.0)
    assert "39 unaffected (0 s)" in found.note


def test_one_that_never_hears_again_is_never_and_the_worst_value() -> None:
    run = cut(6.0)
    run.hear([run.listeners[0]], 20.0, 60.0, 0)
    never = judge(run, spec(p95_at_most_s=8.0, never_at_most=0))
    assert (never.verdict, never.threshold) == (Verdict.DEVIATED, "p95 ≤ 8 s, never ≤ 0")
    assert "1 never heard again" in never.note
    allowed = judge(run, spec(p95_at_most_s=8.0, never_at_most=1))
    assert allowed.verdict is Verdict.HELD
    worst = judge(run, spec(max_at_most_s=60.0))
    assert (worst.verdict, worst.observed) == (Verdict.DEVIATED, None)


def test_who_never_came_counts_as_never() -> None:
    run = HandMade(listeners=20, faults=[drop()], quiet=True)
    run.inject("drop-host", 20.0, 25.0)
    run.join([HOST, *run.listeners[1:]], 0.5)
    run.hear(run.listeners[1:], 1.0, 60.0, HEARS_HOST)
    found = judge(run, spec(never_at_most=0))
    assert (found.verdict, found.n) == (Verdict.DEVIATED, 20)


def test_frames_nobody_judged_are_not_taken_for_recovery() -> None:
    run = cut(6.0)
    run.hear(run.listeners, 20.0, 60.0, 128)
    found = judge(run, spec(never_at_most=0))
    assert found.verdict is Verdict.DEVIATED
    assert "40 not judged (as never)" in found.note


def test_a_joint_clock_says_so() -> None:
    run = HandMade(faults=[drop("a"), drop("b")])
    run.inject("a", 20.0, 25.0)
    run.inject("b", 22.0, 28.0)
    run.hear(run.listeners, 20.0, 29.0, 0)
    found = judge(run, check("recovery", {"max_at_most_s": 10.0}, of="b"))
    assert (found.verdict, found.observed) == (Verdict.HELD, near(9.0))
    assert "joint clock of a, b" in found.note


def test_recovery_of_a_fault_that_was_never_injected_is_inconclusive() -> None:
    run = HandMade(faults=[drop()])
    assert judge(run, spec(never_at_most=0)).verdict is Verdict.INCONCLUSIVE


def test_in_a_room_is_the_stay_that_led_back_not_one_it_was_sent_away_from() -> None:
    run = cut(10.0)
    run.lose(run.listeners, 20.2, link="listeners.signal.room-a", why="reset")
    run.join(run.listeners, 21.0, why="lost")
    run.lose(run.listeners, 23.0, link="listeners.signal.room-a", why="kicked")
    run.join(run.listeners, 28.0, why="lost")
    rows = summarise(run.history())["recovery"]
    listeners = next(r for r in rows if r["group"] == "listeners" and r["from"] == "effect")
    assert listeners["steady_p50_s"] == near(10.0)
    assert listeners["joined_p50_s"] == near(8.0)
