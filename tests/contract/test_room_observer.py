"""What a room observer promises, held against the AudioBridge one at both kinds of server."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaoskit.errors import AdapterError
from chaoskit.ports import RoomObserver
from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.rooms.observer import AudioBridgeObserver
from tests.contract.audiobridge_servers import embedded_server, janus_server
from tests.stack.directory_rig import Service, in_room, wait_until

pytestmark = pytest.mark.contract

ROOM = 7
CALL_S = 1.0
NOBODY = "ws://127.0.0.1:9"


@dataclass(frozen=True)
class Watched:
    """A room server with one room, and an observer of it."""

    url: str
    pid: int
    observer: AudioBridgeObserver

    async def open_room(self) -> None:
        client = await AudioBridgeClient.connect(self.url)
        await client.create_room(ROOM)
        await client.close()


@asynccontextmanager
async def watching(url: str, pid: int) -> AsyncIterator[Watched]:
    observer = AudioBridgeObserver({"room-a": url, "room-b": NOBODY}, call_s=CALL_S)
    watched = Watched(url, pid, observer)
    await watched.open_room()
    yield watched
    await observer.close()


@pytest.fixture(params=["embedded", pytest.param("janus", marks=pytest.mark.needs("janus"))])
async def watched(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watched]:
    start = {"embedded": embedded_server, "janus": janus_server}[request.param]
    with start(tmp_path) as server:
        async with watching(server.url, server.pid) as watched:
            yield watched


async def test_it_lists_participant_numbers_and_who_is_muted(watched: Watched) -> None:
    observer: RoomObserver = watched.observer
    assert await observer.participants("room-a", ROOM) == {}
    async with AsyncExitStack() as people:
        for k in (0, 7, 900):
            client = await people.enter_async_context(in_room(watched.url, ROOM, f"p{k}"))
            if k == 7:
                await client.configure(muted=True)
        assert await observer.participants("room-a", ROOM) == {0: False, 7: True, 900: False}

    async def why_not() -> str | None:
        # Janus clears up after a session a little later than it answers.
        seen = await observer.participants("room-a", ROOM)
        return f"it still sees {seen}" if seen else None

    await wait_until(why_not)


async def test_looking_changes_nothing_in_the_room(watched: Watched) -> None:
    async with in_room(watched.url, ROOM, "p1") as p1:
        for _ in range(3):
            await watched.observer.participants("room-a", ROOM)
        seen = await p1.participants(ROOM)
        assert [one.id for one in seen] == [2]


async def test_an_id_that_is_nobodys_of_the_run_is_left_out(watched: Watched) -> None:
    stranger = await AudioBridgeClient.connect(watched.url)
    await stranger.join(ROOM, 1_000_000, display="stranger", rtp_ip="127.0.0.1", rtp_port=9)
    async with in_room(watched.url, ROOM, "p3"):
        assert await watched.observer.participants("room-a", ROOM) == {3: False}
    await stranger.close()


@pytest.mark.parametrize(
    ("node", "room", "says"),
    [
        ("room-z", ROOM, "there is no room node 'room-z' to look at; known: room-a, room-b"),
        ("room-a", 99, "room-a: the room server refused: No such room"),
        ("room-b", ROOM, NOBODY),
    ],
    ids=["unknown node", "unknown room", "unreachable node"],
)
async def test_what_cannot_be_seen_is_an_error(
    watched: Watched, node: str, room: int, says: str
) -> None:
    with pytest.raises(AdapterError) as raised:
        await watched.observer.participants(node, room)
    assert says in raised.value.message


async def test_a_refused_look_leaves_the_line_usable(watched: Watched) -> None:
    with pytest.raises(AdapterError):
        await watched.observer.participants("room-a", 99)
    assert await watched.observer.participants("room-a", ROOM) == {}


async def test_it_reconnects_after_the_server_was_killed(tmp_path: Path) -> None:
    server = Service(tmp_path, "room-a", "room_server")
    server.start()
    try:
        async with watching(f"ws://127.0.0.1:{server.port}", 0) as watched:
            await watched.observer.participants("room-a", ROOM)
            server.kill()
            with pytest.raises(AdapterError):
                await watched.observer.participants("room-a", ROOM)
            server.start()
            await watched.open_room()
            assert await watched.observer.participants("room-a", ROOM) == {}
    finally:
        server.make_sure_it_is_gone()


async def test_a_server_that_hangs_is_an_error_within_the_limit_and_seen_again(
    watched: Watched,
) -> None:
    await watched.observer.participants("room-a", ROOM)
    os.kill(watched.pid, signal.SIGSTOP)
    async with asyncio.timeout(CALL_S * 10):
        with pytest.raises(AdapterError, match="no answer"):
            await watched.observer.participants("room-a", ROOM)
        with pytest.raises(AdapterError):
            await watched.observer.participants("room-a", ROOM)
    os.kill(watched.pid, signal.SIGCONT)
    assert await watched.observer.participants("room-a", ROOM) == {}


async def test_looks_may_overlap(watched: Watched) -> None:
    async with in_room(watched.url, ROOM, "p1"):
        looks = await asyncio.gather(
            *(watched.observer.participants("room-a", ROOM) for _ in range(20))
        )
    assert looks == [{1: False}] * 20
