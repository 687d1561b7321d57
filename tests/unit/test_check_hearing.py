"""Checks audio_gap, audio_age, dead_air and heard_ratio: both ways, and who counts."""

import pytest

from chaoskit.checks.judging import judge_all, judge_gate
from chaoskit.model import CheckResult, CheckSpec, Segment, Verdict
from chaoskit.wire.facts import HeardSymbols, SentSymbol
from tests.unit.histories import FIRST, HEARS_HOST, HOST, ORIGIN_S, HandMade, check, near

pytestmark = pytest.mark.unit


def judge(run: HandMade, spec: CheckSpec) -> CheckResult:
    return judge_all([spec], run.history())[0]


# --- audio_gap ---

GAP_RUN = check("audio_gap", {"p99_at_most_s": 0.06}, during="run")
GAP_STEADY = check("audio_gap", {"p99_at_most_s": 0.06}, during="steady")


def test_audio_gap_holds_for_three_missing_frames_and_not_for_four() -> None:
    for missing_s, verdict in ((0.06, Verdict.HELD), (0.08, Verdict.DEVIATED)):
        run = HandMade(listeners=100)
        run.hear([FIRST, FIRST + 1], 5.0, 5.0 + missing_s, 0)
        found = judge(run, GAP_RUN)
        assert (found.verdict, found.observed) == (verdict, near(missing_s))
        assert (found.n, found.note) == (100, "audible 2")


def test_a_p99_of_fewer_than_a_hundred_is_the_maximum_and_says_so() -> None:
    run = HandMade(listeners=99)
    run.hear([FIRST], 5.0, 7.0, 0)
    found = judge(run, GAP_RUN)
    assert (found.verdict, found.observed) == (Verdict.DEVIATED, near(2.0))
    assert "too few for p99" in found.note


def test_a_listener_that_never_tried_misses_the_whole_window() -> None:
    run = HandMade(quiet=True)
    run.join([HOST, *run.listeners[1:]], 0.5)
    run.hear(run.listeners[1:], 1.0, 60.0, HEARS_HOST)
    found = judge(run, GAP_RUN)
    assert (found.verdict, found.observed) == (Verdict.DEVIATED, near(59.0))


def test_steady_gaps_leave_out_the_time_after_a_join_and_between_the_windows() -> None:
    run = HandMade(steady_again_s=10.0)
    run.hear(run.listeners, 9.8, 50.2, 0)  # 0.2 s in the gate, 0.2 s in the closing window
    assert judge(run, GAP_STEADY).observed == near(0.2)
    run = HandMade()
    run.join(run.listeners, 52.0, why="lost")
    run.hear(run.listeners, 52.0, 53.9, 0)
    assert judge(run, GAP_STEADY).verdict is Verdict.HELD


def test_a_howl_is_a_gap() -> None:
    run = HandMade()
    run.hear(run.listeners, 5.0, 6.0, 192)
    assert judge(run, GAP_RUN).observed == near(1.0)


def test_a_window_with_too_many_unjudged_frames_is_inconclusive() -> None:
    run = HandMade()
    run.hear(run.listeners, 5.0, 6.0, 128)
    found = judge(run, GAP_RUN)
    assert (found.verdict, found.n) == (Verdict.INCONCLUSIVE, 20)
    assert found.note == "1.7% of the frames were not judged in time"


def test_a_window_in_which_nothing_is_planned_is_inconclusive() -> None:
    run = HandMade(programme=[Segment(from_s=30.0, until_s=40.0, speakers=("host",))])
    found = judge_gate([GAP_STEADY], run.history(), from_s=5.0, until_s=15.0)
    assert [r.verdict for r in found] == [Verdict.INCONCLUSIVE]


# --- heard_ratio ---


def test_heard_ratio_pools_all_listener_seconds() -> None:
    run = HandMade(end_s=61.0)  # 60 s planned for each of 20
    run.hear(run.listeners[:10], 10.0, 13.0, 0)
    spec = check("heard_ratio", {"at_least": 0.97}, during="run")
    found = judge(run, spec)
    assert (found.verdict, found.observed) == (Verdict.HELD, near(1 - 30 / 1200))
    run.hear(run.listeners[:10], 10.0, 20.0, 64)
    assert judge(run, spec).verdict is Verdict.DEVIATED


def test_heard_ratio_counts_a_listener_that_never_tried_as_hearing_nothing() -> None:
    run = HandMade(quiet=True)
    run.join([HOST, *run.listeners[5:]], 0.5)
    run.hear(run.listeners[5:], 1.0, 60.0, HEARS_HOST)
    found = judge(run, check("heard_ratio", {"at_least": 0.9}, during="run"))
    assert (found.observed, found.n) == (near(0.75), 20)


def test_hearing_somebody_who_is_not_planned_is_not_hearing_the_programme() -> None:
    run = HandMade()
    run.hear(run.listeners, 1.0, 60.0, 2)
    assert judge(run, check("heard_ratio", {"at_least": 0.9}, during="run")).observed == 0.0


# --- dead_air ---


def test_dead_air_is_when_nobody_hears() -> None:
    run = HandMade()
    run.hear(run.listeners[1:], 10.0, 30.0, 0)
    spec = check("dead_air", {"at_most_s": 5.0})
    assert judge(run, spec).verdict is Verdict.HELD  # one still hears
    run.hear([FIRST], 12.0, 18.0, 0)
    found = judge(run, spec)
    assert (found.verdict, found.observed) == (Verdict.DEVIATED, near(6.0))


def test_a_pause_of_the_programme_is_no_dead_air() -> None:
    programme = [
        Segment(from_s=1.0, until_s=20.0, speakers=("host",)),
        Segment(from_s=40.0, until_s=60.0, speakers=("host",)),
    ]
    run = HandMade(programme=programme)
    run.hear(run.listeners, 20.0, 40.0, 0)
    assert judge(run, check("dead_air", {"at_most_s": 0.0})).verdict is Verdict.HELD


def test_dead_air_of_a_part_of_the_audience_can_be_asked_for() -> None:
    run = HandMade()
    run.hear(run.listeners[1:], 10.0, 30.0, 0)
    found = judge(run, check("dead_air", {"at_most_s": 5.0, "heard_by": 0.5}))
    assert found.observed == near(20.0)


# --- audio_age ---


def aged(run: HandMade, age_s: float, who: tuple[int, ...]) -> None:
    """Let the host send a symbol a slot and `who` play each of them `age_s` later."""
    for second in range(1, 59):
        sent = SentSymbol(t=ORIGIN_S + second, p=HOST, band=0, index=50 * second)
        run.fact(sent)
        slot = round((second + age_s) / 0.02) + 5
        heard = [50 * second + 5] * len(who)
        none = [0.0] * len(who)
        run.fact(
            HeardSymbols(
                t=ORIGIN_S + second,
                s=slot,
                p=list(who),
                band=[0] * len(who),
                index=heard,
                arrival_ms=none,
            )
        )


def test_audio_age_is_the_time_from_sending_to_playing() -> None:
    run = HandMade()
    aged(run, 0.28, run.listeners)
    found = judge(run, check("audio_age", {"p95_at_most_s": 0.3}, during="run"))
    assert (found.verdict, found.observed) == (Verdict.HELD, near(0.28))
    assert judge(run, check("audio_age", {"p50_at_most_s": 0.2}, during="run")).verdict is (
        Verdict.DEVIATED
    )


def test_a_listener_that_heard_no_symbol_has_the_worst_age() -> None:
    run = HandMade()
    aged(run, 0.28, run.listeners[1:])
    found = judge(run, check("audio_age", {"max_at_most_s": 5.0}, during="run"))
    assert (found.verdict, found.observed) == (Verdict.DEVIATED, None)
    assert "1 heard nothing" in found.note


def test_without_any_symbol_the_age_is_inconclusive() -> None:
    found = judge(HandMade(), check("audio_age", {"max_at_most_s": 5.0}))
    assert found.verdict is Verdict.INCONCLUSIVE


def test_the_age_survives_a_microphone_that_started_anew() -> None:
    run = HandMade(listeners=1)
    for t, index in ((10.0, 100), (11.0, 150), (20.0, 40)):
        run.fact(SentSymbol(t=ORIGIN_S + t, p=HOST, band=0, index=index))
    slot = round((20.1 + 0.3) / 0.02)
    run.fact(
        HeardSymbols(t=ORIGIN_S + 20.4, s=slot, p=[FIRST], band=[0], index=[45], arrival_ms=[0.0])
    )
    found = judge(run, check("audio_age", {"max_at_most_s": 5.0}, during="run"))
    assert found.observed == near(0.3)


def test_symbols_outside_the_window_or_of_unknown_senders_have_no_age() -> None:
    run = HandMade(listeners=1)
    run.fact(SentSymbol(t=ORIGIN_S + 2.0, p=HOST, band=0, index=100))
    for slot, band, index in ((105, 0, 100), (1105, 0, 100), (2000, 1, 5), (2000, 0, 30000)):
        run.fact(
            HeardSymbols(
                t=ORIGIN_S, s=slot, p=[FIRST], band=[band], index=[index], arrival_ms=[0.0]
            )
        )
    run.fact(SentSymbol(t=ORIGIN_S + 2.0, p=HOST, band=0, index=32768 + 100))
    part = run.history().within(1.0, 5.0)
    found = judge_all([check("audio_age", {"max_at_most_s": 5.0}, during="run")], part)[0]
    assert (found.observed, found.n) == (near(0.1), 1)


@pytest.mark.parametrize(
    ("kind", "params"), [("dead_air", {"at_most_s": 1.0}), ("heard_ratio", {"at_least": 0.9})]
)
def test_what_cannot_be_measured_is_inconclusive(kind: str, params: dict[str, float]) -> None:
    unjudged = HandMade()
    unjudged.hear(unjudged.listeners, 5.0, 6.0, 128)
    found = judge(unjudged, check(kind, params, during="run"))
    assert (found.verdict, found.observed) == (Verdict.INCONCLUSIVE, None)
    assert "not judged in time" in found.note
    unplanned = HandMade(programme=[Segment(from_s=1.0, until_s=1.0, speakers=("host",))])
    found = judge(unplanned, check(kind, params, during="run"))
    assert (found.verdict, found.note) == (
        Verdict.INCONCLUSIVE,
        "nothing was due in the window",
    )
