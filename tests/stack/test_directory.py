"""The directory with real room servers; every request and response is held against openapi.yaml."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession, ClientTimeout, web

from chaoskit.rooms.driver import RoomGone
from tests.stack.checked_api import DESCRIPTION, CheckedApi, Deviation
from tests.stack.directory_rig import (
    AT,
    NIGHT,
    WAIT_S,
    Rig,
    ask_stage,
    having,
    in_room,
    join,
    next_of,
    running,
    wait_until,
    who_is_in,
)

pytestmark = pytest.mark.stack


@pytest.fixture
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A running stack; parametrize it indirectly with remedies."""
    with running(tmp_path, remedies=getattr(request, "param", None)) as rig:
        yield rig


# --- the description -----------------------------------------------------------------------------


async def test_every_described_answer_is_given(tmp_path: Path) -> None:
    with running(tmp_path, workers=1, queue_size=1) as rig:
        async with rig.api() as api:
            await api.ok("POST", "/v1/events", NIGHT)
            await api.send("POST", "/v1/events", NIGHT)
            await api.send("POST", "/v1/events", {"event": "x"}, valid=False)
            async with api.watch("night") as stream:
                await stream.state()
            await api.ok("GET", AT)
            await api.ok("PUT", f"{AT}/lease", {"identity": "p0"})
            await api.send("PUT", f"{AT}/lease", {"identity": "p7"})
            await ask_stage(api, "p1")
            await ask_stage(api, "p7")
            await join(api, "p7")
            await refuse_one_join_too_many(rig, api)
            await api.send("POST", f"{AT}/leave", {"identity": "p7"})
            await api.ok("POST", f"{AT}/fresh-room", {"account": "second"})
            await api.ok("POST", f"{AT}/end-room")
            await api.send("POST", f"{AT}/end-room")
            await api.send("POST", f"{AT}/join", {"identity": "p7"})
            for method, path in (
                ("POST", "join"), ("POST", "leave"), ("PUT", "lease"), ("POST", "stage"),
                ("POST", "fresh-room"),
            ):  # fmt: skip
                await api.send(method, f"{AT}/{path}", {"identity": 7}, valid=False)
                body = {"account": "a"} if path == "fresh-room" else {"identity": "p1"}
                await api.send(method, f"/v1/events/no-such/{path}", body)
            await api.send("POST", "/v1/events/no-such/end-room")
            await api.send("GET", "/v1/events/no-such")
            await api.send("GET", "/v1/events/no-such/watch")
            for prefix in ("", "/v1"):
                await api.ok("GET", f"{prefix}/health")
                await api.ok("GET", f"{prefix}/openapi.json")
            for room in rig.rooms.values():
                room.kill()
            await api.send("POST", f"{AT}/fresh-room", {"account": "second"})
            await api.send("POST", "/v1/events", NIGHT | {"event": "other"})
    described = yaml.safe_load(DESCRIPTION.read_text())["paths"]
    answers = {
        (method, path, int(status))
        for path, operations in described.items()
        for method, operation in operations.items()
        if method != "parameters"
        for status in operation["responses"]
        if status != "default"
    }
    assert api.seen == answers


async def refuse_one_join_too_many(rig: Rig, api: CheckedApi) -> None:
    """Hold the database, so that one join is worked on and one waits: the third is refused."""
    database = sqlite3.connect(rig.folder / rig.config.database, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    patient = [asyncio.create_task(join(api, f"p{k}")) for k in (20, 21)]

    async def why_not() -> str | None:
        waiting = (await api.ok("GET", "/health"))["counters"]["waiting"]
        return None if waiting == 1 else f"{waiting} joins wait for a worker, expected 1"

    await wait_until(why_not)
    refused = await api.send("POST", f"{AT}/join", {"identity": "p22"})
    assert (refused.status_code, refused.code) == (503, "busy")
    database.execute("ROLLBACK")
    database.close()
    await asyncio.gather(*patient)
    counters = (await api.ok("GET", "/health"))["counters"]
    assert counters["refused_busy"] == 1
    assert counters["waiting_peak"] == 1


TRUTH = {
    "event": "night", "generation": 1, "status": "open", "room": 1, "node": "room-a",
    "account": "a", "host": "", "stage": [], "opened_s": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "caught"),
    [
        (web.json_response(TRUTH), False),
        (web.json_response({k: v for k, v in TRUTH.items() if k != "host"}), True),
        (web.json_response(TRUTH | {"mood": "good"}), True),
        (web.json_response(TRUTH | {"room": "1"}), True),
        (web.json_response(TRUTH | {"status": "closed"}), True),
        (web.json_response(TRUTH | {"status": "no_room"}), True),
        (web.json_response(TRUTH, status=201), True),
        (web.Response(text="fine"), True),
        (web.json_response({"error": "no"}, status=404), True),
        (web.json_response({"error": {"code": "no_event", "message": "-"}}, status=404), False),
    ],
    ids=["the truth", "a member less", "a member more", "another type", "another value",
         "members at odds", "another status", "no JSON", "another error", "an error"],
)  # fmt: skip
async def test_the_checking_client_catches_a_deviation(answer: web.Response, caught: bool) -> None:
    async def lie(_: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_get("/{anything:.*}", lie)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with ClientSession() as session:
            api = CheckedApi(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
            if caught:
                with pytest.raises(Deviation):
                    await api.send("GET", AT)
            else:
                await api.send("GET", AT)
            with pytest.raises(Deviation):
                await api.send("GET", "/v1/not-described")
            with pytest.raises(Deviation):
                await api.send("POST", f"{AT}/join", {"identity": "p1", "more": 1})
    finally:
        await runner.cleanup()


async def test_what_is_not_described_is_an_error_in_json_too(rig: Rig) -> None:
    async with ClientSession(rig.url) as session:
        for method, path, status, code in (
            ("GET", "/v1/nowhere", 404, "not_found"),
            ("DELETE", "/v1/events", 405, "method_not_allowed"),
            ("POST", f"{AT}/join?x=1", 404, "no_event"),
        ):
            async with session.request(method, path, json={"identity": "p1"}) as reply:
                assert reply.status == status
                assert (await reply.json())["error"]["code"] == code
        async with session.post(f"{AT}/join", data=b"x" * 100_000) as reply:
            assert reply.status == 413
            assert (await reply.json())["error"]["message"]


# --- where an event is ---------------------------------------------------------------------------


async def test_an_event_opens_on_the_node_that_was_asked_for(rig: Rig) -> None:
    async with rig.api() as api:
        state = await api.ok("POST", "/v1/events", NIGHT | {"node": "room-b"})
        assert (state["node"], state["generation"], state["status"]) == ("room-b", 1, "open")
        assert state["account"] == "first"
        assert state["opened_s"] == pytest.approx(time.monotonic(), abs=WAIT_S)
        async with in_room(rig.signal_url("room-b"), state["room"], "p7"):
            assert await who_is_in(rig.signal_url("room-b"), state["room"]) == {"p7"}
        unknown = await api.send("POST", "/v1/events", NIGHT | {"event": "x", "node": "room-c"})
        assert (unknown.status_code, unknown.code) == (400, "unknown_node")
        assert "room-a, room-b" in unknown.json()["error"]["message"]


async def test_an_event_opens_on_the_first_node_that_answers(rig: Rig) -> None:
    rig.rooms["room-a"].kill()
    async with rig.api() as api:
        state = await api.ok("POST", "/v1/events", NIGHT)
        assert state["node"] == "room-b"
        asked = await api.send("POST", "/v1/events", NIGHT | {"event": "x", "node": "room-a"})
        assert (asked.status_code, asked.code) == (503, "no_node")


async def test_a_join_says_where_to_go_and_whether_the_caller_may_speak(rig: Rig) -> None:
    async with rig.api() as api:
        state = await api.ok("POST", "/v1/events", NIGHT)
        await api.ok("PUT", f"{AT}/lease", {"identity": "p0"})
        assert await ask_stage(api, "p1")
        first, again = await join(api, "p1"), await join(api, "p1")
        assert (first["room"], first["node"], first["generation"]) == (state["room"], "room-a", 1)
        assert first["stage"] is True
        assert again["token"] != first["token"]
        assert (await join(api, "p7"))["stage"] is False
        await api.send("POST", f"{AT}/leave", {"identity": "p1"})
        assert (await api.ok("GET", AT))["stage"] == []


async def test_a_whole_audience_joins_at_once_and_every_attempt_is_counted(rig: Rig) -> None:
    async with rig.api() as api:
        await api.ok("POST", "/v1/events", NIGHT)
        crowd = [f"p{k}" for k in range(300)]
        replies = await asyncio.gather(*(join(api, identity) for identity in crowd))
        assert len({reply["token"] for reply in replies}) == 300
        await join(api, "p7")
        counters = (await api.ok("GET", "/health"))["counters"]
        assert (counters["join_attempts"], counters["joined"]) == (301, 301)
        assert (counters["wasted"], counters["waiting"]) == (0, 0)
    database = sqlite3.connect(rig.folder / rig.config.database)
    attempts = dict(database.execute("SELECT identity, attempts FROM members"))
    database.close()
    assert attempts == dict.fromkeys(crowd, 1) | {"p7": 2}


async def test_the_work_for_a_client_that_gave_up_is_done_and_counted_as_wasted(rig: Rig) -> None:
    async with rig.api() as api, ClientSession(rig.url) as impatient:
        await api.ok("POST", "/v1/events", NIGHT)
        database = sqlite3.connect(rig.folder / rig.config.database, isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError):
            await impatient.post(
                f"{AT}/join", json={"identity": "p7"}, timeout=ClientTimeout(total=0.3)
            )
        database.execute("ROLLBACK")

        async def why_not() -> str | None:
            counters = (await api.ok("GET", "/health"))["counters"]
            done = (counters["joined"], counters["wasted"]) == (1, 1)
            return None if done else f"the counters are {counters}"

        await wait_until(why_not)
        assert dict(database.execute("SELECT identity, attempts FROM members")) == {"p7": 1}
        database.close()


# --- the watch stream ----------------------------------------------------------------------------


@having("redirect")
async def test_everybody_who_watches_is_told_of_a_fresh_room(rig: Rig) -> None:
    async with rig.api() as api, AsyncExitStack() as streams:
        old = await api.ok("POST", "/v1/events", NIGHT)
        watching = [await streams.enter_async_context(api.watch("night")) for _ in range(60)]
        assert [await stream.state() for stream in watching] == [old] * 60
        assert (await api.ok("GET", "/health"))["counters"]["watchers"] == 60
        async with in_room(rig.signal_url("room-a"), old["room"], "p7") as p7:
            new = await api.ok("POST", f"{AT}/fresh-room", {"account": "third"})
            assert [await stream.state() for stream in watching] == [new] * 60
            assert (await next_of(p7, RoomGone)).room == old["room"]


async def test_without_redirect_watchers_hear_nothing_and_who_polls_learns_it(rig: Rig) -> None:
    async with rig.api() as api:
        old = await api.ok("POST", "/v1/events", NIGHT)
        async with api.watch("night") as stream:
            assert await stream.state() == old
            new = await api.ok("POST", f"{AT}/fresh-room", {"account": "third"})
            assert await api.ok("GET", AT) == new
            assert await stream.next() is None  # the next thing that comes is a keep-alive
        async with api.watch("night") as later:
            assert await later.state() == new


async def test_a_watcher_that_went_away_is_forgotten(rig: Rig) -> None:
    async with rig.api() as api:
        await api.ok("POST", "/v1/events", NIGHT)
        async with api.watch("night") as stream:
            await stream.state()

        async def why_not() -> str | None:
            watchers = (await api.ok("GET", "/health"))["counters"]["watchers"]
            return None if watchers == 0 else f"{watchers} watchers are still served"

        await wait_until(why_not)
