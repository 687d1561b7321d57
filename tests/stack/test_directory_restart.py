"""The directory is killed, stopped and started again: what it told stays true."""

import asyncio
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError

from tests.stack.checked_api import CheckedApi
from tests.stack.directory_rig import (
    ROOT,
    WAIT_S,
    Rig,
    beating,
    in_room,
    running,
    wait_until,
    who_is_in,
)

pytestmark = pytest.mark.stack

AT = "/v1/events/night"
NIGHT = {
    "event": "night",
    "account": "first",
    "candidates": ["p0", "p2"],
    "speakers": ["p1", "p2"],
}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with running(tmp_path) as rig:
        yield rig


def restart(rig: Rig) -> None:
    port = rig.directory.port
    rig.directory.kill()
    rig.directory.start()
    assert rig.directory.port == port


async def state_of(api: CheckedApi) -> dict[str, Any]:
    state: dict[str, Any] = await api.ok("GET", AT)
    return state


async def test_after_a_sigkill_everything_is_as_it_was_told(rig: Rig) -> None:
    async with rig.api() as api:
        await api.ok("POST", "/v1/events", NIGHT)
        await api.ok("POST", "/v1/events", NIGHT | {"event": "other", "node": "room-b"})
        await api.ok("PUT", f"{AT}/lease", {"identity": "p0"})
        for identity in ("p2", "p1"):
            await api.ok("POST", f"{AT}/stage", {"identity": identity})
        await api.ok("POST", f"{AT}/fresh-room", {"account": "third"})
        await api.ok("POST", "/v1/events/other/end-room")
        before = [await api.ok("GET", f"/v1/events/{event}") for event in ("night", "other")]
        restart(rig)
        after = [await api.ok("GET", f"/v1/events/{event}") for event in ("night", "other")]
        assert after == before
        assert (after[0]["host"], after[0]["stage"]) == ("p0", ["p2", "p1"])
        # A number that was given once is never given again.
        fresh = await api.ok("POST", f"{AT}/fresh-room", {"account": "third"})
        assert fresh["room"] not in {1, 2, before[0]["room"]}
        assert fresh["generation"] == 3


async def test_a_host_that_goes_on_beating_does_not_notice_a_restart(rig: Rig) -> None:
    async with rig.api() as api:
        await api.ok("POST", "/v1/events", NIGHT)
        async with beating(api, "night", "p0"):
            await api.ok("POST", f"{AT}/stage", {"identity": "p1"})
        restart(rig)
        async with beating(api, "night", "p0"):
            await asyncio.sleep(rig.config.lease_s * 1.5)
            state = await state_of(api)
            assert (state["host"], state["stage"]) == ("p0", ["p1"])


async def test_a_host_that_is_gone_has_one_whole_lease_after_a_restart(rig: Rig) -> None:
    async with rig.api() as api:
        room = (await api.ok("POST", "/v1/events", NIGHT))["room"]
        await api.ok("PUT", f"{AT}/lease", {"identity": "p0"})
        await api.ok("POST", f"{AT}/stage", {"identity": "p1"})
        async with in_room(rig.signal_url("room-a"), room, "p1"):
            rig.directory.kill()
            await asyncio.sleep(rig.config.lease_s)
            rig.directory.start()
            assert (await state_of(api))["host"] == "p0"

            async def why_not() -> str | None:
                state = await state_of(api)
                lapsed = (state["host"], state["stage"]) == ("", [])
                there = await who_is_in(rig.signal_url("room-a"), room)
                return None if lapsed and not there else f"{state}; in the room: {there}"

            await wait_until(why_not)


async def test_a_speaker_who_could_not_be_removed_is_removed_after_a_restart(rig: Rig) -> None:
    async with rig.api() as api:
        room = (await api.ok("POST", "/v1/events", NIGHT))["room"]
        url = rig.signal_url("room-a")
        async with in_room(url, room, "p1"), in_room(url, room, "p7"):
            await api.ok("PUT", f"{AT}/lease", {"identity": "p0"})
            await api.ok("POST", f"{AT}/stage", {"identity": "p1"})
            rig.rooms["room-a"].signal(signal.SIGSTOP)

            async def not_lapsed() -> str | None:
                state = await state_of(api)
                return f"the stage is {state['stage']}" if state["stage"] else None

            await wait_until(not_lapsed)
            restart(rig)
            rig.rooms["room-a"].signal(signal.SIGCONT)

            async def not_removed() -> str | None:
                there = await who_is_in(url, room)
                return None if there == {"p7"} else f"in the room: {there}"

            await wait_until(not_removed)


async def test_whoever_was_answered_is_in_the_database_whenever_it_is_killed(rig: Rig) -> None:
    tokens: dict[str, str] = {}

    async def keep_joining(identity: str) -> None:
        while True:
            with suppress(ClientError):
                reply = await api.ok("POST", f"{AT}/join", {"identity": identity})
                tokens[identity] = reply["token"]
            await asyncio.sleep(0.01)

    async with rig.api() as api:
        await api.ok("POST", "/v1/events", NIGHT)
        for round_number in range(3):
            crowd = [
                asyncio.create_task(keep_joining(f"p{100 * round_number + k}")) for k in range(20)
            ]
            expected = 20 * (round_number + 1)

            async def why_not(expected: int = expected) -> str | None:
                return None if len(tokens) == expected else f"{len(tokens)} of {expected} joined"

            await wait_until(why_not)
            rig.directory.kill()
            for task in crowd:
                task.cancel()
            await asyncio.wait(crowd)
            told = dict(tokens)
            rig.directory.start()
            database = sqlite3.connect(rig.folder / rig.config.database)
            kept = dict(database.execute("SELECT identity, token FROM members"))
            (sound,) = database.execute("PRAGMA integrity_check").fetchone()
            database.close()
            assert sound == "ok"
            assert kept.keys() >= told.keys()
            # Of those who were just joining, one join more than was answered may have been written.
            later = {identity for identity in told if kept[identity] != told[identity]}
            assert later <= {f"p{100 * round_number + k}" for k in range(20)}
            tokens.update(kept)


async def test_sigterm_ends_open_streams_and_the_service_with_0(rig: Rig) -> None:
    async with rig.api() as api:
        await api.ok("POST", "/v1/events", NIGHT)
        async with api.watch("night") as stream:
            await stream.state()
            code = await asyncio.to_thread(rig.directory.stop)
            with pytest.raises(EOFError):
                await stream.next()
    assert code == 0
    assert "Traceback" not in rig.directory.log
    rig.directory.start()
    async with rig.api() as api:
        assert (await state_of(api))["generation"] == 1


def start_anew(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chaoskit.services.directory", "--ready", "ready/x.json"]
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


CONFIG = '{"nodes": [{"name": "room-a", "signal_url": "ws://127.0.0.1:9"}]}'


def test_a_config_that_cannot_be_used_is_said_with_every_finding(tmp_path: Path) -> None:
    (tmp_path / "directory.json").write_text('{"nodes": [], "leases": 3}')
    ended = start_anew(tmp_path, "--config", "directory.json")
    assert ended.returncode == 2
    assert "directory.json: leases: Unexpected keyword argument" in ended.stderr
    assert "hint: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    (tmp_path / "directory.json").write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = start_anew(tmp_path, "--config", "directory.json", "--port", port)
    assert ended.returncode == 4
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "hint: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "ready/x.json").exists()


def test_a_database_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "directory.json").write_text(CONFIG)
    (tmp_path / "directory.sqlite").write_text(
        "this is no database, and long enough to show it" * 9
    )
    ended = start_anew(tmp_path, "--config", "directory.json")
    assert ended.returncode == 4
    assert "directory.sqlite: file is not a database" in ended.stderr
    assert "Traceback" not in ended.stderr
