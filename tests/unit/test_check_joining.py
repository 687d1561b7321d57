"""Checks join_success and join_time: both ways, and who counts."""

from dataclasses import replace

import pytest

from chaoskit.checks.judging import judge_all
from chaoskit.model import CheckResult, CheckSpec, Verdict
from tests.unit.histories import FIRST, HOST, HandMade, check, near

pytestmark = pytest.mark.unit


def judge(run: HandMade, spec: CheckSpec) -> CheckResult:
    return judge_all([spec], run.history())[0]


def test_join_success_holds_when_everybody_is_in_a_room_at_the_end() -> None:
    found = judge(HandMade(), check("join_success", {"at_least": 0.99}))
    assert (found.verdict, found.observed, found.n) == (Verdict.HELD, 1.0, 20)


def test_join_success_counts_those_who_never_tried_and_those_who_lost_the_room() -> None:
    run = HandMade(quiet=True)
    run.join(run.listeners[2:], 1.0)
    run.lose([run.listeners[2]], 50.0, link="listeners.signal.room-a", why="reset")
    found = judge(run, check("join_success", {"at_least": 0.99}))
    assert (found.verdict, found.observed, found.n) == (Verdict.DEVIATED, 17 / 20, 20)
    assert found.note == "17 of 20"


def test_leaving_with_the_end_of_the_run_is_no_failure_and_leaving_before_is() -> None:
    run = HandMade()
    run.leave(run.listeners, 59.5, "end")
    assert judge(run, check("join_success", {"at_least": 1.0})).verdict is Verdict.HELD
    run = HandMade()
    run.leave(run.listeners, 50.0, "command")
    assert judge(run, check("join_success", {"at_least": 1.0})).observed == 0.0


def test_join_success_of_a_gate_leaves_out_who_is_planned_to_arrive_later() -> None:
    run = HandMade(listeners=4, quiet=True)
    group = run.experiment.crowd.groups[3]
    later = [g for g in run.experiment.crowd.groups if g is not group]
    slow = replace(group, arrive_from_s=0.0, arrive_over_s=40.0)  # at 0, 10, 20, 30 s
    run.experiment = replace(
        run.experiment, crowd=replace(run.experiment.crowd, groups=(*later, slow))
    )
    run.join([FIRST, FIRST + 1], 11.0)
    part = run.history().within(5.0, 15.0)
    found = judge_all([check("join_success", {"at_least": 1.0}, during="steady")], part)[0]
    assert (found.verdict, found.n) == (Verdict.HELD, 2)


def test_join_time_takes_the_slowest_join_of_each_participant() -> None:
    run = HandMade(quiet=True)
    run.join(run.listeners, 1.0, took_s=0.4)
    run.join([run.listeners[0]], 20.0, took_s=3.0, why="lost")
    held = judge(run, check("join_time", {"p50_at_most_s": 0.5, "max_at_most_s": 4.0}))
    assert (held.verdict, held.observed, held.n) == (Verdict.HELD, near(0.4), 20)
    late = judge(run, check("join_time", {"p50_at_most_s": 0.5, "max_at_most_s": 2.0}))
    assert (late.verdict, late.observed) == (Verdict.DEVIATED, near(3.0))


def test_join_time_counts_from_the_first_of_several_tries() -> None:
    run = HandMade(listeners=1, quiet=True)
    run.try_in_vain([FIRST], 1.0)
    run.try_in_vain([FIRST], 2.0)
    run.join([FIRST], 4.0, took_s=0.5)
    assert judge(run, check("join_time", {"max_at_most_s": 9.0})).observed == near(3.5)


def test_who_never_got_in_or_never_tried_is_the_worst_join_time() -> None:
    run = HandMade(quiet=True)
    run.join(run.listeners[:18], 1.0, took_s=0.2)
    run.try_in_vain([run.listeners[18]], 1.0)
    found = judge(run, check("join_time", {"p95_at_most_s": 60.0}))
    assert (found.verdict, found.observed, found.n) == (Verdict.DEVIATED, None, 20)
    assert found.note.startswith("never")


def test_a_p95_of_fewer_than_twenty_is_the_maximum_and_says_so() -> None:
    run = HandMade(listeners=19, quiet=True)
    run.join(run.listeners[1:], 1.0, took_s=0.1)
    run.join([run.listeners[0]], 1.0, took_s=9.0)
    found = judge(run, check("join_time", {"p95_at_most_s": 1.0}))
    assert (found.observed, found.verdict) == (near(9.0), Verdict.DEVIATED)
    assert "n 19 is too few for p95: the maximum is used" in found.note


def test_join_time_without_any_join_in_the_window_is_inconclusive() -> None:
    part = HandMade().history().within(30.0, 40.0)
    found = judge_all([check("join_time", {"max_at_most_s": 1.0}, during="steady")], part)[0]
    assert found.verdict is Verdict.INCONCLUSIVE


def test_the_population_may_be_any_group_or_everyone() -> None:
    run = HandMade()
    spec = check("join_success", {"at_least": 1.0}, members=("host", "guest"))
    assert judge(run, spec).n == 2
    everyone = check("join_success", {"at_least": 1.0}, members=("everyone",))
    assert judge(run, everyone).n == 23
    run.lose([HOST], 30.0, link="host.signal.room-a", why="reset")
    assert judge(run, spec).observed == 0.5


def test_join_success_before_anybody_is_planned_to_arrive_is_inconclusive() -> None:
    run = HandMade(listeners=2)
    groups = tuple(replace(g, arrive_from_s=20.0) for g in run.experiment.crowd.groups)
    run.experiment = replace(run.experiment, crowd=replace(run.experiment.crowd, groups=groups))
    part = run.history().within(1.0, 10.0)
    found = judge_all([check("join_success", {"at_least": 1.0})], part)[0]
    assert (found.verdict, found.note) == (
        Verdict.INCONCLUSIVE,
        "nobody was planned to have arrived",
    )


def test_join_success_of_two_windows_is_the_worse() -> None:
    run = HandMade(listeners=2)
    run.lose([FIRST], 9.0, link="listeners.signal.room-a", why="reset")
    run.join([FIRST], 20.0, why="lost")
    found = judge(run, check("join_success", {"at_least": 0.9}, during="steady"))
    assert (found.verdict, found.observed) == (Verdict.DEVIATED, 0.5)
