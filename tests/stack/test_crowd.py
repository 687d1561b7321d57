"""A crowd on the real embedded stack: it joins, hears, notices what breaks, and comes back."""

import itertools
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaoskit.audio.listening import ABSENT, CONCEALED, SILENT, UNJUDGED
from chaoskit.model import SLOT_S
from chaoskit.services.crowd.playout import slot_at
from chaoskit.wire.crowd import Command, GroupPlan, MicPlan, ParticipantPlan
from chaoskit.wire.facts import (
    Attempt,
    ConnectFailed,
    Fact,
    FirstFrame,
    Found,
    HeardSymbols,
    Joined,
    Left,
    LookedUp,
    Lost,
    Mark,
    MicChanged,
    Net,
    Rejected,
    SentSymbol,
    ShardStarted,
    ShardStopped,
    SignalUp,
    Stage,
    Unsent,
)
from tests.stack.crowd_rig import CrowdStack, codes_of

pytestmark = pytest.mark.stack

HOST, GUEST, FIRST = 0, 1, 10
LISTENERS = range(FIRST, FIRST + 20)
SPEAKERS_SHARD, LISTENERS_SHARD = "crowd-speakers", "crowd-listeners-0"
LEAD_S = 1.5
"""From the plan to run time 0: long enough for a shard to start."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[CrowdStack]:
    made = CrowdStack(tmp_path)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CrowdStack, float]]:
    """One crowd that several tests disturb, each leaving it as it was; with the run's origin."""
    made = CrowdStack(tmp_path_factory.mktemp("living"))
    try:
        origin_s = start(made)
        wait_all_hear(made)
        yield made, origin_s
        _, listeners = end(made)
        # Whatever happened to it, nobody lost more than sound.
        assert not of_kind(listeners, Lost)
    finally:
        made.stop()


def start(
    stack: CrowdStack,
    *,
    directory: dict[str, Any] | None = None,
    speaker_rules: dict[str, Any] | None = None,
    listener_rules: dict[str, Any] | None = None,
    end_s: float = 600.0,
) -> float:
    """Start stack and crowd: host (band 0), guest (band 1), listeners. Return the run's origin."""
    stack.start(
        ["host", "guest", "listeners"],
        sentinels=[f"sentinel-{LISTENERS_SHARD}"],
        candidates=[f"p{HOST}"],
        speakers=[f"p{HOST}", f"p{GUEST}"],
        directory=directory,
    )
    origin_s = time.monotonic() + LEAD_S
    quick = {"reconnect": "fixed", "base_s": 0.2, "heartbeat_s": 0.3, "join_timeout_s": 5.0}
    quick |= speaker_rules or {}
    speakers: list[GroupPlan] = [
        stack.group("host", "host", **quick),
        stack.group("guest", "guest", **quick),
    ]
    stack.start_shard(
        SPEAKERS_SHARD,
        speakers,
        [
            ParticipantPlan(k=HOST, group="host", arrive_s=0.0, band=0, candidate=True),
            ParticipantPlan(k=GUEST, group="guest", arrive_s=0.2, band=1),
        ],
        origin_s=origin_s,
        end_s=end_s,
        script=[MicPlan(at_s=0.0, k=k, mic="beacon") for k in (HOST, GUEST)],
    )
    rules = {"base_s": 0.2, "cap_s": 0.5, "join_timeout_s": 5.0} | (listener_rules or {})
    stack.start_shard(
        LISTENERS_SHARD,
        [stack.group("listeners", "listener", **rules)],
        [
            ParticipantPlan(k=k, group="listeners", arrive_s=0.5 + 0.02 * i)
            for i, k in enumerate(LISTENERS)
        ],
        index=1,
        origin_s=origin_s,
        end_s=end_s,
        sentinel=True,
    )
    for shard in (SPEAKERS_SHARD, LISTENERS_SHARD):
        stack.wait_ready(shard)
    return origin_s


def wait_all_hear(stack: CrowdStack, generation: int = 1) -> None:
    """Wait until every listener heard a beacon in the room of `generation`."""

    def first(fact: Fact) -> bool:
        return isinstance(fact, FirstFrame) and fact.generation == generation

    stack.wait_fact(LISTENERS_SHARD, first, count=len(LISTENERS))


def wait_codes(stack: CrowdStack, wanted: int, *, slots: int = 20, within_s: float = 15.0) -> None:
    """Wait until the latest `slots` judged slots of all listeners have the code `wanted`."""

    def holds(fact: Fact) -> bool:
        if not isinstance(fact, Mark):
            return False
        ears = codes_of(stack.facts(LISTENERS_SHARD))
        return all(ears.get(k, [])[-slots:] == [wanted] * slots for k in LISTENERS)

    stack.wait_fact(LISTENERS_SHARD, holds, within_s=within_s)


def run_for(stack: CrowdStack, seconds: float) -> None:
    """Wait until the listeners are judged `seconds` further than now."""
    judged = [fact.s for fact in stack.facts(LISTENERS_SHARD) if isinstance(fact, Mark)]
    until = judged[-1] + round(seconds / SLOT_S)
    stack.wait_fact(LISTENERS_SHARD, lambda f: isinstance(f, Mark) and f.s >= until)


def runs(codes: Sequence[int], holds: Callable[[int], bool]) -> list[int]:
    """Return the lengths of the runs of codes that hold."""
    return [len(list(run)) for is_held, run in itertools.groupby(codes, holds) if is_held]


def of_kind(facts: Sequence[Fact], kind: type[Fact], p: int | None = None) -> list[Any]:
    """Return the facts of one kind, in order of time, of one participant if said."""
    found = [f for f in facts if isinstance(f, kind) and p in (None, getattr(f, "p", None))]
    return sorted(found, key=lambda fact: fact.t)


def end(stack: CrowdStack) -> tuple[list[Fact], list[Fact]]:
    """Terminate both shards; return the facts of speakers and listeners."""
    assert [stack.end_shard(s) for s in (LISTENERS_SHARD, SPEAKERS_SHARD)] == [0, 0]
    return stack.facts(SPEAKERS_SHARD), stack.facts(LISTENERS_SHARD)


def test_everybody_joins_hears_both_speakers_and_leaves(stack: CrowdStack) -> None:
    origin_s = start(stack, end_s=7.0)
    wait_all_hear(stack)
    for shard in (SPEAKERS_SHARD, LISTENERS_SHARD):
        stack.wait_fact(shard, lambda f: isinstance(f, ShardStopped))
    assert stack.processes[LISTENERS_SHARD].poll() is None  # it waits for its end
    speakers, listeners = end(stack)

    assert isinstance(listeners[0], ShardStarted)
    assert listeners[0].participants == list(LISTENERS)
    assert isinstance(listeners[-1], ShardStopped)
    for k in LISTENERS:
        order = [Attempt, LookedUp, SignalUp, Joined, FirstFrame, Left]
        told = [of_kind(listeners, kind, k) for kind in order]
        assert [len(facts) for facts in told] == [1] * len(order)
        assert [facts[0].t for facts in told] == sorted(facts[0].t for facts in told)
        assert told[-1][0].why == "end"
    codes = codes_of(listeners)
    assert set(codes) == {*LISTENERS, 16_001}
    judged = max(f.s for f in listeners if isinstance(f, Mark))
    for k in LISTENERS:
        arrival = slot_at(of_kind(listeners, Attempt, k)[0].t, origin_s)
        left = slot_at(of_kind(listeners, Left, k)[0].t, origin_s)
        assert codes[k][:arrival] == [ABSENT] * arrival
        assert ABSENT not in codes[k][arrival : left + 1]
        assert set(codes[k][left + 1 :]) <= {ABSENT}
        # The books of one ear: every slot has one code, and nothing was foreign to it.
        assert len(codes[k]) == judged
        assert set(codes[k]) <= {SILENT, 1, 2, 3, UNJUDGED, ABSENT}
        joined = slot_at(of_kind(listeners, FirstFrame, k)[0].t, origin_s) + 8
        assert codes[k][joined:345].count(3) >= 0.95 * (345 - joined)
    both = max(slot_at(f.t, origin_s) for f in of_kind(speakers, FirstFrame)) + 8
    for k, other in ((HOST, 2), (GUEST, 1)):  # each hears the other, and not itself
        assert codes_of(speakers)[k][both:345].count(other) >= 0.95 * (345 - both)

    changes = [(f.t - origin_s, f.mic, f.index) for f in of_kind(speakers, MicChanged, HOST)]
    assert changes[-1][1] == "beacon"
    for t, _, index in changes:  # in the file, stamps are rounded to microseconds
        assert index == slot_at(origin_s + t + 0.001, origin_s) % 32_768
    sent = {(f.band, f.index): f.t for f in of_kind(speakers, SentSymbol)}
    assert all(0 <= slot_at(t, origin_s) - index <= 3 for (_, index), t in sent.items())
    for sample in of_kind(listeners, HeardSymbols):
        ages = [sample.s - index for index in sample.index]
        assert all(5 <= age <= 40 for age in ages)
        assert all(ms < 0 for ms in sample.arrival_ms)
    net = of_kind(listeners, Net)[-1]
    assert set(net.p) == {*LISTENERS, 16_001}
    assert sum(net.missing) == 0
    assert all(sent == 2 for k, sent in zip(net.p, net.sent, strict=True) if k in LISTENERS)
    marks = of_kind(listeners, Mark)
    assert sum(mark.sentinel_missing for mark in marks) <= 0.01 * judged


def test_a_cut_host_is_noticed_and_everybody_comes_back_by_themselves(stack: CrowdStack) -> None:
    origin_s = start(stack, directory={"lease_s": 1.2})
    wait_all_hear(stack)
    wait_codes(stack, 3)
    links = ["host.api.directory", "host.signal.room-a", "host.media.room-a"]
    cut_s = time.monotonic()
    for link in links:
        stack.set_link(link, False)
    stack.wait_fact(
        SPEAKERS_SHARD, lambda f: isinstance(f, Lost) and f.p == GUEST and f.why == "kicked"
    )
    stack.wait_fact(SPEAKERS_SHARD, lambda f: isinstance(f, Rejected) and f.p == GUEST)
    wait_codes(stack, SILENT)
    healed_s = time.monotonic()
    for link in links:
        stack.set_link(link, True)
    wait_codes(stack, 3)
    speakers, listeners = end(stack)

    (lost,) = [f for f in of_kind(speakers, Lost, HOST) if f.plane == "signal"]
    assert lost.link == "host.signal.room-a"
    assert lost.why in {"reset", "eof"}
    assert cut_s < lost.t < cut_s + 1.0
    failed = [f for f in of_kind(speakers, ConnectFailed, HOST) if f.t < healed_s]
    assert {f.link for f in failed} >= {"host.api.directory"}
    assert {f.why for f in failed} <= {"refused", "reset", "eof", "timeout"}
    refused = of_kind(speakers, Rejected, GUEST)
    assert {(f.by, f.status, f.why) for f in refused} == {("directory", 403, "no_host")}
    assert [f.granted for f in of_kind(speakers, Stage, GUEST)] == [True, False, True]
    attempts = of_kind(speakers, Attempt, GUEST)
    assert [f.n for f in attempts] == list(range(1, len(attempts) + 1))
    assert [f.why for f in attempts[:3]] == ["arrival", "lost", "rejected"]
    assert of_kind(speakers, Joined, HOST)[-1].t > healed_s
    # The listeners never noticed anything but silence.
    assert not of_kind(listeners, Lost)
    cut_slot = slot_at(cut_s, origin_s)
    for k in LISTENERS:
        codes = codes_of(listeners)[k]
        silences = runs(codes[cut_slot:], lambda code: code == SILENT)
        assert max(silences) * SLOT_S > 1.0


@pytest.mark.parametrize("find", ["poll", "watch"])
def test_a_fresh_room_is_found_by_the_listeners_themselves(stack: CrowdStack, find: str) -> None:
    rules = {"find": find, "poll_s": 1.0}
    pushes = {"remedies": {"redirect": True}} if find == "watch" else None
    start(stack, directory=pushes, speaker_rules=rules, listener_rules=rules)
    wait_all_hear(stack)
    opened = stack.directory("POST", "/night/fresh-room", {"account": "owner", "node": "room-b"})
    assert opened["generation"] == 2
    wait_all_hear(stack, generation=2)
    speakers, listeners = end(stack)

    for k in LISTENERS:
        first, second = of_kind(listeners, Joined, k)
        assert (first.node, second.node) == ("room-a", "room-b")
        assert second.room == opened["room"]
        assert second.rtp_port != first.rtp_port
        assert [f.why for f in of_kind(listeners, Attempt, k)] == ["arrival", "moved"]
        assert [f.why for f in of_kind(listeners, Lost, k)] == ["moved"]
        assert [f.why for f in of_kind(listeners, Left, k)] == ["moved", "end"]
        found = of_kind(listeners, Found, k)
        assert (found[-1].generation, found[-1].how) == (2, find)
    for k in (HOST, GUEST):
        assert of_kind(speakers, Joined, k)[-1].generation == 2
        assert of_kind(speakers, Stage, k)[0].granted


def test_loss_on_the_way_to_the_ears_reads_as_it_is(living: tuple[CrowdStack, float]) -> None:
    stack, _ = living
    wait_codes(stack, 3)
    before = of_kind(stack.facts(LISTENERS_SHARD), Net)[-1]
    stack.add_toxic("listeners.media.room-a", "packet_loss", loss_rate=0.3)
    from_slot = of_kind(stack.facts(LISTENERS_SHARD), Mark)[-1].s + 100
    run_for(stack, 6.0)
    listeners = stack.facts(LISTENERS_SHARD)
    stack.remove_toxic("listeners.media.room-a", "packet_loss")
    judged = of_kind(listeners, Mark)[-1].s
    span = [codes_of(listeners)[k][from_slot:judged] for k in LISTENERS]
    total = [code for codes in span for code in codes if code != UNJUDGED]
    assert total.count(3) / len(total) == pytest.approx(0.7, abs=0.05)
    assert total.count(CONCEALED) == 0
    assert total.count(3) + total.count(SILENT) >= 0.999 * len(total)
    after = of_kind(listeners, Net)[-1]
    missing, received = (
        sum(getattr(after, name)) - sum(getattr(before, name)) for name in ("missing", "received")
    )
    assert missing > 0.3 * received


def test_a_stopped_room_server_is_a_gap_of_that_length_at_every_ear(
    living: tuple[CrowdStack, float],
) -> None:
    stack, origin_s = living
    wait_codes(stack, 3)
    stopped_s = time.monotonic()
    stack.processes["room-a"].send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    stack.processes["room-a"].send_signal(signal.SIGCONT)
    stopped_for_s = time.monotonic() - stopped_s
    run_for(stack, 2.0)
    listeners = stack.facts(LISTENERS_SHARD)
    around = slot_at(stopped_s, origin_s)
    for k in LISTENERS:
        gaps = runs(codes_of(listeners)[k][around - 5 : around + 90], lambda code: code != 3)
        assert max(gaps) * SLOT_S == pytest.approx(stopped_for_s, abs=0.1)


def test_a_stopped_shard_leaves_frames_unjudged_and_none_silent(
    living: tuple[CrowdStack, float],
) -> None:
    stack, origin_s = living
    wait_codes(stack, 3)
    stopped_s = time.monotonic()
    stack.processes[LISTENERS_SHARD].send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    stack.processes[LISTENERS_SHARD].send_signal(signal.SIGCONT)
    run_for(stack, 3.0)
    listeners = stack.facts(LISTENERS_SHARD)
    around = slot_at(stopped_s, origin_s)
    for k in LISTENERS:
        codes = codes_of(listeners)[k][around - 20 : around + 90]
        assert codes.count(3) + codes.count(UNJUDGED) >= 0.95 * len(codes), codes
        assert codes.count(UNJUDGED) * SLOT_S == pytest.approx(1.5, abs=0.3)
    marks = of_kind(listeners, Mark)
    assert max(mark.lag_ms for mark in marks) > 1_000
    assert sum(mark.unjudged for mark in marks) == sum(
        codes_of(listeners)[k].count(UNJUDGED) for k in LISTENERS
    )


def test_a_stopped_shard_of_speakers_says_which_frames_were_never_sent(
    living: tuple[CrowdStack, float],
) -> None:
    stack, origin_s = living
    wait_codes(stack, 3)
    before = len(of_kind(stack.facts(SPEAKERS_SHARD), Unsent))
    stopped = slot_at(time.monotonic(), origin_s)
    stack.processes[SPEAKERS_SHARD].send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    woken = slot_at(time.monotonic(), origin_s)
    stack.processes[SPEAKERS_SHARD].send_signal(signal.SIGCONT)
    run_for(stack, 2.0)
    told = of_kind(stack.facts(SPEAKERS_SHARD), Unsent)[before:]
    assert [fact.p for fact in told] == [HOST, GUEST]
    listeners = codes_of(stack.facts(LISTENERS_SHARD))
    for fact in told:
        assert stopped - 2 <= fact.s <= stopped + 5
        assert fact.n == pytest.approx(woken - stopped, abs=8)
    for k in LISTENERS:
        gap = max(runs(listeners[k][stopped - 5 : woken + 25], lambda code: code != 3))
        assert gap == pytest.approx(told[0].n, abs=8)


def test_silence_on_the_media_link_makes_an_impatient_client_rejoin(stack: CrowdStack) -> None:
    rules = {"media_timeout_s": 1.0, "join_timeout_s": 2.0, "reconnect": "fixed"}
    start(stack, listener_rules=rules)
    wait_all_hear(stack)
    stack.set_link("listeners.media.room-a", False)
    stack.wait_fact(LISTENERS_SHARD, lambda f: isinstance(f, ConnectFailed), count=len(LISTENERS))
    stack.set_link("listeners.media.room-a", True)
    stack.wait_fact(LISTENERS_SHARD, lambda f: isinstance(f, FirstFrame), count=2 * len(LISTENERS))
    _, listeners = end(stack)
    for k in LISTENERS:
        (lost,) = of_kind(listeners, Lost, k)
        assert (lost.plane, lost.link, lost.why) == ("media", "listeners.media.room-a", "timeout")
        failed = of_kind(listeners, ConnectFailed, k)
        assert {(f.plane, f.why) for f in failed} == {("media", "timeout")}
        assert len(of_kind(listeners, Joined, k)) == 2


def test_commands_mute_and_remove_and_undo_themselves(stack: CrowdStack) -> None:
    start(stack)
    wait_all_hear(stack)
    wait_codes(stack, 3)
    assert stack.command(SPEAKERS_SHARD, Command(id=1, cmd="ping"))["ok"]
    refused = stack.command(SPEAKERS_SHARD, Command(id=2, cmd="leave", p=[99]))
    assert refused == {"id": 2, "ok": False, "error": "not in this shard: [99]"}
    mute = Command(id=3, cmd="mute", p=[HOST], ttl_s=1.5)
    assert stack.command(SPEAKERS_SHARD, mute)["ok"]
    wait_codes(stack, 2)
    wait_codes(stack, 3)
    silence = Command(id=4, cmd="mic", p=[GUEST], ttl_s=1.5, mic="private")
    assert stack.command(SPEAKERS_SHARD, silence)["ok"]
    wait_codes(stack, 1 | 16)
    wait_codes(stack, 3)
    away = [FIRST, FIRST + 1]
    leave = Command(id=5, cmd="leave", p=away, ttl_s=1.0)
    assert stack.command(LISTENERS_SHARD, leave)["ok"]
    stack.wait_fact(LISTENERS_SHARD, lambda f: isinstance(f, Joined) and f.p in away, count=4)
    assert stack.command(LISTENERS_SHARD, Command(id=6, cmd="stop"))["ok"]
    stack.wait_fact(LISTENERS_SHARD, lambda f: isinstance(f, ShardStopped))
    _, listeners = end(stack)
    for k in away:
        assert [f.why for f in of_kind(listeners, Left, k)] == ["command", "end"]
        assert [f.why for f in of_kind(listeners, Attempt, k)] == ["arrival", "rejoin"]
        codes = codes_of(listeners)[k]
        absences = runs(codes[of_first(codes) :], lambda code: code == ABSENT)
        assert absences[0] * SLOT_S == pytest.approx(1.0, abs=0.3)
    assert {f.p for f in of_kind(listeners, Left) if f.why == "command"} == set(away)


def of_first(codes: Sequence[int]) -> int:
    """Return the first slot in which there is an ear."""
    return next(slot for slot, code in enumerate(codes) if code != ABSENT)


def test_clients_leave_on_time_or_give_up_by_their_rule(stack: CrowdStack) -> None:
    stack.start(["listeners", "barred"], candidates=["p0"], speakers=["p0"])
    stack.set_link("barred.signal.room-a", False)
    origin_s = time.monotonic() + LEAD_S
    rules = {"reconnect": "fixed", "base_s": 0.1}
    stack.start_shard(
        LISTENERS_SHARD,
        [
            stack.group("listeners", "listener"),
            stack.group("barred", "listener", attempts=3, **rules),
            replace(stack.group("barred", "listener", reconnect="none"), name="once"),
        ],
        [
            ParticipantPlan(k=FIRST, group="listeners", arrive_s=0.0, leave_s=3.0),
            ParticipantPlan(k=FIRST + 1, group="barred", arrive_s=0.0),
            ParticipantPlan(k=FIRST + 2, group="listeners", arrive_s=0.0, leave_s=1.0, every_s=2.0),
            ParticipantPlan(k=FIRST + 3, group="once", arrive_s=0.0, leave_s=1.0, every_s=2.0),
        ],
        origin_s=origin_s,
        end_s=600.0,
    )
    stack.wait_ready(LISTENERS_SHARD)
    stack.wait_fact(LISTENERS_SHARD, lambda f: isinstance(f, Left) and f.why == "end")
    stack.wait_fact(LISTENERS_SHARD, lambda f: isinstance(f, Left) and f.p == FIRST + 1)
    stack.wait_fact(LISTENERS_SHARD, lambda f: isinstance(f, Mark) and f.s > 250)
    assert stack.end_shard(LISTENERS_SHARD) == 0
    facts = stack.facts(LISTENERS_SHARD)
    (left,) = of_kind(facts, Left, FIRST)
    assert left.why == "end"
    assert left.t - origin_s >= 3.0
    assert [f.why for f in of_kind(facts, Left, FIRST + 1)] == ["gave_up"]
    attempts = of_kind(facts, Attempt, FIRST + 1)
    assert [f.why for f in attempts] == ["arrival", "failed", "failed"]
    for k, ends in ((FIRST + 2, ["command"]), (FIRST + 3, ["gave_up", "command"])):
        again = of_kind(facts, Attempt, k)
        assert [f.why for f in again[:3]] == ["arrival", "rejoin", "rejoin"]
        assert all(f.t - origin_s >= 2.0 * i for i, f in enumerate(again))
        assert [f.why for f in of_kind(facts, Left, k)][: 2 * len(ends)] == ends * 2
    failed = of_kind(facts, ConnectFailed, FIRST + 1)
    assert [(f.plane, f.link) for f in failed] == [("signal", "barred.signal.room-a")] * 3
    codes = codes_of(facts)
    assert codes[FIRST][-1] == ABSENT
    assert codes[FIRST + 1][slot_at(attempts[0].t, origin_s) :].count(SILENT) > 150
    assert codes[FIRST + 1][-1] == SILENT  # it gave up, and is still counted
