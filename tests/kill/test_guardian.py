"""Whoever dies, nothing of a run outlives it: real processes, real signals, real waits."""

import asyncio
import functools
import json
import os
import signal
from pathlib import Path

import pytest

from chaoskit.errors import AdapterError
from chaoskit.guardian.client import GuardianClient
from chaoskit.guardian.strays import find_strays
from chaoskit.guardian.takeover import heal_run
from chaoskit.journal.folder import RunFolder, find_run
from chaoskit.journal.reader import load_journal
from chaoskit.model import FaultHealed, HealBegun, HealEnded
from tests.kill.guardian_rig import (
    COUNTER,
    ENGINE,
    GONE_WITHIN_S,
    PARENT,
    PLAIN,
    STUBBORN,
    Exits,
    LeaseServer,
    StartEngine,
    are_gone,
    injecting,
    journal_of,
    log_has,
    python,
    start_process,
    state_of,
    wait_until,
)

pytestmark = pytest.mark.kill


async def test_when_the_engines_whole_group_is_killed_nothing_is_left(
    start_engine: StartEngine,
) -> None:
    engine = start_engine(
        {"plain": PLAIN, "stopped": PLAIN, "stubborn": STUBBORN, "parent": PARENT}
    )
    for name in ("plain", "stopped", "stubborn"):
        await wait_until(functools.partial(log_has, engine.folder, name, "up"), within_s=10.0)
    await wait_until(lambda: log_has(engine.folder, "parent", "grandchild"), within_s=10.0)
    engine.pids["grandchild"] = int(engine.folder.log("parent").read_text().split()[1])
    os.kill(engine.pids["stopped"], signal.SIGSTOP)
    await wait_until(
        lambda: None if state_of(engine.pids["stopped"]) == "T" else "not stopped", within_s=5.0
    )

    engine.kill_group()

    events = await engine.wait_taken_over()
    begun, ended = events
    assert isinstance(begun, HealBegun)
    assert (begun.by, begun.why) == ("guardian", "the engine is gone")
    assert isinstance(ended, HealEnded)
    assert ended.left == ended.residual == ()
    assert "stubborn" in ended.killed
    assert "plain" not in ended.killed
    assert "stopped" not in ended.killed


@pytest.mark.parametrize("delay_lines", [0, 1, 2])
async def test_an_engine_that_dies_while_it_starts_things_leaves_nothing(
    tmp_path: Path, delay_lines: int
) -> None:
    """Killed as soon as so many processes of the run can be seen, whatever it is about to do."""
    children = json.dumps({f"c{n}": PLAIN for n in range(6)})
    process = start_process([*python(ENGINE), str(tmp_path), children])

    def run_is_there() -> str | None:
        return None if (tmp_path / "latest").exists() else "no run folder"

    await wait_until(run_is_there, within_s=10.0)
    run = find_run(tmp_path, "latest")
    await wait_until(
        lambda: None if len(find_strays(run.path)) >= delay_lines else "too few", within_s=10.0
    )

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    def nothing_left() -> str | None:
        strays = find_strays(run.path)
        return f"left: {strays}" if strays or run.is_live() else None

    await wait_until(nothing_left, within_s=GONE_WITHIN_S)


async def test_the_guardian_heals_from_the_journal_before_it_takes_the_stack_down(
    start_engine: StartEngine,
) -> None:
    engine = start_engine({"room-a": PLAIN})
    pid = engine.pids["room-a"]
    writer = journal_of(engine.folder)
    writer.append(injecting("hold", "pause", running={"room-a": pid}), durable=True)
    writer.append(injecting("odd", "from_another_planet"), durable=True)
    os.kill(pid, signal.SIGSTOP)

    engine.kill_group()

    events = await engine.wait_taken_over()
    healed = {event.fault_id: event for event in events if isinstance(event, FaultHealed)}
    assert healed["hold"].confirmed
    assert healed["hold"].by == "guardian"
    assert healed["hold"].detail == ""
    assert not healed["odd"].confirmed
    assert "from_another_planet" in healed["odd"].detail
    assert isinstance(events[-1], HealEnded)
    assert events[-1].residual == ("odd",)


async def test_a_killed_service_is_started_again_by_its_undo(start_engine: StartEngine) -> None:
    engine = start_engine({"room-a": PLAIN})
    writer = journal_of(engine.folder)
    writer.append(
        injecting("end-a", "kill", running={"room-a": engine.pids["room-a"]}), durable=True
    )
    os.kill(engine.pids["room-a"], signal.SIGKILL)
    await wait_until(lambda: are_gone([engine.pids["room-a"]]), within_s=5.0)

    engine.kill_group()

    events = await engine.wait_taken_over()
    healed = [event for event in events if isinstance(event, FaultHealed)]
    assert [(event.fault_id, event.confirmed) for event in healed] == [("end-a", True)]


async def test_faults_that_died_with_the_stack_are_told_apart_from_residue(
    start_engine: StartEngine,
) -> None:
    engine = start_engine({})
    writer = journal_of(engine.folder)
    writer.append(injecting("quiet", "mute", participants=[1]), durable=True)

    engine.kill_group()

    events = await engine.wait_taken_over()
    healed = [event for event in events if isinstance(event, FaultHealed)]
    assert [event.confirmed for event in healed] == [True]
    assert healed[0].detail.startswith("ended with the stack")


async def test_killing_the_guardian_kills_its_children_and_the_engine_hears_of_it(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    exits = Exits(guardian)
    plain = await guardian.spawn("plain", python(PLAIN), {})
    stopped = await guardian.spawn("stopped", python(STUBBORN), {})
    await guardian.signal("stopped", signal.SIGSTOP)

    os.kill(guardian.pid, signal.SIGKILL)

    await asyncio.wait_for(guardian.lost.wait(), 5.0)
    await wait_until(lambda: are_gone([plain.pid, stopped.pid]), within_s=5.0)
    assert (await exits.wait(plain.pid)).exit == -signal.SIGKILL
    with pytest.raises(AdapterError, match=rf"the guardian \(pid {guardian.pid}\) is gone"):
        await guardian.status("plain")


async def test_the_guardian_takes_the_stack_down_on_sigterm_and_minds_no_other_signal(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    plain = await guardian.spawn("plain", python(PLAIN), {})
    await wait_until(lambda: log_has(folder, "plain", "up"), within_s=10.0)

    for signum in (signal.SIGINT, signal.SIGHUP):
        os.kill(guardian.pid, signum)
        await wait_until(
            functools.partial(log_has, folder, "guardian", f"ignored {signum.name}"), within_s=5.0
        )
    assert (await guardian.status("plain")).state == "running"
    os.kill(guardian.pid, signal.SIGTERM)

    await asyncio.wait_for(guardian.lost.wait(), GONE_WITHIN_S)
    await wait_until(lambda: are_gone([plain.pid, guardian.pid]), within_s=5.0)
    events = load_journal(folder.journal).events
    assert isinstance(events[0], HealBegun)
    assert events[0].why == "the guardian was told to stop"


async def test_stopping_the_engine_stops_nothing_else(start_engine: StartEngine) -> None:
    engine = start_engine({"counter": COUNTER})
    counter = engine.folder.path / "counter"
    await wait_until(lambda: None if counter.exists() else "no counter", within_s=10.0)

    os.kill(engine.process.pid, signal.SIGSTOP)
    await wait_until(
        lambda: None if state_of(engine.process.pid) == "T" else "not stopped", within_s=5.0
    )
    before = _number_in(counter)
    await wait_until(
        lambda: None if _number_in(counter) >= before + 20 else f"{_number_in(counter)}",
        within_s=20.0,
    )

    assert are_gone([engine.pids["guardian"]]) is not None
    os.kill(engine.process.pid, signal.SIGCONT)
    engine.kill_group()
    await engine.wait_taken_over()


def _number_in(path: Path) -> int:
    text = path.read_text()
    return int(text) if text else 0


async def test_leases_are_renewed_while_the_engine_is_stopped_and_end_with_the_guardian(
    start_engine: StartEngine, lease_server: LeaseServer
) -> None:
    engine = start_engine({}, lease_server.url)
    os.kill(engine.process.pid, signal.SIGSTOP)
    await wait_until(
        lambda: None if state_of(engine.process.pid) == "T" else "not stopped", within_s=5.0
    )
    before = len(lease_server.renewed)

    await wait_until(
        lambda: None if len(lease_server.renewed) >= before + 3 else str(lease_server.renewed),
        within_s=10.0,
    )

    assert set(lease_server.renewed) == {"/chaoskit/leases/l1"}
    engine.kill_group()
    await engine.wait_taken_over()


async def test_healing_later_and_from_elsewhere_finishes_what_the_guardian_could_not(
    start_engine: StartEngine,
) -> None:
    engine = start_engine({"room-a": PLAIN})
    writer = journal_of(engine.folder)
    writer.append(
        injecting("hold", "pause", running={"room-a": engine.pids["room-a"]}), durable=True
    )
    assert (await heal_run(engine.folder)).live
    stray = start_process(python(PLAIN), CHAOSKIT_RUN_FOLDER=str(engine.folder.path))
    os.kill(engine.pids["guardian"], signal.SIGKILL)
    engine.kill_group()
    await wait_until(lambda: None if not engine.folder.is_live() else "live", within_s=10.0)
    await wait_until(lambda: are_gone(list(engine.pids.values())), within_s=10.0)
    assert [found.pid for found in find_strays() if found.folder == engine.folder.path] == [
        stray.pid
    ]

    report = await heal_run(engine.folder)

    assert stray.wait() == -signal.SIGKILL
    assert report.healed == ("hold",)
    assert [line.split()[0] for line in report.killed] == [str(stray.pid)]
    assert report.clean
    again = await heal_run(engine.folder)
    assert again.idle
    assert again.clean
