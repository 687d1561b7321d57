"""The canary group: who it is, that it is no audience, how it is counted by phase of the fault."""

from dataclasses import replace

import pytest

from chaoskit.checks.canary import canary_rows
from chaoskit.checks.canary_group import CANARY, STAY_S, with_canary
from chaoskit.checks.summary import summarise
from chaoskit.errors import PlanRefused
from chaoskit.model import Experiment
from chaoskit.wire.facts import Attempt
from tests.unit.histories import ORIGIN_S, HandMade, drop

pytestmark = pytest.mark.unit


def night() -> HandMade:
    """A minute with a drop from 20 s to 30 s and canaries from 10 s on."""
    plain = HandMade(faults=[drop(at_s=20.0)], method_zero_s=10.0)
    run = HandMade.of(with_canary(plain.experiment), ear_delay_s=0.0)
    run.listeners = plain.listeners
    run.inject("drop-host", 20.0, 30.0)
    return run


def test_ten_canaries_take_turns_one_a_second_after_everybody_else_s_numbers() -> None:
    plain = HandMade(faults=[drop()], method_zero_s=10.0, end_s=3600.0)
    group = with_canary(plain.experiment).crowd.groups[-1]
    assert (group.name, group.role, group.first) == (CANARY, CANARY, max(plain.everyone) + 1)
    assert (group.count, group.arrive_from_s, group.arrive_over_s) == (10, 10.0, 10.0)
    assert (group.stay_s, group.every_s) == (STAY_S, 10.0)
    short = HandMade(faults=[drop()], method_zero_s=10.0, end_s=20.0)
    assert with_canary(short.experiment).crowd.groups[-1].count == 6


def test_canaries_never_take_a_sentinel_s_number() -> None:
    plain = HandMade(faults=[drop()], end_s=60.0, listeners=1).experiment
    crowd = plain.crowd

    def of(count: int) -> Experiment:
        public = replace(crowd.groups[-1], count=count)
        return replace(plain, crowd=replace(crowd, groups=(*crowd.groups[:-1], public)))

    assert with_canary(of(15_980)).crowd.groups[-1].members()[-1] == 15_999
    with pytest.raises(PlanRefused, match="16000 on belong to the harness"):
        with_canary(of(15_981))


def test_an_experiment_without_faults_gets_none() -> None:
    experiment = HandMade(method_zero_s=10.0).experiment
    assert with_canary(experiment) is experiment


def test_canaries_are_no_audience() -> None:
    run = night()
    canary = run.experiment.crowd.groups[-1]
    run.join(canary.members(), 12.0)
    found = summarise(run.history())
    assert found["listeners"]["planned"] == 20
    assert found["listeners"]["joined"] == 0
    assert run.history().members(["everyone"]) == (0, 1, 2, *run.listeners)
    assert {row["group"] for row in found["recovery"]} == {"host", "guest", "owner", "listeners"}


def test_canaries_are_counted_by_the_phase_in_which_they_tried() -> None:
    run = night()
    first = run.experiment.crowd.groups[-1].first
    run.join([first], 12.0)
    run.try_in_vain([first + 1, first + 2], 22.0)
    run.join([first + 3], 24.0)
    run.join([first + 4], 40.0)
    run.hear([first + 4], 40.0, 43.0, 1)
    rows = {row["phase"]: row for row in canary_rows(run.history())}
    assert {phase: (row["tried"], row["joined"], row["heard"]) for phase, row in rows.items()} == {
        "before": (1, 1, 0),
        "during": (3, 1, 0),
        "after": (1, 1, 1),
    }


def test_a_canary_that_comes_again_counts_each_time() -> None:
    run = night()
    one = run.experiment.crowd.groups[-1].first
    run.join([one], 12.0, took_s=0.2)
    run.hear([one], 12.5, 16.0, 1)
    run.leave([one], 16.0, "command")
    run.fact(Attempt(t=ORIGIN_S + 22.0, p=one, n=2, why="rejoin"))
    run.leave([one], 26.0, "command")
    run.join([one], 32.0, took_s=0.4, why="rejoin")
    run.leave([one], 33.0, "moved")
    run.join([one], 33.0, took_s=1.0, why="moved", generation=2)
    rows = {row["phase"]: row for row in canary_rows(run.history())}
    keys = ("tried", "joined", "heard", "join_max_s")
    assert {phase: tuple(row[k] for k in keys) for phase, row in rows.items()} == {
        "before": (1, 1, 1, 0.2),
        "during": (1, 0, 0, None),
        "after": (1, 1, 0, 0.4),
    }


def test_one_whose_time_was_not_up_at_the_end_says_nothing() -> None:
    run = night()
    run.try_in_vain([run.experiment.crowd.groups[-1].first], 58.0)
    assert canary_rows(run.history()) == []
