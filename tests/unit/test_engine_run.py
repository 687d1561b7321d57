"""A run from prepare to its end, on the virtual clock."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from chaoskit.engine.engine import Engine, Judge
from chaoskit.engine.steps import LAST_LOOK_S
from chaoskit.errors import PlanRefused
from chaoskit.model import (
    AbortCondition,
    Aborted,
    ActionDone,
    ActionFailed,
    ActionSpec,
    After,
    At,
    BlastRadius,
    CheckResult,
    CheckSpec,
    Cue,
    CueReached,
    Event,
    Experiment,
    FaultActive,
    FaultEffect,
    FaultFailed,
    FaultHealed,
    FaultInjecting,
    GateJudged,
    LinkState,
    Observed,
    Phase,
    PhaseEntered,
    RunEnded,
    RunStatus,
    Verdict,
    When,
)
from tests.unit.fake_run import GUEST, FakeRun, experiment, fake_run, held, kinds, result
from tests.unit.test_fault_effects import EVERY_KIND, fault

pytestmark = pytest.mark.unit
DROP = replace(EVERY_KIND["drop"], trigger=At(at_s=5.0), duration_s=10.0)


def engine(run: FakeRun, plan: Experiment, judge: Judge = held) -> Engine:
    return Engine(plan, run.tools, run.journal, judge)


async def play(run: FakeRun, plan: Experiment, judge: Judge = held) -> RunStatus:
    return await run.clock.finish(engine(run, plan, judge).run())


def phases(run: FakeRun) -> list[tuple[Phase, float]]:
    return [(e.phase, e.at_s) for e in run.journal.events if isinstance(e, PhaseEntered)]


def ended(run: FakeRun) -> RunEnded:
    (end,) = run.journal.of(RunEnded)
    assert isinstance(end, RunEnded)
    assert run.journal.events[-1] is end
    return end


async def test_a_run_goes_through_its_phases_at_their_times() -> None:
    run = fake_run()
    assert await play(run, experiment(DROP)) is RunStatus.COMPLETED
    assert phases(run) == [
        (Phase.PREPARE, 0.0),
        (Phase.GATE, 2.0),
        (Phase.INJECT, 5.0),
        (Phase.RECOVER, 20.0),
        (Phase.STEADY_AGAIN, 50.0),
    ]
    assert ended(run) == RunEnded(at_s=60.0, status=RunStatus.COMPLETED)


async def test_a_fault_is_written_injected_read_back_proven_and_healed_in_that_order() -> None:
    run = fake_run()
    await play(run, experiment(DROP))
    about = [e for e in run.journal.events if getattr(e, "fault_id", None) == "the-drop"]
    assert [type(e) for e in about] == [FaultInjecting, FaultActive, FaultEffect, FaultHealed]
    injecting, active, effect, healed = about
    assert isinstance(injecting, FaultInjecting)
    assert isinstance(active, FaultActive)
    assert isinstance(effect, FaultEffect)
    assert isinstance(healed, FaultHealed)
    assert (injecting.at_s, healed.at_s) == (10.0, 20.0)
    assert active.active
    assert healed.confirmed
    assert (effect.effect.affected, effect.effect.targeted) == (2, 2)
    assert effect.effect.first_s == pytest.approx(10.0)


async def test_the_undo_is_on_disk_before_the_side_effect() -> None:
    run = fake_run()
    seen: list[tuple[str, int]] = []
    run.proxy.on_call = lambda method, _: seen.append((method, len(run.journal.durable)))
    await play(run, experiment(DROP))
    written = [n for method, n in seen if method == "set_disabled"]
    assert isinstance(run.journal.durable[written[0] - 1], FaultInjecting)


async def test_a_full_disk_injects_nothing() -> None:
    run = fake_run()
    task = asyncio.ensure_future(engine(run, experiment(DROP)).run())
    await run.clock.advance(9.9)
    run.journal.full = True
    with pytest.raises(OSError, match="No space"):
        await run.clock.finish(task)
    assert run.proxy.calls == []


async def test_consumers_get_every_event_in_order() -> None:
    run = fake_run()
    got: list[Event] = []
    subject = Engine(experiment(DROP), run.tools, run.journal, held, [got.append])
    await run.clock.finish(subject.run())
    assert got == run.journal.events


async def test_a_gate_that_fails_injects_nothing() -> None:
    run = fake_run()

    def judge(when: str) -> tuple[CheckResult, ...]:
        return (result(Verdict.DEVIATED),)

    assert await play(run, experiment(DROP), judge) is RunStatus.REFUSED
    assert run.proxy.calls == []
    assert kinds(run.journal.events)[-2:] == ["gate_judged", "run_ended"]
    assert ended(run).status is RunStatus.REFUSED


@pytest.mark.parametrize("verdicts", [(), (Verdict.HELD, Verdict.INCONCLUSIVE)])
async def test_a_gate_that_says_nothing_does_not_pass(verdicts: tuple[Verdict, ...]) -> None:
    run = fake_run()
    status = await play(run, experiment(DROP), lambda when: tuple(map(result, verdicts)))
    assert status is RunStatus.REFUSED


async def test_the_judge_may_take_its_time() -> None:
    run = fake_run()

    async def judge(when: str) -> tuple[CheckResult, ...]:
        await run.clock.sleep_until(run.clock.now() + 1.5)
        return held(when)

    await play(run, experiment(DROP), judge)
    gate, again = run.journal.of(GateJudged)
    assert isinstance(gate, GateJudged)
    assert isinstance(again, GateJudged)
    assert (gate.when, gate.at_s, again.when, again.at_s) == ("gate", 6.5, "again", 61.5)


async def test_a_closing_state_that_deviates_is_a_result_not_an_error() -> None:
    run = fake_run()

    def judge(when: str) -> tuple[CheckResult, ...]:
        return (result(Verdict.HELD if when == "gate" else Verdict.DEVIATED),)

    assert await play(run, experiment(DROP), judge) is RunStatus.COMPLETED


async def test_a_replay_has_no_gate_and_no_closing_state() -> None:
    run = fake_run()
    plan = experiment(
        DROP, gate_from_s=0.0, gate_s=0.0, method_zero_s=0.0, steady_again_s=0.0, end_s=40.0
    )
    await play(run, plan)
    assert phases(run) == [(Phase.PREPARE, 0.0), (Phase.INJECT, 0.0), (Phase.RECOVER, 15.0)]
    assert run.journal.of(GateJudged) == []
    assert ended(run).at_s == 40.0


async def test_recovery_counts_from_the_last_heal_but_never_past_the_end() -> None:
    run = fake_run()
    await play(run, experiment(DROP, recovery_s=6.0))
    assert phases(run)[-2:] == [(Phase.RECOVER, 20.0), (Phase.STEADY_AGAIN, 26.0)]
    late = fake_run()
    await play(late, experiment(replace(DROP, duration_s=34.0), recovery_s=30.0))
    assert phases(late)[-2:] == [(Phase.RECOVER, 44.0), (Phase.STEADY_AGAIN, 50.0)]


async def test_a_fault_without_an_end_lasts_until_the_recovery_is_over() -> None:
    run = fake_run()
    await play(run, experiment(replace(DROP, duration_s=None)))
    (healed,) = run.journal.of(FaultHealed)
    assert healed.at_s == 50.0
    assert phases(run)[-2] == (Phase.RECOVER, 10.0)
    assert {ttl for _, _, ttl in run.proxy.calls if ttl} == {42.0}


async def test_a_fault_that_ended_before_its_time_is_written_down() -> None:
    run = fake_run()
    task = asyncio.ensure_future(engine(run, experiment(DROP)).run())
    await run.clock.advance(17.0)
    await run.proxy.set_enabled("host.signal.room-a", True)
    await run.clock.finish(task)
    failed, healed = run.journal.of(FaultFailed, FaultHealed)
    assert isinstance(failed, FaultFailed)
    assert isinstance(healed, FaultHealed)
    assert failed.error == "it ended before its time: it was not in place any more"
    assert (failed.at_s, healed.at_s, healed.confirmed) == (20.0, 20.0, True)


async def test_a_service_that_was_started_again_is_no_fault_that_ended_early() -> None:
    run = fake_run()
    kill = replace(EVERY_KIND["kill"], trigger=At(at_s=5.0), duration_s=10.0)
    task = asyncio.ensure_future(engine(run, experiment(kill)).run())
    await run.clock.advance(17.0)
    await run.services.restart("room-a")
    await run.clock.finish(task)
    assert run.journal.of(FaultFailed) == []


async def test_a_last_look_that_gets_no_answer_says_nothing_and_holds_nothing_up() -> None:
    run = fake_run()
    task = asyncio.ensure_future(engine(run, experiment(DROP)).run())
    await run.clock.advance(19.9)
    links = run.proxy.links

    async def hang() -> dict[str, LinkState]:
        run.proxy.links = links  # type: ignore[method-assign]
        await asyncio.get_running_loop().create_future()
        return {}

    run.proxy.links = hang  # type: ignore[method-assign]
    await run.clock.finish(task)
    assert run.journal.of(FaultFailed) == []
    (healed,) = run.journal.of(FaultHealed)
    assert healed.at_s == 20.0 + LAST_LOOK_S


async def test_an_engine_that_wakes_late_blames_no_fault_for_its_own_time_limit() -> None:
    run = fake_run()
    task = asyncio.ensure_future(engine(run, experiment(DROP)).run())
    await run.clock.advance(15.0)
    links = run.proxy.links

    async def late() -> dict[str, LinkState]:
        run.clock.stall(10.0)
        for name in await links():
            await run.proxy.set_enabled(name, True)
        return dict(await links())

    run.proxy.links = late  # type: ignore[method-assign]
    await run.clock.finish(task)
    assert run.journal.of(FaultFailed) == []


@pytest.mark.parametrize("kind", ["kill", "pause", "mute", "leave"])
async def test_an_effect_without_a_stamp_is_as_old_as_the_injection(kind: str) -> None:
    run = fake_run()
    signals = run.services.signal

    async def slow(name: str, signum: int) -> None:
        await run.clock.sleep_until(run.clock.now() + 0.1)
        await signals(name, signum)

    run.services.signal = slow  # type: ignore[method-assign]
    await play(run, experiment(replace(EVERY_KIND[kind], trigger=At(at_s=5.0), duration_s=10.0)))
    (seen,) = run.journal.of(FaultEffect)
    assert isinstance(seen, FaultEffect)
    assert seen.effect.first_s == pytest.approx(10.1 if kind in ("kill", "pause") else 10.0)


async def test_a_proof_that_some_could_not_give_yet_is_no_full_proof() -> None:
    run = fake_run()
    short = replace(EVERY_KIND["blackhole"], trigger=At(at_s=5.0), duration_s=0.2)
    await play(run, experiment(short))
    (seen,) = run.journal.of(FaultEffect)
    assert isinstance(seen, FaultEffect)
    pending = seen.effect.measures["pending"]
    assert pending > 0
    assert seen.effect.targeted == seen.effect.measures["units"] + pending


async def test_faults_run_side_by_side() -> None:
    run = fake_run()
    mute = replace(EVERY_KIND["mute"], trigger=At(at_s=8.0), duration_s=3.0)
    await play(run, experiment(DROP, mute))
    told = [(type(e).__name__, e.at_s) for e in run.journal.of(FaultInjecting, FaultHealed)]
    assert told == [
        ("FaultInjecting", 10.0),
        ("FaultInjecting", 13.0),
        ("FaultHealed", 16.0),
        ("FaultHealed", 20.0),
    ]


async def test_a_step_can_follow_another_and_an_act_can_follow_a_fault() -> None:
    run = fake_run()
    pause = replace(
        EVERY_KIND["pause"], trigger=After(step="the-drop", delay_s=2.0), duration_s=3.0
    )
    act = ActionSpec(
        id="open",
        kind="fresh_room",
        trigger=After(step="the-pause"),
        params={"account": "standby", "node": "room-b"},
    )
    await play(run, experiment(DROP, pause, actions=(act,)))
    starts = {e.fault_id: e.at_s for e in run.journal.events if isinstance(e, FaultInjecting)}
    assert starts == {"the-drop": 10.0, "the-pause": 22.0}
    (done,) = run.journal.of(ActionDone)
    assert isinstance(done, ActionDone)
    assert (done.at_s, done.result["generation"]) == (25.0, 2)
    assert run.directory.calls == [("fresh_room", {"account": "standby", "node": "room-b"})]


async def test_the_operator_can_end_the_room() -> None:
    run = fake_run()
    act = ActionSpec(id="end", kind="end_room", trigger=At(at_s=1.0))
    await play(run, experiment(actions=(act,)))
    assert run.directory.calls == [("end_room", {})]


async def test_an_act_that_fails_is_written_down() -> None:
    run = fake_run()
    run.directory.failing = True
    act = ActionSpec(id="open", kind="fresh_room", trigger=At(at_s=1.0))
    assert await play(run, experiment(actions=(act,))) is RunStatus.COMPLETED
    (failed,) = run.journal.of(FaultFailed, ActionFailed)
    assert failed == ActionFailed(at_s=6.0, action_id="open", error="directory: does not answer")


async def test_a_step_waits_for_its_fact() -> None:
    run = fake_run()
    run.crowd.counts = {"listeners.joined": 3.0}
    waiting = replace(DROP, trigger=When(fact="listeners.joined", at_least=8))
    task = asyncio.ensure_future(engine(run, experiment(waiting)).run())
    await run.clock.advance(12.0)
    assert run.journal.of(FaultInjecting) == []
    run.crowd.counts = {"listeners.joined": 9.0}
    await run.clock.finish(task)
    (injecting,) = run.journal.of(FaultInjecting)
    assert injecting.at_s == pytest.approx(12.0, abs=0.3)


async def test_a_fact_that_never_comes_is_given_up_in_time() -> None:
    run = fake_run()
    run.crowd.counts = {"listeners.joined": 3.0}
    waiting = replace(DROP, trigger=When(fact="listeners.joined", at_least=8))
    await play(run, experiment(waiting))
    (failed,) = run.journal.of(FaultFailed)
    assert isinstance(failed, FaultFailed)
    assert failed.error == "listeners.joined reached 3, never 8"
    assert failed.at_s == 40.0
    assert run.proxy.calls == []


async def test_a_fact_that_the_crowd_does_not_count_is_refused_at_once() -> None:
    run = fake_run()
    waiting = replace(DROP, trigger=When(fact="listeners.dancing", at_least=8))
    with pytest.raises(PlanRefused, match=r"no count listeners\.dancing"):
        await play(run, experiment(waiting))
    assert ended(run).status is RunStatus.REFUSED


async def test_lines_of_the_record_come_up_at_their_times() -> None:
    run = fake_run()
    cues = (
        Cue(at_s=30.0, event="S07", text="guest and owner appear", status="narrative"),
        Cue(at_s=1.0, event="S02", text="the public waits", status="executed", basis="scheduled"),
    )
    await play(run, experiment(cues=cues))
    reached = [(e.event, e.at_s) for e in run.journal.events if isinstance(e, CueReached)]
    assert reached == [("S02", 1.0), ("S07", 30.0)]


async def test_the_event_and_its_rooms_are_looked_at_once_a_second() -> None:
    run = fake_run()
    run.crowd.muted = {GUEST}
    await play(run, experiment(end_s=20.0))
    seen = [e for e in run.journal.events if isinstance(e, Observed)]
    assert [e.value["generation"] for e in seen if e.probe == "event"] == [1]
    rooms = [e for e in seen if e.probe == "participants:room-a:1"]
    assert len(rooms) == 20
    assert rooms[0].value["p0"] is False
    assert rooms[0].value[f"p{GUEST}"] is True


async def test_an_act_whose_fact_never_comes_is_given_up() -> None:
    run = fake_run()
    run.crowd.counts = {"crowd.joined": 0.0}
    act = ActionSpec(id="end", kind="end_room", trigger=When(fact="crowd.joined", at_least=1))
    await play(run, experiment(actions=(act,)))
    assert run.directory.calls == []
    (failed,) = run.journal.of(FaultFailed, ActionFailed)
    assert isinstance(failed, ActionFailed)
    assert failed.action_id == "end"


async def test_a_run_without_an_operators_door_or_eyes_has_no_probes() -> None:
    blind, doorless = fake_run(), fake_run()
    blind.tools = replace(blind.tools, observer=None)
    doorless.tools = replace(doorless.tools, directory=None)
    await play(blind, experiment(end_s=20.0))
    await play(doorless, experiment(end_s=20.0))
    assert {e.probe for e in blind.journal.events if isinstance(e, Observed)} == {"event"}
    assert not doorless.journal.of(Observed)


async def test_a_directory_that_comes_back_is_looked_at_again() -> None:
    run = fake_run()
    run.directory.failing = True
    task = asyncio.ensure_future(engine(run, experiment(end_s=20.0)).run())
    await run.clock.advance(3.0)
    run.directory.failing = False
    await run.clock.finish(task)
    seen = [(e.probe, e.error) for e in run.journal.events if isinstance(e, Observed)]
    assert seen[0] == ("event", "directory: does not answer")
    assert seen[1] == ("event", "")


async def test_an_event_without_a_room_has_nobody_to_list() -> None:
    run = fake_run()

    async def no_room() -> dict[str, object]:
        return {"generation": 2, "status": "no_room", "room": 1, "node": "room-a"}

    run.directory.state = no_room  # type: ignore[method-assign]
    await play(run, experiment(end_s=20.0))
    assert {e.probe for e in run.journal.events if isinstance(e, Observed)} == {"event"}


async def test_a_probe_that_fails_says_so_once() -> None:
    run = fake_run()
    run.crowd.failing.add("participants")
    run.directory.failing = False
    await play(run, experiment(end_s=20.0))
    errors = [e.error for e in run.journal.events if isinstance(e, Observed) and e.error]
    assert errors == ["room-a: does not answer"]


def abort_below(bound: float, *, for_s: float = 3.0) -> AbortCondition:
    check = CheckSpec(name="join_success", kind="join_success")
    return AbortCondition(check=check, below=bound, above=None, window_s=5.0, for_s=for_s)


async def test_an_abort_condition_stops_the_run_and_rolls_back() -> None:
    run = fake_run()
    task = asyncio.ensure_future(engine(run, experiment(DROP, abort=(abort_below(0.5),))).run())
    await run.clock.advance(12.0)
    run.crowd.away = set(range(2, 12))
    assert await run.clock.finish(task) is RunStatus.ABORTED
    (aborted,) = run.journal.of(Aborted)
    assert isinstance(aborted, Aborted)
    assert aborted.reason == "join_success was 0, below 0.5, for 3 s"
    assert aborted.at_s == pytest.approx(16.0, abs=1.0)
    (healed,) = run.journal.of(FaultHealed)
    assert isinstance(healed, FaultHealed)
    assert (healed.by, healed.confirmed) == ("rollback", True)
    assert ended(run).residual == ()
    assert all(s.enabled for s in (await run.proxy.links()).values())


async def test_a_short_dip_does_not_abort() -> None:
    run = fake_run()
    task = asyncio.ensure_future(engine(run, experiment(DROP, abort=(abort_below(0.5),))).run())
    await run.clock.advance(12.0)
    run.crowd.away = set(range(2, 12))
    await run.clock.advance(2.0)
    run.crowd.away = set()
    assert await run.clock.finish(task) is RunStatus.COMPLETED


async def test_hearing_can_be_an_abort_condition_too() -> None:
    run = fake_run()
    check = CheckSpec(name="heard_ratio", kind="heard_ratio")
    condition = AbortCondition(check=check, below=0.5, above=None, window_s=2.0, for_s=1.0)
    run.crowd.codes = dict.fromkeys(range(2, 12), 0)
    assert await play(run, experiment(DROP, abort=(condition,))) is RunStatus.ABORTED


async def test_everyone_can_be_the_population_of_an_abort_condition() -> None:
    run = fake_run()
    everyone = replace(abort_below(0.5).check, members=("everyone",))
    run.crowd.away = set(range(1, 12))
    plan = experiment(DROP, abort=(replace(abort_below(0.5), check=everyone),))
    assert await play(run, plan) is RunStatus.ABORTED


async def test_a_value_may_be_too_high_as_well_as_too_low() -> None:
    run = fake_run()
    condition = replace(abort_below(0.0), below=None, above=0.9)
    assert await play(run, experiment(DROP, abort=(condition,))) is RunStatus.ABORTED
    (aborted,) = run.journal.of(Aborted)
    assert isinstance(aborted, Aborted)
    assert aborted.reason == "join_success was 1, above 0.9, for 3 s"


async def test_a_condition_on_nobody_says_nothing() -> None:
    run = fake_run()
    nobody = CheckSpec(name="join_success", kind="join_success", members=("owner",))
    condition = replace(abort_below(0.5), check=nobody)
    assert await play(run, experiment(DROP, abort=(condition,))) is RunStatus.COMPLETED


async def test_an_abort_condition_without_a_live_value_is_refused() -> None:
    run = fake_run()
    check = CheckSpec(name="recovery", kind="recovery")
    condition = AbortCondition(check=check, below=None, above=1.0, window_s=2.0, for_s=1.0)
    with pytest.raises(PlanRefused, match="recovery has no live value"):
        await play(run, experiment(DROP, abort=(condition,)))


async def test_a_plan_with_no_room_for_a_fault_is_refused_before_anything() -> None:
    run = fake_run()
    plan = experiment(DROP, blast_radius=BlastRadius(roles=("guest",)))
    with pytest.raises(PlanRefused, match="touches role host"):
        await play(run, plan)
    assert kinds(run.journal.events) == ["phase_entered", "run_ended"]


async def test_a_lie_of_the_proxy_shows_as_a_fault_without_effect() -> None:
    run = fake_run(honest=False)
    assert await play(run, experiment(DROP)) is RunStatus.COMPLETED
    (active,) = run.journal.of(FaultActive)
    assert isinstance(active, FaultActive)
    assert active.active
    (effect,) = run.journal.of(FaultEffect)
    assert isinstance(effect, FaultEffect)
    assert effect.effect.affected == 0
    assert effect.at_s == 22.0


async def test_an_injection_that_does_not_take_reads_back_as_inactive() -> None:
    run = fake_run()
    run.services.deaf = True
    pause = replace(EVERY_KIND["pause"], trigger=At(at_s=1.0), duration_s=5.0)
    await play(run, experiment(pause))
    (active,) = run.journal.of(FaultActive)
    assert isinstance(active, FaultActive)
    assert not active.active


async def test_proof_that_arrives_after_the_heal_still_counts() -> None:
    run = fake_run()
    run.crowd.report_lag_s = 1.2
    short = replace(DROP, duration_s=1.0)
    await play(run, experiment(short))
    (effect,) = run.journal.of(FaultEffect)
    assert isinstance(effect, FaultEffect)
    assert effect.effect.affected > 0
    assert effect.at_s > 11.0


async def test_a_restarted_service_does_not_undo_the_proof_that_it_was_gone() -> None:
    run = fake_run()
    kill = replace(EVERY_KIND["kill"], trigger=At(at_s=1.0), duration_s=4.0)
    await play(run, experiment(kill))
    (effect,) = run.journal.of(FaultEffect)
    assert isinstance(effect, FaultEffect)
    assert (effect.effect.affected, effect.effect.first_s) == (1, 6.0)
    assert (await run.services.status("room-a")).state == "running"


async def test_a_witness_that_never_answers_is_written_down() -> None:
    run = fake_run()
    leave = replace(EVERY_KIND["leave"], trigger=At(at_s=1.0), duration_s=3.0)
    task = asyncio.ensure_future(engine(run, experiment(leave)).run())
    await run.clock.advance(5.9)
    run.proxy.on_call = lambda *_: None
    _fail_after_prepare(run, lambda: run.crowd.failing.add("participants"))
    await run.clock.finish(task)
    errors = [
        e for e in run.journal.events if isinstance(e, Observed) and e.probe == "effect the-leave"
    ]
    assert [e.error for e in errors] == ["room-a: does not answer"]
    assert run.journal.of(FaultEffect) == []


def _fail_after_prepare(run: FakeRun, fail: Callable[[], None]) -> None:
    append = run.journal.append

    def watch(event: object, *, durable: bool = False) -> None:
        if isinstance(event, FaultInjecting):
            fail()
        append(event, durable=durable)  # type: ignore[arg-type]

    run.journal.append = watch  # type: ignore[method-assign]


async def test_a_late_gate_does_not_push_two_faults_over_the_blast_radius() -> None:
    run = fake_run()
    radius = BlastRadius(roles=("host", "guest"), max_faults=1, max_duration_s=60.0)
    first = replace(DROP, trigger=At(at_s=0.0), duration_s=5.0)
    second = replace(fault("drop", "guest.*", duration_s=5.0), id="second", trigger=At(at_s=6.0))

    async def judge(when: str) -> tuple[CheckResult, ...]:
        await run.clock.sleep_until(run.clock.now() + 8.0)
        return held(when)

    await play(run, experiment(first, second, blast_radius=radius), judge)
    (failed,) = run.journal.of(FaultFailed)
    assert isinstance(failed, FaultFailed)
    assert failed.fault_id == "second"
    assert failed.error == "the blast radius is full: 1 active already"
    assert [e.at_s for e in run.journal.of(FaultInjecting, FaultHealed)] == [13.0, 18.0]
