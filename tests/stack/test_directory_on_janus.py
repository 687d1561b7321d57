"""The directory's work at a node, with a real Janus as the node."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chaoskit.rooms.driver import Kicked, RoomGone
from chaoskit.wire.directory import Remedies
from tests.contract.audiobridge_servers import janus_server
from tests.stack.directory_rig import (
    AT,
    NIGHT,
    ask_stage,
    beating,
    in_room,
    next_of,
    running,
    wait_state,
    who_is_in,
)

pytestmark = [pytest.mark.stack, pytest.mark.needs("janus")]


async def test_it_opens_probes_clears_and_ends_rooms_at_janus(tmp_path: Path) -> None:
    (tmp_path / "janus").mkdir()
    with (
        janus_server(tmp_path / "janus") as janus,
        running(tmp_path, remedies=Remedies(redirect=True), elsewhere={"janus": janus.url}) as rig,
    ):
        async with rig.api() as api, AsyncExitStack() as people:
            old = await api.ok("POST", "/v1/events", NIGHT)
            assert old["node"] == "janus"
            async with beating(api, "night", "p0"):
                assert await ask_stage(api, "p1")
                p1, p7 = [
                    await people.enter_async_context(in_room(janus.url, old["room"], identity))
                    for identity in ("p1", "p7")
                ]
            await wait_state(api, host="", stage=[])
            assert (await next_of(p1, Kicked)).room == old["room"]
            assert "p7" in await who_is_in(janus.url, old["room"])
            assert (await api.ok("GET", AT))["status"] == "open"  # the probe sees the room
            new = await api.ok("POST", f"{AT}/fresh-room", {"account": "third"})
            assert (new["node"], new["generation"]) == ("room-a", 2)
            assert (await next_of(p7, RoomGone)).room == old["room"]
