"""A directory with real room servers, and people in their rooms."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout

from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.rooms.driver import Kicked, RoomGone
from chaoskit.wire.directory import DirectoryConfig, NodeConfig, Remedies
from tests.stack.checked_api import CheckedApi

ROOT = Path(__file__).resolve().parents[2]
START_S = 20.0
WAIT_S = 15.0
"""Deadline of waits: far above what is awaited, for a busy machine."""


NIGHT = {
    "event": "night",
    "account": "first",
    "standby_account": "second",
    "candidates": ["p0", "p2"],
    "speakers": ["p0", "p1", "p2"],
}
AT = "/v1/events/night"
"""An event as most tests create it, and its path."""


async def wait_until(
    why_not_yet: Callable[[], Awaitable[str | None]], *, within_s: float = WAIT_S
) -> None:
    """Return when `why_not_yet` returns None; after the deadline fail with what it said last."""
    deadline = time.monotonic() + within_s
    while (reason := await why_not_yet()) is not None:
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {reason}"
        await asyncio.sleep(0.02)


# --- processes -----------------------------------------------------------------------------------


class Service:
    """One `python -m chaoskit.services.<module>` in `folder`; its log is `<name>.log` there."""

    def __init__(self, folder: Path, name: str, module: str, *arguments: str) -> None:
        self.folder = folder
        self.name = name
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._command = [sys.executable, "-m", f"chaoskit.services.{module}", "--name", name]
        self._command += ["--ready", f"ready/{name}.json", *arguments]

    @property
    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text()

    def start(self) -> None:
        """Start it (again, on the port that it had) and wait for its ready file."""
        ready = self.folder / "ready" / f"{self.name}.json"
        ready.parent.mkdir(exist_ok=True)
        ready.unlink(missing_ok=True)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "--port", str(self.port)],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while not ready.exists():
            assert self.process.poll() is None, f"{self.name} ended at its start:\n{self.log}"
            assert time.monotonic() < deadline, f"{self.name}: no ready file:\n{self.log}"
            time.sleep(0.02)
        said = json.loads(ready.read_text())
        assert said["pid"] == self.process.pid
        self.port = said["port"]

    def signal(self, signum: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(signum)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(WAIT_S)

    def stop(self) -> int:
        """End it with SIGTERM; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(WAIT_S)

    def make_sure_it_is_gone(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


@dataclass
class Rig:
    """Two room servers and a directory, all running."""

    folder: Path
    rooms: dict[str, Service]
    directory: Service
    config: DirectoryConfig

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.directory.port}"

    def signal_url(self, node: str) -> str:
        return f"ws://127.0.0.1:{self.rooms[node].port}"

    @asynccontextmanager
    async def api(self) -> AsyncIterator[CheckedApi]:
        async with ClientSession(timeout=ClientTimeout(total=WAIT_S)) as session:
            yield CheckedApi(session, self.url)


@contextmanager
def running(
    folder: Path,
    *,
    remedies: Remedies | None = None,
    elsewhere: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Rig]:
    """Run room servers `room-a` and `room-b` and a directory with short timers; end them all.

    elsewhere: signalling URLs of nodes that run already; they come first.
    """
    rooms = {name: Service(folder, name, "room_server") for name in ("room-a", "room-b")}
    config_path = folder / "directory.json"
    directory = Service(folder, "directory", "directory", "--config", config_path.name)
    try:
        for room in rooms.values():
            room.start()
        config = DirectoryConfig(
            nodes=[
                NodeConfig(name=name, signal_url=url)
                for name, url in {
                    **(elsewhere or {}),
                    **{name: f"ws://127.0.0.1:{room.port}" for name, room in rooms.items()},
                }.items()
            ],
            remedies=remedies or Remedies(),
            **{"lease_s": 1.5, "probe_s": 0.25, "call_s": 2.0} | settings,
        )
        config_path.write_text(json.dumps(asdict(config)))
        directory.start()
        yield Rig(folder=folder, rooms=rooms, directory=directory, config=config)
    finally:
        for service in (directory, *rooms.values()):
            service.make_sure_it_is_gone()


# --- people --------------------------------------------------------------------------------------


@asynccontextmanager
async def in_room(url: str, room: int, identity: str) -> AsyncIterator[AudioBridgeClient]:
    """Be in a room at the server of `url`, as participants are, without sending any media."""
    client = await AudioBridgeClient.connect(url)
    try:
        await client.join(
            room,
            int(identity.removeprefix("p")) + 1,
            display=identity,
            rtp_ip="127.0.0.1",
            rtp_port=9,
        )
        yield client
    finally:
        await client.close()


async def who_is_in(url: str, room: int) -> set[str]:
    """Return the identities that the server of `url` lists in `room`."""
    client = await AudioBridgeClient.connect(url)
    try:
        return {str(one.display) for one in await client.participants(room)}
    finally:
        await client.close()


@asynccontextmanager
async def beating(api: CheckedApi, event: str, *identities: str) -> AsyncIterator[None]:
    """Send heartbeats of candidates meanwhile; the first ones are answered before the body runs."""

    async def beat() -> None:
        for identity in identities:
            await api.ok("PUT", f"/v1/events/{event}/lease", {"identity": identity})

    async def keep_beating() -> None:
        while True:
            await asyncio.sleep(0.2)
            await beat()

    await beat()
    task = asyncio.create_task(keep_beating())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


# --- what tests ask ------------------------------------------------------------------------------


async def wait_state(api: CheckedApi, **expected: Any) -> dict[str, Any]:
    """Poll until the state has the expected members; return it."""
    state: dict[str, Any] = {}

    async def why_not() -> str | None:
        nonlocal state
        state = await api.ok("GET", AT)
        seen = {name: state[name] for name in expected}
        return None if seen == expected else f"the state is {state}, expected {expected}"

    await wait_until(why_not)
    return state


async def join(api: CheckedApi, identity: str) -> Any:
    return await api.ok("POST", f"{AT}/join", {"identity": identity})


async def ask_stage(api: CheckedApi, identity: str) -> bool:
    answer = await api.send("POST", f"{AT}/stage", {"identity": identity})
    granted: bool = answer.json()["granted"]
    return granted


async def next_of(client: AudioBridgeClient, kind: type[Kicked] | type[RoomGone]) -> Any:
    async with asyncio.timeout(WAIT_S):
        while not isinstance(event := await client.next_event(), kind):
            pass
    return event


async def wait_health(api: CheckedApi, node: str, healthy: bool) -> None:
    async def why_not() -> str | None:
        nodes = (await api.ok("GET", "/health"))["nodes"]
        return None if nodes[node] is healthy else f"the nodes are {nodes}"

    await wait_until(why_not)


def having(*remedies: str) -> pytest.MarkDecorator:
    switches = Remedies(**dict.fromkeys(remedies, True))
    return pytest.mark.parametrize("rig", [switches], indirect=True, ids=["+".join(remedies)])
