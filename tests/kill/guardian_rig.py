"""What the kill tests share: an engine to be killed, waits with reasons, a proxy for leases."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from chaoskit.guardian.client import GuardianClient
from chaoskit.guardian.strays import find_strays
from chaoskit.journal.folder import RunFolder
from chaoskit.journal.reader import load_journal
from chaoskit.journal.writer import JournalWriter, header
from chaoskit.model import Event, FaultInjecting, Undo
from chaoskit.wire.guardian import Exited

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
