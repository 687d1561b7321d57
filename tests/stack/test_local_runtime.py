"""The local runtime with real processes: start, die, hang, restart, stop, ports and limits."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from chaoskit.errors import AdapterError, EnvironmentMissing
from chaoskit.guardian.client import GuardianClient, start_guardian
from chaoskit.journal.folder import RunFolder, create_run
from chaoskit.model import HealthProbe, ServiceSpec, ServiceStatus
from chaoskit.ports import ServiceControl
from chaoskit.runtimes.limits import need_descriptors, require_descriptors
from chaoskit.runtimes.local import LocalRuntime
from chaoskit.runtimes.ports import BLOCK, PortBlock, is_free, require_free, take_port_block
from chaoskit.wire.guardian import Exited, Stopped

pytestmark = pytest.mark.stack

# Serves /health on its port, writes its ready file as services do, ends cleanly on SIGTERM.
SERVICE = """
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *args): pass
name, ready, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
print("serving", name, flush=True)
text = json.dumps({"name": name, "pid": os.getpid(), "port": port})
ready.with_suffix(".tmp").write_text(text)
ready.with_suffix(".tmp").replace(ready)
server.serve_forever()
"""
DIES = "import sys\nfor n in range(12): print('line', n)\nsys.exit(3)"
HANGS = "import time\nprint('thinking', flush=True)\ntime.sleep(600)"


def service(name: str, *depends: str, code: str = SERVICE, port: int = 0) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        argv=("{python}", "-c", code, "{name}", "{ready}", "{port}"),
        ports={"main": port},
        health=HealthProbe(kind="http"),
        depends=depends,
    )


async def wait_until(condition: Callable[[], str | None], *, within_s: float) -> None:
    """Return when `condition` returns None; fail with what it says when it does not in time."""
    deadline = time.monotonic() + within_s
    while (why_not := condition()) is not None:
        if time.monotonic() > deadline:
            pytest.fail(f"after {within_s:g} s: {why_not}")
        await asyncio.sleep(0.01)


def listener(port: int) -> socket.socket:
    """Listen as servers do: connections of a dead one that linger are no obstacle."""
    return socket.create_server(("127.0.0.1", port))


@pytest.fixture
def block(tmp_path: Path) -> Iterator[PortBlock]:
    block = take_port_block()
    yield block
    block.release()


@pytest.fixture
async def stack(
    tmp_path: Path, block: PortBlock
) -> AsyncIterator[tuple[LocalRuntime, RunFolder, GuardianClient]]:
    folder, lock = create_run(tmp_path)
    guardian = await start_guardian(folder, lock, hold=[block.fd])
    yield LocalRuntime(folder.path, guardian, block), folder, guardian
    await guardian.close()
    lock.release()


Stack = tuple[LocalRuntime, RunFolder, GuardianClient]


async def test_services_start_serve_and_stop_cleanly(stack: Stack) -> None:
    runtime, folder, _ = stack
    control: ServiceControl = runtime
    ends: list[tuple[str, int, bool]] = []
    runtime.on_exit(lambda name, exit_, expected, _: ends.append((name, exit_, expected)))

    await runtime.start([service("room-a"), service("room-b", "room-a")])

    assert control.services() == ("room-a", "room-b")
    for name in control.services():
        status = await control.status(name)
        assert status.state == "running"
        assert json.loads(folder.ready(name).read_bytes())["pid"] == status.pid
        host, port = runtime.addresses()[name, "main"].split(":")
        assert int(port) == runtime.port(name)
        socket.create_connection((host, int(port))).close()
    stopped = await runtime.stop()
    assert stopped.exits == {"room-a": 0, "room-b": 0}
    assert stopped.killed == []
    assert sorted(ends) == [("room-a", 0, True), ("room-b", 0, True)]


async def test_a_service_waits_for_those_it_depends_on(stack: Stack) -> None:
    runtime, folder, _ = stack
    needs_it = (
        "import json, sys\nfrom pathlib import Path\n"
        "print('found', json.loads(Path('ready/first.json').read_text())['name'], flush=True)\n"
    )

    await runtime.start([service("second", "first", code=needs_it + SERVICE), service("first")])

    assert "found first" in folder.log("second").read_text()


async def test_services_that_start_together_do_not_wait_for_each_other(stack: Stack) -> None:
    """Each is ready only once the other has begun: one after the other would never end."""
    runtime, _, _ = stack
    meet = (
        "import sys, time\nfrom pathlib import Path\nPath('here-' + sys.argv[1]).touch()\n"
        "while len(list(Path().glob('here-*'))) < 2: time.sleep(0.01)\n"
    )

    await runtime.start([service("one", code=meet + SERVICE), service("two", code=meet + SERVICE)])

    assert len(runtime.services()) == 2


async def test_a_child_that_dies_while_starting_is_shown_with_its_last_lines(stack: Stack) -> None:
    runtime, _, _ = stack

    with pytest.raises(EnvironmentMissing) as caught:
        await runtime.start([service("room-a"), service("room-b", code=DIES)])

    lines = caught.value.message.splitlines()
    assert lines[0] == "room-b died while starting: exit 3"
    assert lines[1:] == [f"  line {n}" for n in range(4, 12)]
    assert "room-b.log" in (caught.value.hint or "")


async def test_a_child_killed_while_starting_names_the_signal(stack: Stack) -> None:
    runtime, _, _ = stack
    suicide = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"

    with pytest.raises(EnvironmentMissing, match=r"room-a died while starting: killed by SIGSEGV"):
        await runtime.start([service("room-a", code=suicide)])


async def test_a_service_that_does_not_serve_in_time_says_what_was_waited_for(
    stack: Stack,
) -> None:
    runtime, _, _ = stack

    with pytest.raises(EnvironmentMissing) as caught:
        await runtime.start([service("room-a", code=HANGS)], within_s=1.0)

    first, *rest = caught.value.message.splitlines()
    pid = (await runtime.status("room-a")).pid
    assert first.startswith(
        f"room-a does not serve: waited 1 s for its ready file; pid {pid} was running; load average"
    )
    assert rest in (["  thinking"], ["  (nothing in room-a.log)"])


async def test_a_service_that_is_ready_but_ill_says_which_probe_failed(stack: Stack) -> None:
    runtime, _, _ = stack
    ill = SERVICE.replace("200 if", "503 if")

    with pytest.raises(
        EnvironmentMissing,
        match=r"waited \d+ s for GET http://127\.0\.0\.1:\d+/health, which answers 503; pid",
    ):
        await runtime.start([service("room-a", code=ill)], within_s=1.5)


async def test_a_ready_file_of_another_process_is_not_believed(stack: Stack) -> None:
    runtime, _, _ = stack
    liar = "import json, sys\nfrom pathlib import Path\nimport time\n" + (
        "Path(sys.argv[2]).write_text(json.dumps({'pid': 1}))\ntime.sleep(600)"
    )

    with pytest.raises(EnvironmentMissing, match=r"waited 1 s for its ready file"):
        await runtime.start([service("room-a", code=liar)], within_s=0.8)


async def test_a_killed_service_comes_back_on_its_old_port(stack: Stack) -> None:
    runtime, _, _ = stack
    await runtime.start([service("room-a")])
    before, port = await runtime.status("room-a"), runtime.port("room-a")

    await runtime.signal("room-a", signal.SIGKILL)
    await runtime.restart("room-a")

    after = await runtime.status("room-a")
    assert after.state == "running"
    assert after.pid != before.pid
    assert after.started_s > before.started_s
    assert runtime.port("room-a") == port
    socket.create_connection(("127.0.0.1", port)).close()


async def test_restarting_what_runs_changes_nothing(stack: Stack) -> None:
    runtime, _, _ = stack
    await runtime.start([service("room-a")])
    before = await runtime.status("room-a")

    await runtime.restart("room-a")

    assert (await runtime.status("room-a")).pid == before.pid


async def test_a_paused_service_is_stopped_until_it_is_continued(stack: Stack) -> None:
    runtime, _, _ = stack
    await runtime.start([service("room-a")])

    await runtime.signal("room-a", signal.SIGSTOP)
    assert (await runtime.status("room-a")).state == "stopped"
    await runtime.signal("room-a", signal.SIGCONT)
    assert (await runtime.status("room-a")).state == "running"


async def test_only_an_end_that_somebody_asked_for_is_expected(stack: Stack) -> None:
    runtime, _, _ = stack
    ends: dict[str, tuple[int, bool]] = {}
    runtime.on_exit(lambda name, exit_, expected, _: ends.update({name: (exit_, expected)}))
    await runtime.start([service("asked"), service("by-itself")])

    await runtime.signal("asked", signal.SIGKILL)
    assert (await runtime.status("asked")).state == "exited"
    os.kill((await runtime.status("by-itself")).pid, signal.SIGKILL)

    assert await runtime.wait_exit("asked", within_s=5.0) == -signal.SIGKILL
    assert await runtime.wait_exit("by-itself", within_s=5.0) == -signal.SIGKILL
    assert ends == {"asked": (-9, True), "by-itself": (-9, False)}


class StoppedEngine:
    """Spawns a process that ended long before anybody here could look."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Exited], None]] = []

    def on_exit(self, listener: Callable[[Exited], None]) -> None:
        self._listeners.append(listener)

    async def spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> ServiceStatus:
        for listener in self._listeners:
            listener(Exited(name=name, pid=7, exit=3, at_s=12.5))
        return ServiceStatus(name=name, pid=7, state="exited", exit=3)

    async def signal(self, name: str, signum: int) -> None:
        raise AdapterError("it ended")

    async def status(self, name: str) -> ServiceStatus:
        return ServiceStatus(name=name, pid=7, state="exited", exit=3)

    async def shutdown(self, waves: Sequence[Sequence[str]], *, grace_s: float) -> Stopped:
        return Stopped(exits={}, killed=[])


async def test_an_end_has_the_stamp_of_who_saw_it(tmp_path: Path, block: PortBlock) -> None:
    runtime = LocalRuntime(tmp_path, StoppedEngine(), block)
    ends: list[tuple[str, int, bool, float]] = []
    runtime.on_exit(lambda *end: ends.append(end))

    with pytest.raises(EnvironmentMissing, match="room-a died while starting: exit 3"):
        await runtime.start([service("room-a")])

    assert ends == [("room-a", 3, False, 12.5)]


async def test_stopping_says_what_had_to_be_killed_and_crowds_end_before_servers(
    stack: Stack,
) -> None:
    runtime, _, _ = stack
    order: list[str] = []
    runtime.on_exit(lambda name, *_: order.append(name))
    deaf = SERVICE.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")
    await runtime.start([service("room-a")])
    await runtime.start([service("crowd", code=deaf)])

    stopped = await runtime.stop(grace_s=0.3)

    assert stopped.killed == ["crowd"]
    assert order == ["crowd", "room-a"]


async def test_services_that_are_not_there_are_named(stack: Stack) -> None:
    runtime, _, _ = stack
    with pytest.raises(AdapterError, match=r"no service 'room-z'; there are none"):
        await runtime.signal("room-z", signal.SIGTERM)
    with pytest.raises(ValueError, match=r"room-a depends on proxy, which is no service"):
        await runtime.start([service("room-a", "proxy")])
    with pytest.raises(ValueError, match=r"room-b has no port rtp"):
        await runtime.start([ServiceSpec(name="room-b", argv=("{port:rtp}",))])


async def test_when_the_guardian_is_killed_a_start_ends_with_what_happened(stack: Stack) -> None:
    runtime, folder, guardian = stack
    start = asyncio.create_task(runtime.start([service("room-a", code=HANGS)], within_s=30.0))
    log = folder.log("room-a")
    await wait_until(
        lambda: None if log.exists() and log.read_text() else "not started", within_s=10.0
    )

    os.kill(guardian.pid, signal.SIGKILL)

    with pytest.raises(EnvironmentMissing, match=r"room-a died while starting: killed by SIGKILL"):
        await start


def test_a_fixed_port_that_is_taken_is_refused_with_its_holder(block: PortBlock) -> None:
    port = block.take()
    with (
        listener(port),
        pytest.raises(
            EnvironmentMissing, match=rf"room-a: port {port} is taken by .*\(pid {os.getpid()}\)"
        ) as caught,
    ):
        require_free(port, "room-a")

    assert caught.value.hint


async def test_a_stack_whose_fixed_port_is_taken_starts_nothing(stack: Stack) -> None:
    runtime, folder, _ = stack
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]

        with pytest.raises(EnvironmentMissing, match=rf"room-b: port {port} is taken"):
            await runtime.start([service("room-a"), service("room-b", port=port)])

    assert not folder.log("room-a").exists()


def test_two_runs_never_hold_the_same_block(tmp_path: Path) -> None:
    blocks = [20000 + BLOCK * n for n in range(150)]
    one = take_port_block(tmp_path, candidates=blocks)
    two = take_port_block(tmp_path, candidates=[one.first, *blocks])

    assert two.first != one.first
    with pytest.raises(EnvironmentMissing, match=r"no free block of 64 ports"):
        take_port_block(tmp_path, candidates=[one.first, two.first])
    first = one.first
    one.release()
    again = take_port_block(tmp_path, candidates=[first])
    assert again.first == first
    two.release()
    again.release()


def test_a_block_with_a_port_in_use_is_passed_over(tmp_path: Path, block: PortBlock) -> None:
    with listener(block.first + 5), pytest.raises(EnvironmentMissing, match=r"1 tried"):
        take_port_block(tmp_path, candidates=[block.first])


async def test_the_block_stays_held_while_the_guardian_lives(
    tmp_path: Path, block: PortBlock
) -> None:
    ports = tmp_path / "ports"
    own = take_port_block(ports, candidates=[block.first])
    folder, lock = create_run(tmp_path)
    guardian = await start_guardian(folder, lock, hold=[own.fd])

    own.release()

    with pytest.raises(EnvironmentMissing):
        take_port_block(ports, candidates=[block.first])
    await guardian.close()
    take_port_block(ports, candidates=[block.first]).release()
    lock.release()


def test_a_port_is_given_once(block: PortBlock) -> None:
    ports = [block.take() for _ in range(BLOCK)]

    assert len(set(ports)) == BLOCK
    assert all(block.first <= port < block.first + BLOCK for port in ports)
    assert all(is_free(port) for port in ports)
    with pytest.raises(EnvironmentMissing, match=r"all 64 ports"):
        block.take()


def test_the_need_for_open_files_grows_with_the_listeners() -> None:
    few, many = need_descriptors(200, shards=2), need_descriptors(890, shards=2)

    assert {need.process: need.count for need in few}["fault-proxy"] == 1256
    assert {need.process: need.count for need in many}["crowd-*"] == 4 * 445 + 64
    assert all(a.count < b.count for a, b in zip(few, many, strict=True))


def test_a_limit_that_is_too_low_is_refused_with_the_need_per_process() -> None:
    """In a process of its own: a lowered hard limit cannot be raised again."""
    code = (
        "import resource\n"
        "from chaoskit.errors import EnvironmentMissing\n"
        "from chaoskit.runtimes.limits import require_descriptors\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1500))\n"
        "require_descriptors(200)\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1500, 1500)\n"
        "try:\n    require_descriptors(2000)\n"
        "except EnvironmentMissing as error:\n    print(error.message); print(error.hint)\n"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "2,000 listeners need more open files than the 1,500" in said.stdout
    assert "fault-proxy   10,256  5 a listener + 256   too many" in said.stdout
    assert "ulimit -Hn 10256" in said.stdout


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        require_descriptors(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
