"""Fixtures of the contract suites: servers, each as the embedded one and as the real one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.wire.janus_api import SUBPROTOCOL
from tests.contract.audiobridge_rig import Party, Wire
from tests.contract.audiobridge_servers import Server, embedded_server, janus_server

_ROOM_SERVERS = {"embedded": embedded_server, "janus": janus_server}
_KINDS = ["embedded", pytest.param("janus", marks=pytest.mark.needs("janus"))]


@pytest.fixture(scope="session", params=_KINDS)
def room_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A room server with Janus's default timers."""
    folder = tmp_path_factory.mktemp(request.param)
    with _ROOM_SERVERS[request.param](folder) as running:
        yield running


@pytest.fixture(params=_KINDS)
def impatient_room_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A room server that ends a session after a second without a request."""
    folder = tmp_path_factory.mktemp(f"impatient-{request.param}")
    with _ROOM_SERVERS[request.param](folder, session_timeout_s=1) as running:
        yield running


@pytest_asyncio.fixture
async def wire(room_server: Server) -> AsyncIterator[Wire]:
    """A WebSocket to the room server."""
    async with (
        ClientSession() as http,
        http.ws_connect(room_server.url, protocols=(SUBPROTOCOL,)) as socket,
    ):
        yield Wire(socket)


@pytest_asyncio.fixture
async def party(room_server: Server) -> AsyncIterator[Party]:
    """A room of its own for a test."""
    async with AsyncExitStack() as stack:
        admin = await AudioBridgeClient.connect(room_server.url)
        stack.push_async_callback(admin.close)
        party = Party(room_server, admin, stack)
        await admin.create_room(party.room)
        yield party
