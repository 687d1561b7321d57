"""A client of the directory that holds every word against openapi.yaml."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError

DESCRIPTION = Path(__file__).resolve().parents[2] / "chaoskit/services/directory/openapi.yaml"
READ_S = 15.0


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
            self._base + request.path, timeout=ClientTimeout(total=None, sock_read=READ_S)
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
