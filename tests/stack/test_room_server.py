"""The embedded room server as a process: ready file, health, counters, signals."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from chaoskit.rooms import driver
from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.rooms.driver import LossReason
from tests.contract.audiobridge_phone import SILENCE, Phone, tone, wait_until
from tests.contract.audiobridge_rig import event_of
from tests.contract.audiobridge_servers import Server, embedded_server

pytestmark = pytest.mark.stack

ROOM = 7


@pytest_asyncio.fixture
async def room_node(tmp_path: Path) -> AsyncIterator[Server]:
    with embedded_server(tmp_path) as running:
        admin = await AudioBridgeClient.connect(running.url)
        await admin.create_room(ROOM)
        await admin.close()
        yield running


@pytest_asyncio.fixture
async def phone(room_node: Server) -> AsyncIterator[Phone]:
    phone = await Phone.connect(room_node.url, 1)
    yield phone
    await phone.close()


async def get(node: Server, path: str) -> Any:
    async with ClientSession() as http, http.get(node.url.replace("ws:", "http:") + path) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_it_says_where_it_serves_and_that_it_is_well(
    room_node: Server, tmp_path: Path
) -> None:
    ready = json.loads((tmp_path / "ready.json").read_text())
    assert (ready["name"], ready["pid"]) == ("room-a", room_node.pid)
    assert room_node.url == f"ws://127.0.0.1:{ready['port']}/"
    assert partial_files(tmp_path) == []
    health = await get(room_node, "health")
    assert health == {"status": "ok", "name": "room-a", "pid": room_node.pid}


def partial_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.tmp"))


async def test_its_counters_agree_with_what_participants_sent_and_got(
    room_node: Server, phone: Phone
) -> None:
    await phone.join(ROOM, talk_first=False)
    phone.say(*[SILENCE] * 3)
    phone.say(tone(1_000), sequence=2)
    phone.say(SILENCE[:80], sequence=9)
    await phone.gets(5)
    (room,) = (await get(room_node, "stats"))["rooms"]
    (listed,) = room["participants"]
    await phone.gets(listed["tx"])
    assert room["room"] == ROOM
    assert (listed["rx"], listed["rx_late"], listed["rx_skipped"]) == (5, 1, 1)
    assert (listed["id"], listed["display"], listed["setup"]) == (2, "p1", True)
    assert listed["tx_failed"] == 0
    ticks = (await get(room_node, "stats"))["ticks"]
    assert ticks["run"] >= listed["tx"]
    assert 0 <= ticks["late_recent_ms"] <= ticks["late_max_ms"]


async def test_after_a_stop_the_past_is_skipped_and_not_sent_in_a_burst(
    room_node: Server, phone: Phone
) -> None:
    await phone.join(ROOM)
    await phone.gets(10)
    os.kill(room_node.pid, signal.SIGSTOP)
    await wait_until(lambda: None if state_of(room_node.pid) == "T" else "not stopped yet")
    phone.forget()
    await phone.talks(1_000, frames=25)
    assert phone.heard == []
    os.kill(room_node.pid, signal.SIGCONT)
    await phone.gets(10)
    ticks = (await get(room_node, "stats"))["ticks"]
    first = phone.heard[0].header
    # Sequence numbers go on without a gap, for nothing was lost on the way; timestamps jump.
    assert first.timestamp >= 160 * (first.sequence - 1) + 160 * 20
    assert ticks["skipped"] >= 20
    assert ticks["late_max_ms"] >= 400


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


async def test_on_sigterm_it_ends_in_order_and_its_connections_with_it(room_node: Server) -> None:
    client = await AudioBridgeClient.connect(room_node.url)
    room_node.process.terminate()
    assert (await event_of(client, driver.ConnectionLost)).reason is LossReason.EOF
    assert await asyncio.to_thread(room_node.process.wait, 10) == 0
    await client.close()


def test_a_port_that_is_taken_is_said_and_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "chaoskit.services.room_server", "--name", "room-a"]
        command += ["--port", port, "--ready", str(tmp_path / "ready.json")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 4
    assert f"cannot serve on 127.0.0.1:{port}" in ended.stderr
    assert not (tmp_path / "ready.json").exists()
