"""Parameters of checks, the registry, and what happens when a check cannot be judged."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from chaoskit.checks.history import History
from chaoskit.checks.judging import is_for_gate, judge_all, judge_gate, verdict_of
from chaoskit.checks.population import judge_bounds, judge_share, seconds_text, statistic
from chaoskit.checks.protocol import Check, ParamError
from chaoskit.checks.registry import KINDS, check_class
from chaoskit.model import CheckResult, Verdict
from tests.unit.histories import HandMade, check

pytestmark = pytest.mark.unit


def test_every_kind_is_registered_under_its_own_name() -> None:
    assert set(KINDS) == {
        "join_success",
        "join_time",
        "audio_gap",
        "audio_age",
        "dead_air",
        "heard_ratio",
        "fresh_room",
        "recovery",
        "no_ghosts",
        "retention",
        "first_word",
    }
    for kind, cls in KINDS.items():
        known: type[Check] = check_class(kind)
        assert known.kind == kind
        assert all(f.name for f in fields(cls.params))


def test_an_unknown_kind_has_no_class() -> None:
    with pytest.raises(KeyError):
        check_class("join_sucess")


@pytest.mark.parametrize(
    ("kind", "params", "common", "message"),
    [
        ("join_success", {}, {}, "needs at_least"),
        ("join_success", {"at_least": 1.5}, {}, "must be 0 to 1"),
        ("join_success", {"at_least": "lots"}, {}, "cannot be 'lots'"),
        ("join_success", {"at_least": True}, {}, "cannot be True"),
        ("join_success", {"at_least": 0.9, "p95": 1.0}, {}, "has no parameter p95"),
        ("join_success", {"at_least": 0.9}, {"members": ()}, "nobody in its population"),
        ("join_success", {"at_least": 0.9}, {"from_": "start"}, "from is effect or heal"),
        ("audio_gap", {}, {}, "needs a bound"),
        ("audio_gap", {"p99_at_most_s": -0.1}, {}, "must be 0 or more"),
        ("recovery", {"never_at_most": 0}, {}, "needs the fault"),
        ("recovery", {"never_at_most": 0.5}, {"of": "x"}, "cannot be 0.5"),
        ("fresh_room", {"within_s": 3.0}, {}, "needs the fault"),
        ("first_word", {"within_s": 3.0}, {}, "needs speaker"),
        ("first_word", {"speaker": "guest", "within_s": 3.0, "at_least": 0}, {}, "by nobody"),
    ],
)
def test_what_a_check_cannot_use_is_refused(
    kind: str, params: Mapping[str, Any], common: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ParamError, match=message):
        check_class(kind).parse(check(kind, params, **common))


def test_a_check_that_cannot_be_read_is_inconclusive_and_spoils_no_other() -> None:
    history = HandMade().history()
    good = check("join_success", {"at_least": 1.0})
    found = judge_all(
        [
            check("join_sucess"),
            check("join_success", {"at_least": 3}),
            check("recovery", {"never_at_most": 0}, of="no-such-fault"),
            check("join_success", {"at_least": 1.0}, members=("bystanders",)),
            good,
        ],
        history,
    )
    assert [r.verdict for r in found] == [Verdict.INCONCLUSIVE] * 4 + [Verdict.HELD]
    assert "no such group or role: bystanders" in found[3].note


def test_a_check_that_crashes_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: object, history: History) -> CheckResult:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr(KINDS["join_success"], "judge", crash)
    found = judge_all([check("join_success", {"at_least": 1.0})], HandMade().history())
    assert found[0].verdict is Verdict.INCONCLUSIVE
    assert "ZeroDivisionError: by design" in found[0].note


def test_a_gate_judges_only_what_is_about_a_steady_state() -> None:
    specs = [
        check("join_success", {"at_least": 0.99}),
        check("audio_gap", {"p99_at_most_s": 0.06}, during="steady"),
        check("heard_ratio", {"at_least": 0.9}, during="drop-host"),
        check("recovery", {"never_at_most": 0}, of="drop-host"),
        check("first_word", {"speaker": "guest", "within_s": 1.0}),
        check("no_such_kind"),
    ]
    assert [is_for_gate(s) for s in specs] == [True, True, False, False, False, False]
    found = judge_gate(specs, HandMade(listeners=100).history(), from_s=3.0, until_s=13.0)
    assert [(r.name, r.verdict) for r in found] == [
        ("join_success", Verdict.HELD),
        ("audio_gap", Verdict.HELD),
    ]


def test_a_gate_sees_only_its_own_window() -> None:
    run = HandMade(listeners=100)
    run.hear(run.listeners, 20.0, 25.0, 0)
    gap = check("audio_gap", {"p99_at_most_s": 0.06}, during="steady")
    history = run.history()
    assert judge_gate([gap], history, from_s=5.0, until_s=15.0)[0].verdict is Verdict.HELD
    assert judge_gate([gap], history, from_s=15.0, until_s=25.0)[0].verdict is Verdict.DEVIATED


def test_an_invalid_run_is_inconclusive_whatever_its_checks_say() -> None:
    history = HandMade().history()
    held = judge_all([check("join_success", {"at_least": 1.0})], history)
    bad = judge_all([check("dead_air", {"at_most_s": 0.0}, members=("guest",))], history)
    assert verdict_of(held, valid=True) is Verdict.HELD
    assert verdict_of([*held, *bad], valid=True) is Verdict.DEVIATED
    assert verdict_of([*held, *bad], valid=False) is Verdict.INCONCLUSIVE
    assert verdict_of([], valid=True) is Verdict.INCONCLUSIVE


def test_quantiles_are_values_that_somebody_had() -> None:
    values = [float(v) for v in range(1, 101)]
    assert statistic(values, "p95").value == 96.0
    assert statistic(values, "p99").value == 100.0
    assert statistic([1.0, float("inf")], "p50").value == float("inf")
    with pytest.raises(ValueError, match="nobody"):
        statistic([], "max")


def test_shares_and_times_of_nobody_are_inconclusive() -> None:
    spec = check("fresh_room", {"within_s": 1.0}, of="x")
    found = judge_share(spec, 0, 0, 0.5)
    assert (found.verdict, found.note) == (Verdict.INCONCLUSIVE, "nobody in the population")
    found = judge_bounds(spec, [], {"max": 1.0}, unit="s")
    assert (found.verdict, found.threshold) == (Verdict.INCONCLUSIVE, "max ≤ 1 s")
    assert seconds_text(float("inf")) == "never"
