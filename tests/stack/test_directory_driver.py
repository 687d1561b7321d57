"""The operator's door to the directory, against a real one and against bad ones."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaoskit.drivers.directory import DirectoryDriver
from chaoskit.errors import AdapterError
from chaoskit.ports import DirectoryControl
from chaoskit.wire.directory import EventRequest
from tests.stack.directory_rig import Rig, running

pytestmark = pytest.mark.stack

NIGHT = EventRequest(event="night", account="first", candidates=["p0"], speakers=["p1"])


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with running(tmp_path) as rig:
        yield rig


async def test_an_operator_opens_a_fresh_room_and_ends_it(rig: Rig) -> None:
    async with DirectoryDriver(rig.url, "night") as driver:
        created = await driver.create(NIGHT)
        control: DirectoryControl = driver
        assert await control.state() == created
        fresh = await control.fresh_room(account="second")
        assert (fresh["generation"], fresh["account"], fresh["node"]) == (2, "second", "room-b")
        again = await control.fresh_room(account="second", node="room-b")
        assert (again["generation"], again["node"]) == (3, "room-b")
        ended = await control.end_room()
        assert (ended["status"], ended["generation"]) == ("no_room", 3)
        assert await control.state() == ended
        health = await driver.health()
        assert health.nodes == {"room-a": True, "room-b": True}


async def test_a_refusal_is_an_error_with_what_the_directory_said(rig: Rig) -> None:
    async with DirectoryDriver(rig.url, "night") as driver:
        with pytest.raises(AdapterError, match=r"there is no event 'night' \(no_event, HTTP 404\)"):
            await driver.state()
        await driver.create(NIGHT)
        with pytest.raises(AdapterError, match=r"event_exists, HTTP 409"):
            await driver.create(NIGHT)
        with pytest.raises(AdapterError, match=r"there is no node 'room-z'.*unknown_node"):
            await driver.fresh_room(account="second", node="room-z")
        with pytest.raises(AdapterError, match="a fresh room cannot be asked for: account"):
            await driver.fresh_room(account="with spaces")
        await driver.end_room()
        with pytest.raises(AdapterError, match=r"no_room, HTTP 409"):
            await driver.end_room()


@asynccontextmanager
async def answering(raw: bytes | None) -> AsyncIterator[str]:
    """Serve `raw` to whoever asks; None: take the request and never answer."""
    taken: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        if raw is not None:
            writer.write(raw)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in taken:
            writer.close()


def http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (None, r"did not answer within 0\.3 s: GET http://127\.0\.0\.1:\d+/v1/events/night"),
        (b"", "cannot be reached"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "cannot be reached"),
        (http("200 OK", "<html>"), "answered nonsense"),
        (http("200 OK", '{"event": "night"}'), "answered nonsense.*generation: Field required"),
        (http("302 Found", ""), "HTTP 302"),
        (http("500 Oops", "broken"), "HTTP 500: broken"),
    ],
    ids=["silence", "a closed door", "half an answer", "a web page", "half a state",
         "a redirection", "a crash"],
)  # fmt: skip
async def test_whatever_answers_instead_is_an_error(raw: bytes | None, says: str) -> None:
    async with answering(raw) as url, DirectoryDriver(url, "night", call_s=0.3) as driver:
        with pytest.raises(AdapterError, match=says):
            await driver.state()


async def test_nobody_there_is_an_error_and_the_driver_finds_it_when_it_is_back(rig: Rig) -> None:
    async with DirectoryDriver(rig.url, "night") as driver:
        created = await driver.create(NIGHT)
        rig.directory.kill()
        with pytest.raises(AdapterError, match="cannot be reached"):
            await driver.state()
        rig.directory.start()
        assert await driver.state() == created
