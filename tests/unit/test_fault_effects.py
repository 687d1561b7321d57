"""Proofs of effect: a fault that happened is seen by its witness; a lie is not."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from chaoskit.errors import AdapterError
from chaoskit.faults.loss import least_missing
from chaoskit.faults.protocol import aim, settled
from chaoskit.faults.registry import KINDS, fault_class, heal, parse_fault
from chaoskit.faults.witness import silent_from
from chaoskit.model import (
    At,
    Crowd,
    Effect,
    FaultSpec,
    Group,
    Json,
    Target,
    TargetKind,
    Toxic,
    Undo,
)
from chaoskit.ports import Loss, NetSample
from tests.unit.fake_run import CROWD, GUEST, HOST, FakeRun, fake_run

pytestmark = pytest.mark.unit


def fault(
    kind: str,
    *patterns: str,
    params: Mapping[str, Json] | None = None,
    share: float | None = None,
    duration_s: float | None = 20.0,
) -> FaultSpec:
    return FaultSpec(
        id=f"the-{kind}",
        kind=kind,
        target=Target(kind=fault_class(kind).acts_on, patterns=patterns),
        trigger=At(at_s=0.0),
        params=params or {},
        duration_s=duration_s,
        share=share,
    )


EVERY_KIND = {
    "drop": fault("drop", "host.*"),
    "blackhole": fault("blackhole", "host.*"),
    "latency": fault("latency", "host.*", params={"latency_ms": 200.0}),
    "loss": fault("loss", "listeners.media.*", params={"loss_rate": 0.3}),
    "kill": fault("kill", "room-a"),
    "pause": fault("pause", "room-a"),
    "mute": fault("mute", "guest"),
    "leave": fault("leave", "guest"),
}


async def inject(run: FakeRun, spec: FaultSpec, *, at_s: float = 12.3) -> Undo:
    """Inject `spec` at run time `at_s`, when everybody has been there for a while."""
    await run.clock.advance(at_s - run.clock.now())
    subject = parse_fault(spec)
    undo = await subject.prepare(run.tools)
    await subject.inject(run.tools)
    return undo


async def seen(run: FakeRun, undo: Undo, *, after_s: float = 10.0) -> Effect:
    await run.clock.advance(after_s)
    return await fault_class(undo.kind).effect(undo, run.tools)


def liars() -> FakeRun:
    """A run whose every door says yes and does nothing."""
    run = fake_run(honest=False)
    run.services.deaf = True
    run.crowd.deaf = True
    return run


def test_every_kind_is_covered_here() -> None:
    assert set(EVERY_KIND) == set(KINDS)


# Kernel and room lists carry no stamp of their own: the engine dates their effect by the injection.
UNDATED = ("kill", "pause", "mute", "leave")


@pytest.mark.parametrize("kind", KINDS)
async def test_what_happened_is_proven_by_nearly_everybody(kind: str) -> None:
    run = fake_run()
    effect = await seen(run, await inject(run, EVERY_KIND[kind]))
    assert effect.targeted > 0
    assert effect.share >= 0.9
    assert effect.first_s == (None if kind in UNDATED else pytest.approx(12.3))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_door_that_says_yes_and_does_nothing_is_found_out(kind: str) -> None:
    run = liars()
    undo = await inject(run, EVERY_KIND[kind])
    for _ in range(12):
        effect = await seen(run, undo, after_s=1.5)
        assert effect.affected == 0
        assert effect.first_s is None
    assert effect.targeted > 0


@pytest.mark.parametrize("kind", ["drop", "blackhole", "latency", "loss"])
async def test_the_proxys_own_word_is_no_proof(kind: str) -> None:
    """It reads back as active, and its counters claim an effect: peers saw nothing."""
    run = liars()
    undo = await inject(run, EVERY_KIND[kind])
    run.proxy.honest = True
    assert await fault_class(kind).is_active(undo, run.tools)
    effect = await seen(run, undo, after_s=8.0)
    assert effect.affected == 0


async def test_each_link_in_use_counts_once() -> None:
    run = fake_run()
    effect = await seen(run, await inject(run, EVERY_KIND["blackhole"]))
    assert (effect.affected, effect.targeted) == (3, 3)
    assert effect.measures["connections_lost"] == 2
    assert effect.measures["media_silent"] == 1
    assert effect.witness.startswith("peers")


async def test_a_cut_that_spares_the_media_is_not_whole() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["blackhole"])
    run.proxy.harms = [h for h in run.proxy.harms if ".media." not in h.link]
    effect = await seen(run, undo)
    assert (effect.affected, effect.targeted) == (2, 3)


@pytest.mark.parametrize("honest_media", [True, False])
async def test_an_ear_that_its_client_closed_proves_nothing(honest_media: bool) -> None:
    """The reset of the signalling ends the session, and the ear with it: its silence is its own."""
    run = fake_run()
    run.crowd.closes_ear = True
    undo = await inject(run, EVERY_KIND["drop"])
    if not honest_media:
        run.proxy.harms = [h for h in run.proxy.harms if ".media." not in h.link]
    effect = await seen(run, undo)
    assert (effect.affected, effect.targeted) == (2, 2)
    assert effect.measures["closed"] == 1


async def test_being_moved_or_kicked_is_no_loss_of_a_link() -> None:
    run = fake_run(honest=False)
    undo = await inject(run, EVERY_KIND["drop"])
    run.crowd.extra_losses = [
        Loss(at_s=13.0, participant=HOST, link="host.api.directory", why="moved"),
        Loss(at_s=13.1, participant=HOST, link="host.signal.room-a", why="kicked"),
    ]
    effect = await seen(run, undo)
    assert effect.affected == 0


async def test_a_loss_on_another_link_is_not_this_faults() -> None:
    run = fake_run(honest=False)
    undo = await inject(run, fault("drop", "host.signal.*"))
    run.crowd.extra_losses = [
        Loss(at_s=13.0, participant=HOST, link="host.api.directory", why="reset")
    ]
    assert (await seen(run, undo)).affected == 0


def samples(*received: int, every_s: float = 1.0, from_s: float = 10.0) -> list[NetSample]:
    return [
        NetSample(at_s=from_s + i * every_s, received=n, missing=0, late=0, sent=0, transit_ms=0.0)
        for i, n in enumerate(received)
    ]


@pytest.mark.parametrize(
    ("received", "since_s", "began_s"),
    [
        ((0, 50, 100, 150), 11.2, None),
        # Half a second is lacking in the interval in which the cut began.
        ((0, 50, 75, 125), 11.5, 11.5),
        ((0, 50, 50, 100), 11.0, 11.0),
        # A third of the datagrams lost is no silence, however long it goes on.
        ((0, 50, 85, 120, 155, 190, 225), 11.0, None),
        # What happened before the fault is not the fault's.
        ((0, 0, 0, 50, 100, 150), 12.0, None),
        # Nor is what happened after the session was over.
        ((0, 50, 100, 150, 200, 200, 200), 11.0, None),
    ],
)
def test_silence_is_what_is_missing_between_two_samples(
    received: tuple[int, ...], since_s: float, began_s: float | None
) -> None:
    assert silent_from(samples(*received), 50.0, since_s, 14.0) == began_s


def test_short_samples_add_up_to_one_silence() -> None:
    dense = samples(0, 10, 20, 20, 20, 20, 30, every_s=0.2)
    assert silent_from(dense, 50.0, 10.3, 20.0) == pytest.approx(10.4)
    assert silent_from(dense[:5], 50.0, 10.3, 20.0) == pytest.approx(10.4)
    assert silent_from(dense[:4], 50.0, 10.3, 20.0) is None


def test_a_hole_in_the_sequence_proves_a_cut_too_short_to_lack_much() -> None:
    def after(missing: int) -> list[NetSample]:
        return [replace(samples(0, 50, 95)[i], missing=m) for i, m in enumerate((0, 0, missing))]

    last_s = after(0)[-1].at_s
    assert silent_from(after(2), 50.0, last_s - 0.5, last_s) is None
    assert silent_from(after(5), 50.0, last_s - 0.5, last_s) == pytest.approx(last_s - 0.5)


async def test_a_cut_of_one_second_is_seen_between_samples_a_second_apart() -> None:
    run = fake_run()
    spec = fault("drop", "listeners.media.*", duration_s=1.0)
    undo = await inject(run, spec, at_s=12.2)
    await run.clock.advance(1.0)
    await heal(undo, run.tools)
    effect = await seen(run, undo, after_s=2.0)
    assert (effect.affected, effect.targeted) == (10, 10)


async def test_units_that_cannot_have_noticed_yet_are_pending_not_targeted() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["blackhole"])
    effect = await seen(run, undo, after_s=0.2)
    assert (effect.affected, effect.targeted, effect.measures["pending"]) == (0, 0, 3)


async def test_nobody_there_is_no_effect_and_says_so() -> None:
    run = fake_run()
    run.crowd.away = {HOST}
    effect = await seen(run, await inject(run, EVERY_KIND["drop"]))
    assert effect.targeted == 0
    assert effect.share == 0.0
    assert "nobody used these links" in effect.witness


async def test_a_dead_shard_proves_nothing() -> None:
    run = fake_run(honest=False)
    undo = await inject(run, EVERY_KIND["blackhole"])
    told_s = run.clock.now()
    run.crowd.report_lag_s = 0.0
    await run.clock.advance(20.0)
    run.crowd.report_lag_s = run.clock.now() - told_s
    effect = await fault_class("blackhole").effect(undo, run.tools)
    assert effect.affected == 0


async def test_a_link_that_is_rarely_asked_is_pending_for_as_long() -> None:
    """The last answer came 9 s before: silence says something only after twice that."""
    run = fake_run()
    run.proxy.harms = []
    await run.clock.advance(3.0)
    run.crowd.quiet_from_s = 3.5
    undo = await inject(run, fault("blackhole", "host.api.*"))
    assert (await seen(run, undo, after_s=15.0)).measures["pending"] == 1
    effect = await seen(run, undo, after_s=5.0)
    assert (effect.affected, effect.targeted) == (1, 1)


async def test_a_link_nobody_asked_lately_is_not_in_use() -> None:
    run = fake_run()
    run.crowd.quiet_from_s = 1.5
    effect = await seen(run, await inject(run, fault("drop", "host.api.*")))
    assert effect.targeted == 0


async def test_latency_on_a_link_without_answers_cannot_be_judged() -> None:
    run = fake_run()
    run.crowd.quiet_from_s = 0.0
    spec = fault("latency", "host.signal.*", params={"latency_ms": 200.0})
    effect = await seen(run, await inject(run, spec, at_s=40.0))
    assert effect.targeted == 0


async def test_links_of_the_harness_have_no_peers_of_ours() -> None:
    run = fake_run()
    effect = await seen(run, await inject(run, fault("drop", "observer.*")))
    assert effect.targeted == 0


async def test_a_service_that_is_gone_already_is_no_target() -> None:
    run = fake_run()
    await run.services.signal("room-a", 9)
    effect = await seen(run, await inject(run, fault("kill", "room-*")))
    assert (effect.affected, effect.targeted) == (1, 1)


async def test_the_other_room_is_not_in_use() -> None:
    run = fake_run()
    effect = await seen(run, await inject(run, fault("drop", "host.*.room-b")))
    assert effect.targeted == 0


async def test_an_older_stamp_of_the_proxy_does_not_date_a_new_fault() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["drop"])
    run.proxy.harms = [replace(h, from_s=h.from_s - 5.0) for h in run.proxy.harms]
    effect = await seen(run, undo)
    assert effect.first_s is None or effect.first_s >= 12.3 - 0.05


async def test_without_stamps_the_peers_date_the_effect() -> None:
    run = fake_run()
    run.proxy.stamps = False
    effect = await seen(run, await inject(run, EVERY_KIND["drop"]))
    assert effect.first_s == pytest.approx(12.31)


async def test_counters_that_do_not_answer_do_not_lose_the_proof() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["drop"])
    run.proxy.failing.add("counters")
    effect = await seen(run, undo)
    assert effect.share == 1.0
    assert effect.first_s == pytest.approx(12.31)


async def test_latency_must_reach_half_of_what_was_asked() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["latency"])
    run.proxy.harms = [
        replace(h, toxic=_slow(h.toxic, 60)) if h.toxic else h for h in run.proxy.harms
    ]
    effect = await seen(run, undo)
    assert effect.affected == 0
    assert effect.measures["asked_ms"] == 200.0


async def test_latency_downstream_alone_is_half_a_round_trip() -> None:
    run = fake_run()
    params = {"latency_ms": 200.0, "direction": "downstream"}
    spec = fault("latency", "host.*", params=params)
    effect = await seen(run, await inject(run, spec))
    assert effect.share == 1.0
    assert effect.measures["rise_ms_median"] == pytest.approx(200.0)


async def test_loss_is_measured_and_compared_with_what_was_asked() -> None:
    run = fake_run()
    effect = await seen(run, await inject(run, EVERY_KIND["loss"]))
    assert effect.targeted == 10
    assert effect.measures["loss_rate"] == pytest.approx(0.3, abs=0.04)
    assert effect.measures["asked_rate"] == pytest.approx(0.3)


async def test_a_tenth_of_the_asked_loss_is_not_the_asked_loss() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["loss"])
    weak = Toxic(name="x", type="packet_loss", attributes={"loss_rate": 0.03})
    run.proxy.harms = [
        replace(h, toxic=weak) if h.toxic and h.toxic.stream == "downstream" else h
        for h in run.proxy.harms
    ]
    effect = await seen(run, undo)
    assert (effect.affected, effect.targeted) == (0, 10)


async def test_a_share_is_judged_by_what_the_dice_allow() -> None:
    crowd = Crowd(
        groups=(*CROWD.groups[:2], Group(name="listeners", role="listener", count=100, first=2))
    )
    run = fake_run(crowd=crowd)
    spec = fault("blackhole", "listeners.media.*", share=0.2)
    undo = await inject(run, spec)
    assert all(h.toxic and h.toxic.toxicity == 0.2 for h in run.proxy.harms)
    effect = await seen(run, undo)
    # Twenty are to be expected, eight is two standard deviations.
    assert effect.targeted == 12
    assert effect.measures["units"] == 100


async def test_a_muted_participant_is_listed_as_muted() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["mute"])
    effect = await seen(run, undo, after_s=0.5)
    assert (effect.affected, effect.targeted, effect.unit) == (1, 1, "participants")
    assert run.crowd.commands == [("mute", (GUEST,), 22.0)]


async def test_a_witness_that_does_not_answer_raises_for_the_engine_to_note() -> None:
    run = fake_run()
    undo = await inject(run, EVERY_KIND["leave"])
    run.crowd.failing.add("participants")
    with pytest.raises(AdapterError):
        await seen(run, undo)


@pytest.mark.parametrize(
    ("sent", "rate", "spread", "least"),
    [
        (100, 0.02, 1.0, None),
        (150, 0.02, 1.0, 1.0),
        (500, 0.02, 1.0, pytest.approx(3.74, abs=0.01)),
        (1000, 0.02, 1.0, 10.0),
        (1000, 0.02, 9.0, 1.0),
    ],
)
def test_the_loss_that_must_be_seen_allows_for_chance(
    sent: int, rate: float, spread: float, least: float | None
) -> None:
    assert least_missing(sent, rate, spread) == least


def _slow(toxic: Toxic, latency: int) -> Toxic:
    return replace(toxic, attributes={"latency": latency, "jitter": 0})


def test_target_kinds_are_those_of_the_spec() -> None:
    assert {fault_class(k).acts_on for k in KINDS} == set(TargetKind)


def effect_of(affected: int, targeted: int, **measures: float) -> Effect:
    return Effect(measures=measures, witness="peers", affected=affected, targeted=targeted)


def test_who_is_still_pending_at_the_end_did_not_notice() -> None:
    ended = settled(effect_of(1, 1, units=1, seen=1, pending=3), None)
    assert (ended.affected, ended.targeted) == (1, 4)
    sure = effect_of(3, 3, units=3, seen=3, pending=0)
    assert settled(sure, None) is sure
    assert settled(effect_of(0, 0), None).targeted == 0


def test_of_the_pending_a_share_was_aimed_at() -> None:
    ended = settled(effect_of(12, 12, units=100, seen=20, pending=100), 0.2)
    assert (ended.affected, ended.targeted) == (20, 28)
    assert [aim(0, 0.5), aim(3, 0.1), aim(100, 0.2), aim(7, None), aim(7, 1.0)] == [0, 1, 12, 7, 7]
