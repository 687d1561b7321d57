"""Lost hosts, lost rooms and what the directory does about them."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chaoskit.rooms.driver import Kicked, RoomGone
from chaoskit.wire.directory import Remedies
from tests.stack.directory_rig import (
    AT,
    NIGHT,
    Rig,
    ask_stage,
    beating,
    having,
    in_room,
    join,
    next_of,
    running,
    wait_health,
    wait_state,
    who_is_in,
)

pytestmark = pytest.mark.stack


@pytest.fixture
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A running stack; parametrize it indirectly with remedies."""
    with running(tmp_path, remedies=getattr(request, "param", None)) as rig:
        yield rig


# --- the host lease and the stage ----------------------------------------------------------------


async def test_a_lapsed_lease_takes_the_speakers_off_the_stage_and_out_of_the_room(
    rig: Rig,
) -> None:
    async with rig.api() as api, AsyncExitStack() as people:
        state = await api.ok("POST", "/v1/events", NIGHT)
        url, room = rig.signal_url("room-a"), state["room"]
        assert not await ask_stage(api, "p1")  # no host yet
        async with beating(api, "night", "p0"):
            assert await ask_stage(api, "p1")
            assert await ask_stage(api, "p2")
            assert not await ask_stage(api, "p7")  # no speaker
            p1, p2, p7 = [
                await people.enter_async_context(in_room(url, room, identity))
                for identity in ("p1", "p2", "p7")
            ]
            await asyncio.sleep(rig.config.lease_s * 1.5)
            held = await api.ok("GET", AT)
            assert (held["host"], held["stage"]) == ("p0", ["p1", "p2"])
        assert (await next_of(p1, Kicked)).room == room
        assert (await next_of(p2, Kicked)).room == room
        lapsed = await wait_state(api, host="", stage=[])
        assert (lapsed["status"], lapsed["room"], lapsed["generation"]) == ("open", room, 1)
        assert await who_is_in(url, room) == {"p7"}
        assert p7.joined is not None
        assert not await ask_stage(api, "p1")
        async with beating(api, "night", "p0"):
            assert await ask_stage(api, "p1")


@having("keep_stage_on_host_loss")
async def test_with_the_remedy_the_stage_outlives_the_lease(rig: Rig) -> None:
    async with rig.api() as api:
        state = await api.ok("POST", "/v1/events", NIGHT)
        url, room = rig.signal_url("room-a"), state["room"]
        async with in_room(url, room, "p1"):
            async with beating(api, "night", "p0"):
                assert await ask_stage(api, "p1")
            await wait_state(api, host="", stage=["p1"])
            assert await ask_stage(api, "p1")  # has it
            assert not await ask_stage(api, "p2")  # asks anew
            assert await who_is_in(url, room) == {"p1"}


async def test_without_standby_nobody_but_the_first_candidate_ever_hosts(rig: Rig) -> None:
    async with rig.api() as api:
        await api.ok("POST", "/v1/events", NIGHT)
        async with beating(api, "night", "p2"):
            async with beating(api, "night", "p0"):
                await wait_state(api, host="p0")
            await wait_state(api, host="")
            await asyncio.sleep(rig.config.lease_s * 1.5)
            reply = await api.ok("PUT", f"{AT}/lease", {"identity": "p2"})
            assert reply == {"holder": False, "lease_s": 1.5, "generation": 1}
            assert (await api.ok("GET", AT))["host"] == ""


@having("standby_host")
async def test_with_standby_the_next_live_candidate_hosts_and_keeps_it(rig: Rig) -> None:
    async with rig.api() as api:
        await api.ok("POST", "/v1/events", NIGHT)
        async with beating(api, "night", "p2"):
            async with beating(api, "night", "p0"):
                await wait_state(api, host="p0")
            await wait_state(api, host="p2")
            reply = await api.ok("PUT", f"{AT}/lease", {"identity": "p0"})
            assert reply["holder"] is False
            assert (await api.ok("GET", AT))["host"] == "p2"


# --- fresh rooms ---------------------------------------------------------------------------------


async def test_an_operators_fresh_room_leaves_the_old_one_as_it_is(rig: Rig) -> None:
    async with rig.api() as api:
        old = await api.ok("POST", "/v1/events", NIGHT)
        async with in_room(rig.signal_url("room-a"), old["room"], "p7"):
            new = await api.ok("POST", f"{AT}/fresh-room", {"account": "third"})
            assert (new["node"], new["generation"], new["account"]) == ("room-b", 2, "third")
            assert new["room"] != old["room"]
            assert await api.ok("GET", AT) == new
            assert (await join(api, "p7"))["room"] == new["room"]
            assert await who_is_in(rig.signal_url("room-b"), new["room"]) == set()
            asked = await api.ok("POST", f"{AT}/fresh-room", {"account": "third", "node": "room-a"})
            assert (asked["node"], asked["generation"]) == ("room-a", 3)
            assert await who_is_in(rig.signal_url("room-a"), old["room"]) == {"p7"}


async def test_an_ended_room_is_destroyed_and_nobody_joins_until_a_fresh_one(rig: Rig) -> None:
    async with rig.api() as api:
        old = await api.ok("POST", "/v1/events", NIGHT)
        async with in_room(rig.signal_url("room-a"), old["room"], "p7") as p7:
            ended = await api.ok("POST", f"{AT}/end-room")
            assert (ended["status"], ended["room"], ended["node"]) == ("no_room", 0, "")
            assert (await next_of(p7, RoomGone)).room == old["room"]
        refused = await api.send("POST", f"{AT}/join", {"identity": "p7"})
        assert (refused.status_code, refused.code) == (409, "no_room")
        assert (await api.ok("GET", "/health"))["counters"]["refused_no_room"] == 1
        new = await api.ok("POST", f"{AT}/fresh-room", {"account": "first"})
        assert (new["generation"], new["status"]) == (2, "open")
        assert (await join(api, "p7"))["room"] == new["room"]


@having("standby_host", "auto_fresh_room", "redirect")
async def test_a_lost_host_is_answered_with_a_fresh_room_under_the_standby_account(
    rig: Rig,
) -> None:
    async with rig.api() as api, AsyncExitStack() as running:
        old = await api.ok("POST", "/v1/events", NIGHT)
        stream = await running.enter_async_context(api.watch("night"))
        p7 = await running.enter_async_context(in_room(rig.signal_url("room-a"), old["room"], "p7"))
        await running.enter_async_context(beating(api, "night", "p2"))
        async with beating(api, "night", "p0"):
            await wait_state(api, host="p0")
        new = await wait_state(api, generation=2, host="p2")
        assert (new["node"], new["account"], new["status"]) == ("room-b", "second", "open")
        assert (await next_of(p7, RoomGone)).room == old["room"]
        told = [await stream.state()]
        while told[-1]["generation"] == 1:
            told.append(await stream.state())
        assert told[-1] == new
        # One loss has one answer.
        await asyncio.sleep(rig.config.lease_s)
        assert (await api.ok("GET", AT))["generation"] == 2


@having("standby_host", "auto_fresh_room", "redirect")
async def test_a_killed_node_is_answered_with_a_fresh_room_on_the_other(rig: Rig) -> None:
    async with rig.api() as api, AsyncExitStack() as streams:
        old = await api.ok("POST", "/v1/events", NIGHT)
        stream = await streams.enter_async_context(api.watch("night"))
        await streams.enter_async_context(beating(api, "night", "p0"))
        assert await ask_stage(api, "p1")
        rig.rooms[old["node"]].kill()
        while (told := await stream.state())["generation"] == 1:
            continue
        assert (told["node"], told["account"]) == ("room-b", "second")
        # The host is not to blame: it keeps its lease, and the stage stands.
        assert (told["host"], told["stage"]) == ("p0", ["p1"])
        assert (await join(api, "p7"))["room"] == told["room"]
        assert (await api.ok("GET", "/health"))["nodes"] == {"room-a": False, "room-b": True}


@having("standby_host", "auto_fresh_room")
async def test_with_the_other_node_gone_a_lost_host_gets_its_fresh_room_on_the_same(
    rig: Rig,
) -> None:
    async with rig.api() as api:
        old = await api.ok("POST", "/v1/events", NIGHT)
        rig.rooms["room-b"].kill()
        await wait_health(api, "room-b", False)
        await api.ok("PUT", f"{AT}/lease", {"identity": "p0"})
        new = await wait_state(api, generation=2, status="open")
        assert new["node"] == "room-a"
        assert new["room"] != old["room"]


@having("auto_fresh_room")
async def test_with_all_nodes_gone_the_fresh_room_opens_when_one_is_back(rig: Rig) -> None:
    async with rig.api() as api:
        await api.ok("POST", "/v1/events", NIGHT)
        for room in rig.rooms.values():
            room.kill()
        await wait_state(api, status="no_room")
        refused = await api.send("POST", f"{AT}/fresh-room", {"account": "third"})
        assert (refused.status_code, refused.code) == (503, "no_node")
        for node in ("room-a", "room-b"):
            assert f"{node}: " in refused.json()["error"]["message"]
        rig.rooms["room-b"].start()
        new = await wait_state(api, status="open", generation=2)
        assert (new["node"], new["account"]) == ("room-b", "second")


@having("auto_fresh_room")
async def test_the_room_of_a_node_that_only_hung_is_destroyed_when_it_is_back(rig: Rig) -> None:
    async with rig.api() as api:
        old = await api.ok("POST", "/v1/events", NIGHT)
        async with in_room(rig.signal_url("room-a"), old["room"], "p7") as p7:
            rig.rooms["room-a"].signal(signal.SIGSTOP)
            new = await wait_state(api, status="open", generation=2)
            assert new["node"] == "room-b"
            rig.rooms["room-a"].signal(signal.SIGCONT)
            assert (await next_of(p7, RoomGone)).room == old["room"]
            assert await api.ok("GET", AT) == new


async def test_a_host_that_is_back_within_the_grace_keeps_the_room(tmp_path: Path) -> None:
    switches = Remedies(standby_host=True, auto_fresh_room=True)
    with running(tmp_path, remedies=switches, lease_s=1.0, grace_s=2.0) as rig:
        async with rig.api() as api:
            await api.ok("POST", "/v1/events", NIGHT)
            await api.ok("PUT", f"{AT}/lease", {"identity": "p0"})
            await wait_state(api, host="")
            async with beating(api, "night", "p0"):
                await asyncio.sleep(rig.config.grace_s * 1.5)
                kept = await api.ok("GET", AT)
                assert (kept["host"], kept["generation"]) == ("p0", 1)
            await wait_state(api, host="")
            await wait_state(api, generation=2)


async def test_without_the_remedy_a_killed_node_leaves_no_room_until_an_operator_acts(
    rig: Rig,
) -> None:
    async with rig.api() as api:
        node = (await api.ok("POST", "/v1/events", NIGHT))["node"]
        rig.rooms[node].kill()
        lost = await wait_state(api, status="no_room")
        assert (lost["room"], lost["node"], lost["generation"]) == (0, "", 1)
        refused = await api.send("POST", f"{AT}/join", {"identity": "p7"})
        assert (refused.status_code, refused.code) == (409, "no_room")
        # An empty node that comes back has no such room.
        rig.rooms[node].start()
        await wait_health(api, node, True)
        await asyncio.sleep(rig.config.probe_s * 2)
        assert (await api.ok("GET", AT))["status"] == "no_room"
        new = await api.ok("POST", f"{AT}/fresh-room", {"account": "first"})
        assert (new["generation"], new["status"]) == (2, "open")
        assert new["node"] != node


async def test_a_node_that_hangs_is_out_of_reach_and_its_room_is_found_again(rig: Rig) -> None:
    async with rig.api() as api:
        old = await api.ok("POST", "/v1/events", NIGHT)
        async with in_room(rig.signal_url("room-a"), old["room"], "p7"):
            rig.rooms["room-a"].signal(signal.SIGSTOP)
            await wait_state(api, status="no_room")
            await wait_health(api, "room-a", False)
            # Nothing else waits for it.
            async with beating(api, "night", "p0"):
                await wait_state(api, host="p0")
            rig.rooms["room-a"].signal(signal.SIGCONT)
            found = await wait_state(api, status="open")
            assert (found["room"], found["generation"]) == (old["room"], 1)
