"""Whoever dies, nothing of a run outlives it: real processes, real signals, real waits."""

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from chaoskit.errors import AdapterError, EnvironmentMissing
from chaoskit.guardian.client import GuardianClient, start_guardian
from chaoskit.guardian.strays import find_strays
from chaoskit.guardian.takeover import heal_run
from chaoskit.journal.folder import RunFolder, create_run, find_run
from chaoskit.journal.reader import load_journal
from chaoskit.journal.writer import JournalWriter, header
from chaoskit.model import Event, FaultHealed, FaultInjecting, HealBegun, HealEnded, Undo
from chaoskit.wire.guardian import Exited

pytestmark = pytest.mark.kill

GONE_WITHIN_S = 10.0

PLAIN = "import time\nprint('up', flush=True)\nwhile True: time.sleep(0.05)"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PLAIN
COUNTER = """
import pathlib, time
n = 0
while True:
    n += 1
    pathlib.Path("counter").write_text(str(n))
    time.sleep(0.01)
"""
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {PLAIN!r}], start_new_session=True)
print("grandchild", child.pid, flush=True)
while True: time.sleep(0.05)
"""
# The engine of these tests: starts what it is told, says so, and waits to be killed.
ENGINE = """
import asyncio, json, sys
from pathlib import Path
from chaoskit.guardian.client import start_guardian
from chaoskit.journal.folder import create_run

async def main():
    folder, lock = create_run(Path(sys.argv[1]))
    guardian = await start_guardian(folder, lock)
    pids = {"guardian": guardian.pid}
    for name, code in json.loads(sys.argv[2]).items():
        pids[name] = (await guardian.spawn(name, [sys.executable, "-c", code], {})).pid
    if len(sys.argv) > 3:
        await guardian.keep_lease(sys.argv[3], "l1", ttl_s=0.3)
    print(json.dumps({"run": folder.id, "pids": pids}), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def wait_until(condition: Callable[[], str | None], *, within_s: float) -> None:
    """Return when `condition` returns None; fail with what it says when it does not in time."""
    deadline = time.monotonic() + within_s
    while (why_not := condition()) is not None:
        if time.monotonic() > deadline:
            pytest.fail(f"after {within_s:g} s: {why_not}")
        await asyncio.sleep(0.01)


def state_of(pid: int) -> str:
    """Return the kernel's state letter of a process; X when it is not there."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return stat.rpartition(b")")[2].split()[0].decode()


def are_gone(pids: Sequence[int]) -> str | None:
    alive = {pid: state for pid in pids if (state := state_of(pid)) not in "XZ"}
    return f"still there: {alive}" if alive else None


def log_has(folder: RunFolder, name: str, text: str) -> str | None:
    log = folder.log(name)
    seen = log.read_text() if log.exists() else "(no log)"
    return None if text in seen else f"{name}.log has {seen!r}, not {text!r}"


@dataclass
class Engine:
    """A process that plays the engine, in a process group of its own."""

    process: "subprocess.Popen[bytes]"
    folder: RunFolder
    pids: dict[str, int]

    def kill_group(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    async def wait_taken_over(self) -> list[Event]:
        """Return what the guardian wrote, once everything that belonged to the run is gone."""
        await wait_until(lambda: are_gone(list(self.pids.values())), within_s=GONE_WITHIN_S)
        assert not self.folder.is_live()
        assert find_strays(self.folder.path) == []
        return list(load_journal(self.folder.journal).events)


StartEngine = Callable[..., Engine]


@pytest.fixture
def start_engine(tmp_path: Path) -> Iterator[StartEngine]:
    engines: list[Engine] = []

    def start(children: dict[str, str], *more: str) -> Engine:
        process = subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(tmp_path), json.dumps(children), *more],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the engine did not come up: exit {process.wait()}"
        said = json.loads(line)
        engines.append(Engine(process, find_run(tmp_path, said["run"]), said["pids"]))
        return engines[-1]

    yield start
    for engine in engines:
        if engine.process.poll() is None:
            engine.kill_group()
        assert engine.process.stdout is not None
        engine.process.stdout.close()


@pytest.fixture
async def guardian(tmp_path: Path) -> AsyncIterator[GuardianClient]:
    """A guardian whose engine is the test."""
    folder, lock = create_run(tmp_path)
    client = await start_guardian(folder, lock)
    yield client
    await client.close()
    lock.release()


@pytest.fixture
def folder(tmp_path: Path, guardian: GuardianClient) -> RunFolder:
    return find_run(tmp_path, "latest")


class Exits:
    """The exit notices of a guardian, by pid."""

    def __init__(self, guardian: GuardianClient) -> None:
        self.seen: dict[int, Exited] = {}
        guardian.on_exit(lambda notice: self.seen.update({notice.pid: notice}))

    async def wait(self, pid: int) -> Exited:
        await wait_until(
            lambda: None if pid in self.seen else f"no exit of {pid} in {list(self.seen)}",
            within_s=10.0,
        )
        return self.seen[pid]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def start_process(argv: list[str], **env: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        argv, env={**os.environ, **env}, stdout=subprocess.DEVNULL, start_new_session=True
    )


def journal_of(folder: RunFolder) -> JournalWriter:
    now_s = time.monotonic()
    first_line = header(
        run=folder.id,
        experiment="test",
        digest="",
        seed=1,
        started_s=now_s,
        origin_s=now_s,
        argv=(),
    )
    return JournalWriter.create(folder.journal, first_line)


def injecting(fault: str, kind: str, **handle: object) -> FaultInjecting:
    undo = Undo(fault_id=fault, kind=kind, handle=handle)
    return FaultInjecting(at_s=0.0, fault_id=fault, kind=kind, target="x", undo=undo)


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


class LeaseServer:
    """Answers lease renewals as the fault proxy does, and keeps count."""

    def __init__(self) -> None:
        self.renewed: list[str] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                outer.renewed.append(self.path)
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def lease_server() -> Iterator[LeaseServer]:
    server = LeaseServer()
    yield server
    server.close()


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


async def test_the_engine_hears_of_a_lease_that_is_gone(
    guardian: GuardianClient, lease_server: LeaseServer
) -> None:
    heard: list[str] = []
    guardian.on_lease_trouble(lambda trouble: heard.append(trouble.why))
    lease_server.status = 404

    await guardian.keep_lease(lease_server.url, "l9", ttl_s=0.1)

    await wait_until(lambda: None if heard else "nothing heard", within_s=10.0)
    assert heard == ["the fault proxy does not know the lease any more"]


async def test_ends_are_reported_with_their_status(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    exits = Exits(guardian)
    seven = await guardian.spawn("seven", python("raise SystemExit(7)"), {})
    killed = await guardian.spawn("killed", python(PLAIN), {})
    await guardian.signal("killed", signal.SIGKILL)

    assert (await exits.wait(seven.pid)).exit == 7
    assert (await exits.wait(killed.pid)).exit == -signal.SIGKILL
    assert (await guardian.status("seven")).exit == 7
    assert (await guardian.status("killed")).state == "exited"


async def test_a_dead_process_keeps_its_pid_until_the_run_is_over(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    exits = Exits(guardian)
    first = await guardian.spawn("service", python("pass"), {})
    await exits.wait(first.pid)
    second = await guardian.spawn("service", python(PLAIN), {})

    assert second.pid != first.pid
    assert state_of(first.pid) == "Z"
    await guardian.signal("service", signal.SIGSTOP)
    await wait_until(
        lambda: None if state_of(second.pid) == "T" else state_of(second.pid), within_s=5.0
    )
    assert (await guardian.status("service")).state == "stopped"
    await guardian.close()
    await wait_until(
        lambda: None if {state_of(first.pid), state_of(second.pid)} <= {"X"} else "not reaped",
        within_s=5.0,
    )


async def test_a_signal_to_a_process_that_has_ended_hits_nobody(guardian: GuardianClient) -> None:
    exits = Exits(guardian)
    done = await guardian.spawn("done", python("pass"), {})
    await exits.wait(done.pid)

    await guardian.signal("done", signal.SIGKILL)

    assert (await guardian.status("done")).exit == 0


async def test_children_live_in_the_run_folder_marked_and_on_their_own(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    report = (
        "import json, os, signal, sys;"
        "print(json.dumps([os.getcwd(), os.environ['CHAOSKIT_RUN'], os.environ['EXTRA'],"
        " os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,"
        " sorted(int(n) for n in os.listdir('/proc/self/fd'))]))"
    )
    exits = Exits(guardian)
    process = await guardian.spawn("reporter", python(report), {"EXTRA": "1"})
    await exits.wait(process.pid)

    cwd, run, extra, own_session, minds_sigint, fds = json.loads(folder.log("reporter").read_text())
    assert (cwd, run, extra) == (str(folder.path), folder.id, "1")
    assert own_session
    assert minds_sigint
    # Nothing of the guardian's is inherited (the listing itself opens descriptor 3).
    assert fds == [0, 1, 2, 3]


async def test_what_cannot_be_started_is_refused_with_its_reason(guardian: GuardianClient) -> None:
    with pytest.raises(AdapterError, match=r"ghost: cannot start /no/such/program: .*No such file"):
        await guardian.spawn("ghost", ["/no/such/program"], {})
    with pytest.raises(AdapterError, match=r"ghost: no such process"):
        await guardian.status("ghost")
    await guardian.spawn("plain", python(PLAIN), {})
    with pytest.raises(AdapterError, match=r"plain: already runs with pid \d+"):
        await guardian.spawn("plain", python(PLAIN), {})


async def test_a_shutdown_goes_wave_by_wave_and_says_who_had_to_be_killed(
    guardian: GuardianClient, folder: RunFolder
) -> None:
    polite = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + PLAIN
    order: list[str] = []
    guardian.on_exit(lambda notice: order.append(notice.name))
    for name, code in (("proxy", polite), ("crowd", polite), ("stubborn", STUBBORN)):
        await guardian.spawn(name, python(code), {})
        await wait_until(functools.partial(log_has, folder, name, "up"), within_s=10.0)

    stopped = await guardian.shutdown([["crowd"], ["stubborn"]], grace_s=0.3)

    assert stopped.exits == {"crowd": 0, "stubborn": -signal.SIGKILL, "proxy": 0}
    assert stopped.killed == ["stubborn"]
    assert order == ["crowd", "stubborn", "proxy"]
    with pytest.raises(AdapterError, match=r"late: not started, the run is being taken down"):
        await guardian.spawn("late", python(PLAIN), {})


async def test_a_farewell_ends_what_is_left_and_heals_nothing(tmp_path: Path) -> None:
    folder, lock = create_run(tmp_path)
    guardian = await start_guardian(folder, lock)
    process = await guardian.spawn("plain", python(PLAIN), {})
    await wait_until(lambda: log_has(folder, "plain", "up"), within_s=10.0)

    stopped = await guardian.close()

    assert stopped.exits == {"plain": -signal.SIGTERM}
    assert are_gone([process.pid, guardian.pid]) is None
    assert not folder.heal.exists()
    assert folder.is_live()
    lock.release()
    assert not folder.is_live()
    assert not guardian.lost.is_set()


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


async def test_a_guardian_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lock = create_run(tmp_path)
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(EnvironmentMissing, match=r"the guardian did not start: exit 1"):
        await start_guardian(folder, lock)

    lock.release()
    assert not folder.is_live()
