"""Starts the two servers that the AudioBridge contract holds for: the embedded one and Janus."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_S = 20.0


@dataclass(frozen=True, slots=True)
class Server:
    """A room server that serves at `url`."""

    kind: str
    url: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid


@contextlib.contextmanager
def embedded_server(folder: Path, *, session_timeout_s: int = 60) -> Iterator[Server]:
    """Run the embedded room server as a child."""
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "chaoskit.services.room_server", "--name", "room-a"]
    command += ["--ready", str(ready), "--session-timeout", str(session_timeout_s)]
    with _child(command, folder) as process:
        _wait_for(ready.exists, process, folder)
        port = json.loads(ready.read_text())["port"]
        yield Server("embedded", f"ws://127.0.0.1:{port}/", process)


@contextlib.contextmanager
def janus_server(folder: Path, *, session_timeout_s: int = 60) -> Iterator[Server]:
    """Run Janus with AudioBridge and WebSockets alone, loopback only, on free ports."""
    program = shutil.which("janus")
    assert program is not None
    port, first_rtp = _free_port(), _free_rtp_range(400)
    homes = [*Path("/usr/lib").glob("*/janus"), Path(program).parents[1] / "lib" / "janus"]
    home = next(path for path in homes if (path / "plugins").is_dir())
    folders = {name: folder / name for name in ("plugins", "transports", "events", "loggers")}
    for path in folders.values():
        path.mkdir()
    for kind, library in (("plugins", "audiobridge"), ("transports", "websockets")):
        file = f"libjanus_{library}.so"
        (folders[kind] / file).symlink_to(home / kind / file)
    config = folder / "config"
    config.mkdir()
    (config / "janus.jcfg").write_text(
        f"""general: {{
            configs_folder = "{config}"
            plugins_folder = "{folders["plugins"]}"
            transports_folder = "{folders["transports"]}"
            events_folder = "{folders["events"]}"
            loggers_folder = "{folders["loggers"]}"
            interface = "127.0.0.1"
            session_timeout = {session_timeout_s}
            reclaim_session_timeout = 0
        }}"""
    )
    (config / "janus.transport.websockets.jcfg").write_text(
        f'general: {{ json = "compact", ws = true, ws_port = {port}, ws_ip = "127.0.0.1" }}'
    )
    (config / "janus.plugin.audiobridge.jcfg").write_text(
        f'general: {{ local_ip = "127.0.0.1", rtp_port_range = "{first_rtp}-{first_rtp + 399}" }}'
    )
    with _child([program, "-F", str(config)], folder) as process:
        _wait_for(lambda: _listens(port), process, folder)
        yield Server("janus", f"ws://127.0.0.1:{port}/", process)


@contextlib.contextmanager
def _child(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _wait_for(condition: object, process: subprocess.Popen[bytes], folder: Path) -> None:
    assert callable(condition)
    deadline = time.monotonic() + START_S
    while not condition():
        log = (folder / "log").read_text(errors="replace")[-2_000:]
        assert process.poll() is None, f"the server ended with {process.returncode}:\n{log}"
        assert time.monotonic() < deadline, f"the server did not serve in {START_S:g} s:\n{log}"
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _free_rtp_range(count: int) -> int:
    # Below the ephemeral range and below the ports that runs take.
    for _ in range(100):
        first = random.randrange(10_000, 20_000 - count, 2)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(first, first + count, 2):
                probe = probes.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                probe.bind(("127.0.0.1", port))
            return first
    raise AssertionError("no free range of UDP ports for Janus")
