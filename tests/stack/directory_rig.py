"""A directory with real room servers, and a client that holds every word against openapi.yaml."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError

from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.wire.directory import DirectoryConfig, NodeConfig, Remedies

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION = ROOT / "chaoskit/services/directory/openapi.yaml"
START_S = 20.0
WAIT_S = 15.0
"""Deadline of waits: far above what is awaited, for a busy machine."""


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
    async def api(self) -> AsyncIterator["CheckedApi"]:
        async with ClientSession(timeout=ClientTimeout(total=WAIT_S)) as session:
            yield CheckedApi(session, self.url)


@contextmanager
def running(folder: Path, *, remedies: Remedies | None = None, **settings: Any) -> Iterator[Rig]:
    """Run room servers `room-a` and `room-b` and a directory with short timers; end them all."""
    rooms = {name: Service(folder, name, "room_server") for name in ("room-a", "room-b")}
    config_path = folder / "directory.json"
    directory = Service(folder, "directory", "directory", "--config", config_path.name)
    try:
        for room in rooms.values():
            room.start()
        config = DirectoryConfig(
            nodes=[
                NodeConfig(name=name, signal_url=f"ws://127.0.0.1:{room.port}")
                for name, room in rooms.items()
            ],
            remedies=remedies or Remedies(),
            **{"lease_s": 1.5, "probe_s": 0.25, "call_s": 1.0} | settings,
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
async def beating(api: "CheckedApi", event: str, *identities: str) -> AsyncIterator[None]:
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


# --- the checked client --------------------------------------------------------------------------


class Deviation(AssertionError):
    """What was said is not what openapi.yaml describes."""


@dataclass
class _Request:
    """One request as openapi-core wants it."""

    host_url: str
    method: str
    path: str
    body: bytes | None
    content_type: str = "application/json"
    parameters: RequestParameters = field(default_factory=RequestParameters)


@dataclass(frozen=True)
class Answer:
    """One response, as openapi-core wants it too."""

    status_code: int
    content_type: str
    headers: Mapping[str, str]
    data: bytes | None

    def json(self) -> Any:
        return json.loads(self.data or b"null")

    @property
    def code(self) -> str:
        """The code of an error reply."""
        code: str = self.json()["error"]["code"]
        return code


@cache
def description() -> OpenAPI:
    return OpenAPI.from_file_path(
        str(DESCRIPTION),
        config=Config(extra_media_type_deserializers={"application/x-ndjson": json.loads}),
    )


class CheckedApi:
    """Sends requests and raises Deviation for every request or response that is not as described.

    `seen` collects (method, path of the description, status).
    """

    def __init__(self, session: ClientSession, base: str) -> None:
        self.seen: set[tuple[str, str, int]] = set()
        self._session = session
        self._base = base

    async def send(
        self, method: str, path: str, message: Any = None, *, valid: bool = True
    ) -> Answer:
        """Send one request. `valid` False: it must be one that the description forbids."""
        body = None if message is None else json.dumps(message).encode()
        request = _Request(self._base, method.lower(), path, body)
        self._check_request(request, valid=valid)
        headers = {"Content-Type": request.content_type}
        async with self._session.request(
            method, self._base + path, data=body, headers=headers
        ) as reply:
            answer = Answer(
                reply.status, reply.content_type, reply.headers, await reply.read() or None
            )
        self._check_answer(request, answer)
        return answer

    async def ok(self, method: str, path: str, message: Any = None) -> Any:
        """Send a request that must succeed; return the JSON of its answer."""
        answer = await self.send(method, path, message)
        assert answer.status_code < 300, f"{method} {path}: {answer.data!r}"
        return answer.json()

    @asynccontextmanager
    async def watch(self, event: str) -> AsyncIterator["CheckedStream"]:
        """Open a watch stream whose every line is checked."""
        request = _Request(self._base, "get", f"/v1/events/{event}/watch", None)
        self._check_request(request, valid=True)
        async with self._session.get(
            self._base + request.path, timeout=ClientTimeout(total=None, sock_read=WAIT_S)
        ) as reply:
            assert reply.status == 200, await reply.text()

            def check(line: bytes) -> None:
                self._check_answer(
                    request, Answer(reply.status, reply.content_type, reply.headers, line)
                )

            yield CheckedStream(reply.content.readline, check)

    def _check_request(self, request: _Request, *, valid: bool) -> None:
        try:
            description().validate_request(request)
        except OpenAPIError as error:
            if valid:
                raise Deviation(f"{request}: {_why(error)}") from error
        else:
            if not valid:
                raise Deviation(f"{request}: the description allows it")

    def _check_answer(self, request: _Request, answer: Answer) -> None:
        try:
            description().validate_response(request, answer)
        except OpenAPIError as error:
            raise Deviation(f"{request.method} {request.path}: {answer}: {_why(error)}") from error
        if answer.status_code == 204 and answer.data:
            raise Deviation(f"{request.method} {request.path}: 204 with a body")
        self.seen.add((request.method, described_path(request.path), answer.status_code))


class CheckedStream:
    """The lines of a watch stream; `empty` counts its keep-alives."""

    def __init__(
        self, readline: Callable[[], Awaitable[bytes]], check: Callable[[bytes], None]
    ) -> None:
        self.empty = 0
        self._readline = readline
        self._check = check

    async def next(self) -> Any:
        """Return the next line as JSON, None for a keep-alive. Raises EOFError at the end."""
        line = await self._readline()
        if not line:
            raise EOFError
        if not line.strip():
            self.empty += 1
            return None
        self._check(line)
        return json.loads(line)

    async def state(self) -> Any:
        """Return the next line that is no keep-alive."""
        while (state := await self.next()) is None:
            continue
        return state


def described_path(path: str) -> str:
    """Return the path of the description that `path` is an instance of.

    >>> described_path("/v1/events/night/join")
    '/v1/events/{event}/join'
    """
    parts = path.split("/")
    if parts[1:3] == ["v1", "events"] and len(parts) > 3:
        parts[3] = "{event}"
    return "/".join(parts)


def _why(error: BaseException) -> str:
    reasons = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        reasons.append(str(error))
    return " | ".join(reasons)
