"""Valid before verdict: what makes a run inconclusive, and what does not."""

from dataclasses import replace

import pytest

from chaoskit.checks.summary import summarise
from chaoskit.checks.validity import judge_validity
from chaoskit.model import (
    ActionDone,
    ActionFailed,
    ActionSpec,
    At,
    FaultFailed,
    Observed,
    ServiceExited,
)
from chaoskit.wire.facts import Unsent
from tests.unit.histories import HOST, ORIGIN_S, SENTINEL, HandMade, drop, near

pytestmark = pytest.mark.unit


def reasons(run: HandMade) -> list[str]:
    return list(judge_validity(run.history()).reasons)


def test_a_quiet_run_with_a_proven_fault_is_valid() -> None:
    run = HandMade(faults=[drop()])
    run.inject("drop-host", 20.0, 30.0)
    validity = judge_validity(run.history())
    assert (validity.valid, validity.reasons) == (True, ())
    assert validity.harness.sentinel_clean
    assert (validity.harness.shards, validity.harness.max_lag_ms) == (2, 4.0)


def test_over_one_percent_unjudged_is_invalid_and_one_percent_is_not() -> None:
    run = HandMade()
    run.hear(run.listeners, 10.0, 10.58, 128)  # 0.58 of 59 s
    assert reasons(run) == []
    run.hear(run.listeners, 10.0, 10.62, 128)
    assert reasons(run) == [
        "1.1% of the listeners' frames are unjudged: the harness was late or its sentinel silent"
        " (limit 1%)"
    ]


def test_silence_beside_a_silent_sentinel_is_unjudged_not_silent() -> None:
    run = HandMade()
    run.hear(run.listeners, 10.0, 10.4, 0)
    assert summarise(run.history())["listeners"]["silent_listener_seconds"] == near(20 * 0.4)
    run.sentinel[500:520] = 0
    found = summarise(run.history())["listeners"]
    assert found["silent_listener_seconds"] == 0.0
    assert found["unjudged_listener_seconds"] == near(20 * 0.4)


def test_a_short_sentinel_gap_makes_nothing_unjudged() -> None:
    run = HandMade()
    run.hear(run.listeners, 10.0, 10.4, 0)
    run.sentinel[500:502] = 0
    assert summarise(run.history())["listeners"]["unjudged_listener_seconds"] == 0.0
    assert judge_validity(run.history()).harness.sentinel_clean


def test_from_the_first_audible_gap_of_a_sentinel_silence_within_100_ms_is_unjudged() -> None:
    run = HandMade()
    run.hear(run.listeners, 9.0, 11.0, 0)
    run.sentinel[500:503] = 0
    unjudged = summarise(run.history())["listeners"]["unjudged_listener_seconds"]
    assert unjudged == near(20 * 0.26)  # 60 ms, and 100 ms on either side
    assert not judge_validity(run.history()).harness.sentinel_clean


@pytest.mark.parametrize("code", [0, 64, 128, 255])
def test_a_sentinel_that_never_heard_makes_the_run_invalid(code: int) -> None:
    run = HandMade()
    run.sentinel[:] = code
    assert reasons(run) == ["the sentinel of crowd-listeners-0 never heard"]


def test_what_was_heard_beside_a_silent_sentinel_stays_heard() -> None:
    run = HandMade()
    run.sentinel[500:600] = 0
    assert reasons(run) == []
    assert judge_validity(run.history()).harness.sentinel_gap_s == near(2.0)


def test_too_much_silence_beside_a_silent_sentinel_is_invalid() -> None:
    run = HandMade()
    run.hear(run.listeners, 10.0, 10.62, 0)
    run.sentinel[500:531] = 0
    assert reasons(run) == [
        "1.1% of the listeners' frames are unjudged: the harness was late or its sentinel silent"
        " (limit 1%)"
    ]


def test_silence_where_frames_were_never_sent_is_unjudged_at_all_ears() -> None:
    run = HandMade(ear_delay_s=0.26)
    run.hear(run.listeners, 19.0, 22.0, 0)
    run.hear(run.listeners[:1], 19.0, 22.0, 1)
    run.fact(Unsent(t=ORIGIN_S + 20.0, p=HOST, s=1000, n=10))
    run.fact(Unsent(t=ORIGIN_S + 40.0, p=SENTINEL + 99, s=2000, n=10))  # no microphone of the crowd
    history = run.history()
    silent = history.codes[history.row(run.listeners[1])]
    # 200 ms from 20.26 s at the ear on, and 100 ms on either side
    assert set(silent[950:1008]) == {0}
    assert set(silent[1008:1028]) == {128}
    assert set(silent[1028:1100]) == {0}
    assert set(history.codes[history.row(run.listeners[0])][1000:1030]) == {1}
    assert judge_validity(history).harness.unsent_frames == 10


def test_a_dead_shard_is_invalid() -> None:
    run = HandMade(listeners=200)
    run.died_s["crowd-listeners-0"] = 59.5  # hardly anything is unjudged, but it did not stop
    assert reasons(run) == ["crowd shards died: crowd-listeners-0"]


def test_participants_in_no_shard_are_invalid() -> None:
    run = HandMade(listeners=2)
    run.shards["crowd-listeners-0"] = run.listeners[:1]
    assert "1 participants were in no crowd shard: p11" in reasons(run)


def test_a_crowd_process_or_proxy_that_ended_by_itself_is_invalid() -> None:
    run = HandMade()
    run.events.append(ServiceExited(at_s=9.0, service="room-a", exit=-9, expected=True))
    run.events.append(ServiceExited(at_s=59.0, service="crowd-speakers", exit=0, expected=True))
    assert reasons(run) == []
    run.events.append(ServiceExited(at_s=30.0, service="fault-proxy", exit=1, expected=False))
    assert reasons(run) == ["fault-proxy ended by itself (exit 1)"]


@pytest.mark.parametrize(("affected", "valid"), [(9, True), (8, False), (0, False)])
def test_a_fault_must_have_affected_nine_tenths_of_its_targets(affected: int, valid: bool) -> None:
    run = HandMade(faults=[drop()])
    run.inject("drop-host", 20.0, 30.0, affected=affected, targeted=10)
    assert (reasons(run) == []) is valid
    if not valid:
        assert f"{affected} of 10 links affected, seen by the crowd" in reasons(run)[0]


def test_a_fault_must_be_injected_in_place_and_proven() -> None:
    run = HandMade(faults=[drop()])
    assert reasons(run) == ["drop-host was never injected"]
    run.inject("drop-host", 20.0, 30.0, active=False)
    assert reasons(run) == ["drop-host was not in place when it was read back"]
    run = HandMade(faults=[drop()])
    run.inject("drop-host", 20.0, 30.0)
    run.events = [e for e in run.events if e.type != "fault_effect"]
    assert reasons(run) == ["drop-host is unproven: nobody saw an effect"]
    run.events.append(FaultFailed(at_s=20.1, fault_id="drop-host", error="409 epoch closed"))
    assert reasons(run) == ["drop-host failed: 409 epoch closed"]


def test_the_best_proof_counts_and_keeps_the_first_stamp() -> None:
    run = HandMade(faults=[drop()])
    run.inject("drop-host", 20.0, 30.0, affected=1, targeted=3)
    run.inject("drop-host", 20.0, 30.0, affected=3, targeted=3)
    run.inject("drop-host", 20.0, 30.0, affected=2, targeted=3)
    history = run.history()
    effect = history.faults["drop-host"].effect
    assert effect is not None
    assert (effect.affected, effect.first_s) == (3, 20.0)
    assert judge_validity(history).valid


def test_a_run_without_a_sentinel_is_invalid() -> None:
    history = replace(HandMade().history(), shards=(), sentinels={})
    assert "no sentinel watched the harness" in judge_validity(history).reasons


def test_an_operators_act_that_was_not_carried_out_is_invalid() -> None:
    act = ActionSpec(id="fresh-room", kind="fresh_room", trigger=At(at_s=5.0))
    run = HandMade(actions=(act,))
    assert reasons(run) == ["the operator's act fresh-room was not carried out"]
    run.events.append(ActionFailed(at_s=5.1, action_id="fresh-room", error="503 of directory"))
    assert reasons(run) == ["the operator's act fresh-room was not carried out: 503 of directory"]
    run.events.append(
        ActionDone(at_s=5.1, action_id="fresh-room", kind="fresh_room", result={"room": 2})
    )
    assert reasons(run) == []


def test_the_relay_s_largest_lag_is_told() -> None:
    run = HandMade()
    assert judge_validity(run.history()).harness.relay_lag_ms == 0.0
    run.events.append(Observed(at_s=5.0, probe="relay_lag", value=31.5))
    run.events.append(Observed(at_s=6.0, probe="relay_lag", value=24.0))
    assert judge_validity(run.history()).harness.relay_lag_ms == 31.5
