"""Whatever ends a run, its faults are rolled back; what cannot be is residue."""

import asyncio
from dataclasses import replace

import pytest

from chaoskit.engine.engine import ROLLBACK_S, Engine
from chaoskit.errors import AdapterError
from chaoskit.model import (
    At,
    CheckResult,
    Experiment,
    FaultActive,
    FaultFailed,
    FaultHealed,
    FaultInjecting,
    FaultSpec,
    LinkState,
    RunEnded,
    RunStatus,
)
from tests.unit.fake_run import FakeRun, experiment, fake_run, held
from tests.unit.test_fault_effects import EVERY_KIND

pytestmark = pytest.mark.unit
FAULTS = tuple(replace(f, trigger=At(at_s=5.0), duration_s=10.0) for f in EVERY_KIND.values())
DROP = replace(EVERY_KIND["drop"], trigger=At(at_s=5.0), duration_s=10.0)
PAUSE = replace(EVERY_KIND["pause"], trigger=At(at_s=5.0), duration_s=10.0)


def start(run: FakeRun, plan: Experiment) -> tuple[Engine, asyncio.Task[RunStatus]]:
    engine = Engine(plan, run.tools, run.journal, held)
    return engine, asyncio.ensure_future(engine.run())


def ended(run: FakeRun) -> RunEnded:
    end = run.journal.events[-1]
    assert isinstance(end, RunEnded)
    return end


def is_clean(states: dict[str, LinkState]) -> bool:
    return all(state.enabled and not state.toxics for state in states.values())


async def left_clean(run: FakeRun) -> bool:
    services = [(await run.services.status(n)).state for n in run.services.services()]
    links = is_clean(dict(await run.proxy.links()))
    return links and set(services) == {"running"} and not run.crowd.muted and not run.crowd.away


@pytest.mark.parametrize("spec", FAULTS, ids=lambda f: f.kind)
@pytest.mark.parametrize("at_s", [10.0, 10.3, 14.9])
async def test_a_cancelled_run_is_rolled_back_then_told_apart(spec: FaultSpec, at_s: float) -> None:
    run = fake_run()
    _, task = start(run, experiment(spec))
    await run.clock.advance(at_s)
    task.cancel()
    assert await run.clock.finish(task) is RunStatus.INTERRUPTED
    assert await left_clean(run)
    assert ended(run) == RunEnded(
        at_s=ended(run).at_s, status=RunStatus.INTERRUPTED, error="stopped from outside"
    )
    injected = {e.undo.fault_id for e in run.journal.events if isinstance(e, FaultInjecting)}
    healed = {e.fault_id for e in run.journal.events if isinstance(e, FaultHealed) and e.confirmed}
    assert injected == healed


@pytest.mark.parametrize("at_s", [0.0, 1.0, 4.0])
async def test_a_run_cancelled_before_any_fault_has_nothing_to_undo(at_s: float) -> None:
    run = fake_run()
    _, task = start(run, experiment(DROP))
    await run.clock.advance(at_s)
    task.cancel()
    assert await run.clock.finish(task) is RunStatus.INTERRUPTED
    assert run.proxy.calls == []


async def test_a_run_cancelled_while_it_prepares_a_fault_has_nothing_to_undo() -> None:
    run = fake_run()

    async def hang() -> dict[str, LinkState]:
        await asyncio.get_running_loop().create_future()
        return {}

    run.proxy.links = hang  # type: ignore[method-assign]
    _, task = start(run, experiment(DROP))
    await run.clock.advance(12.0)
    task.cancel()
    assert await run.clock.finish(task) is RunStatus.INTERRUPTED
    assert run.proxy.calls == []
    assert ended(run).residual == ()
    assert not run.journal.of(FaultInjecting, FaultHealed)


async def test_a_read_back_that_does_not_answer_is_no_confirmation() -> None:
    run = fake_run()
    _, task = start(run, experiment(DROP))
    await run.clock.advance(12.0)
    run.proxy.failing.add("links")
    await run.clock.advance(10.0)
    run.proxy.failing.clear()
    assert await run.clock.finish(task) is RunStatus.COMPLETED
    healed = [e for e in run.journal.events if isinstance(e, FaultHealed)]
    assert [(e.confirmed, e.by) for e in healed] == [(False, "engine"), (True, "rollback")]


async def test_an_injection_that_cannot_be_read_back_is_not_called_active() -> None:
    run = fake_run()

    def fail(method: str, link: str) -> None:
        if method == "links" and run.proxy.calls:
            raise AdapterError("no answer")

    run.proxy.on_call = fail
    _, task = start(run, experiment(DROP))
    await run.clock.advance(14.0)
    run.proxy.on_call = lambda *_: None
    assert await run.clock.finish(task) is RunStatus.COMPLETED
    (active,) = run.journal.of(FaultActive)
    assert isinstance(active, FaultActive)
    assert (active.active, active.at_s) == (False, 12.0)
    assert ended(run).residual == ()


async def test_a_second_cancellation_does_not_stop_the_rollback() -> None:
    run = fake_run()
    _, task = start(run, experiment(PAUSE))
    await run.clock.advance(12.0)
    run.services.deaf = True
    task.cancel()
    await run.clock.advance(1.0)
    task.cancel()
    await run.clock.advance(1.0)
    run.services.deaf = False
    assert await run.clock.finish(task) is RunStatus.INTERRUPTED
    assert await left_clean(run)
    assert ended(run).residual == ()


async def test_an_abandoned_rollback_leaves_residue_and_names_it() -> None:
    run = fake_run()
    engine, task = start(run, experiment(PAUSE))
    await run.clock.advance(12.0)
    run.services.deaf = True
    task.cancel()
    await run.clock.advance(1.0)
    engine.abandon()
    assert await run.clock.finish(task) is RunStatus.INTERRUPTED
    assert ended(run).residual == ("the-pause",)
    assert ended(run).at_s == pytest.approx(13.0)


async def test_what_cannot_be_healed_by_the_deadline_is_residue() -> None:
    run = fake_run()
    _, task = start(run, experiment(PAUSE, DROP))
    await run.clock.advance(12.0)
    run.services.deaf = True
    assert await run.clock.finish(task) is RunStatus.COMPLETED
    assert ended(run).residual == ("the-pause",)
    assert ended(run).at_s == pytest.approx(60.0 + ROLLBACK_S)
    healed = [e for e in run.journal.events if isinstance(e, FaultHealed)]
    assert {(e.fault_id, e.confirmed, e.by) for e in healed} == {
        ("the-drop", True, "engine"),
        ("the-pause", False, "engine"),
        ("the-pause", False, "rollback"),
    }


async def test_one_door_that_hangs_does_not_keep_the_others_from_healing() -> None:
    run = fake_run()
    _, task = start(run, experiment(PAUSE, DROP))
    await run.clock.advance(12.0)

    async def hang(name: str, signum: int) -> None:
        await asyncio.get_running_loop().create_future()

    run.services.signal = hang  # type: ignore[method-assign]
    task.cancel()
    assert await run.clock.finish(task) is RunStatus.INTERRUPTED
    assert is_clean(dict(await run.proxy.links()))
    assert ended(run).residual == ("the-pause",)


async def test_a_bug_in_one_heal_does_not_keep_the_others_from_healing() -> None:
    run = fake_run()
    _, task = start(run, experiment(PAUSE, DROP))
    await run.clock.advance(12.0)

    async def broken(name: str, signum: int) -> None:
        raise ZeroDivisionError("division by zero")

    run.services.signal = broken  # type: ignore[method-assign]
    task.cancel()
    assert await run.clock.finish(task) is RunStatus.INTERRUPTED
    assert is_clean(dict(await run.proxy.links()))
    assert ended(run).residual == ("the-pause",)
    told = [e for e in run.journal.events if isinstance(e, FaultHealed) and not e.confirmed]
    assert {e.detail for e in told} == {"ZeroDivisionError: division by zero"}


async def test_a_full_disk_does_not_keep_a_rollback_from_healing_everything() -> None:
    run = fake_run()
    _, task = start(run, experiment(PAUSE, DROP))
    await run.clock.advance(12.0)
    run.journal.full = True
    task.cancel()
    with pytest.raises(OSError, match="No space"):
        await run.clock.finish(task)
    assert await left_clean(run)


async def test_a_heal_that_fails_once_is_tried_again_by_the_rollback() -> None:
    run = fake_run()
    _, task = start(run, experiment(DROP))
    await run.clock.advance(12.0)
    run.proxy.failing.add("set_enabled")
    await run.clock.advance(20.0)
    run.proxy.failing.clear()
    assert await run.clock.finish(task) is RunStatus.COMPLETED
    healed = [e for e in run.journal.events if isinstance(e, FaultHealed)]
    assert [(e.confirmed, e.by) for e in healed] == [(False, "engine"), (True, "rollback")]
    assert "500 to set_enabled" in healed[0].detail
    assert ended(run).residual == ()


async def test_an_injection_that_hangs_does_not_hold_the_run_and_is_healed() -> None:
    run = fake_run()
    signals = run.services.signal

    async def hang(name: str, signum: int) -> None:
        await signals(name, signum)
        await asyncio.get_running_loop().create_future()

    run.services.signal = hang  # type: ignore[method-assign]
    _, task = start(run, experiment(PAUSE))
    await run.clock.advance(49.0)
    run.services.signal = signals  # type: ignore[method-assign]
    assert await run.clock.finish(task) is RunStatus.COMPLETED
    (failed,) = run.journal.of(FaultFailed)
    assert isinstance(failed, FaultFailed)
    assert failed.error == "it was not over by the end of the recovery"
    assert await left_clean(run)
    assert ended(run).residual == ()


async def test_an_injection_that_raises_half_way_is_healed_at_once() -> None:
    run = fake_run()
    plan = experiment(DROP)

    def fail(method: str, link: str) -> None:
        if method == "set_disabled" and link == "host.signal.room-b":
            raise AdapterError("500 to set_disabled")

    run.proxy.on_call = fail
    _, task = start(run, plan)
    assert await run.clock.finish(task) is RunStatus.COMPLETED
    told = [type(e) for e in run.journal.of(FaultInjecting, FaultFailed, FaultHealed)]
    assert told == [FaultInjecting, FaultFailed, FaultHealed]
    assert is_clean(dict(await run.proxy.links()))
    assert ended(run).residual == ()


async def test_a_preparation_that_fails_leaves_nothing_and_the_run_goes_on() -> None:
    run = fake_run()
    run.proxy.failing.add("links")
    _, task = start(run, experiment(DROP, PAUSE))
    assert await run.clock.finish(task) is RunStatus.COMPLETED
    (failed,) = run.journal.of(FaultFailed)
    assert isinstance(failed, FaultFailed)
    assert failed.fault_id == "the-drop"
    run.proxy.failing.clear()
    assert await left_clean(run)
    assert ended(run).residual == ()


async def test_a_crash_is_rolled_back_and_raised() -> None:
    run = fake_run()

    def crash(when: str) -> tuple[CheckResult, ...]:
        if when == "again":
            raise ZeroDivisionError("a bug")
        return held(when)

    engine = Engine(experiment(replace(DROP, duration_s=None)), run.tools, run.journal, crash)
    with pytest.raises(ZeroDivisionError):
        await run.clock.finish(engine.run())
    assert ended(run).status is RunStatus.CRASHED
    assert ended(run).error == "ZeroDivisionError: a bug"
    assert await left_clean(run)


async def test_a_crash_in_one_step_heals_the_others() -> None:
    run = fake_run()

    def crash(method: str, link: str) -> None:
        if method == "counters":
            raise ZeroDivisionError("a bug in an adapter")

    _, task = start(run, experiment(PAUSE, DROP))
    await run.clock.advance(9.0)
    run.proxy.on_call = crash
    with pytest.raises(ZeroDivisionError):
        await run.clock.finish(task)
    assert ended(run).status is RunStatus.CRASHED
    assert await left_clean(run)
