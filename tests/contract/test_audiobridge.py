"""The AudioBridge contract, signalling: one suite for the embedded room server and for Janus.

What holds here for both is what the driver, the crowd and every experiment may rely on. Media:
`test_audiobridge_media.py`; the driver: `test_audiobridge_driver.py`.
"""

import json
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from chaoskit.wire.audiobridge import PLUGIN
from chaoskit.wire.janus_api import SUBPROTOCOL
from tests.contract.audiobridge_rig import Wire, room_numbers
from tests.contract.audiobridge_servers import Server

pytestmark = pytest.mark.contract


# --- envelope ------------------------------------------------------------------------------------


async def test_sessions_and_handles_are_made_and_unmade(wire: Wire) -> None:
    created = await wire.ask("create")
    session = created["data"]["id"]
    assert created == {"janus": "success", "transaction": "t1", "data": {"id": session}}
    attached = await wire.ask("attach", session_id=session, plugin=PLUGIN, opaque_id="x")
    handle = attached["data"]["id"]
    assert attached == {
        "janus": "success", "session_id": session, "transaction": "t2", "data": {"id": handle},
    }  # fmt: skip
    assert await wire.ask("keepalive", session_id=session) == {
        "janus": "ack", "session_id": session, "transaction": "t3",
    }  # fmt: skip
    assert await wire.ask("detach", session_id=session, handle_id=handle) == {
        "janus": "success", "session_id": session, "transaction": "t4",
    }  # fmt: skip
    assert await wire.receive() == {"janus": "detached", "session_id": session, "sender": handle}
    assert await wire.ask("destroy", session_id=session) == {
        "janus": "success", "session_id": session, "transaction": "t5",
    }  # fmt: skip


async def test_a_plugin_answers_inside_success_and_later_inside_event(wire: Wire) -> None:
    handle = await wire.open()
    body = {"request": "exists", "room": 1}
    answer = await wire.ask("message", session_id=wire.session, handle_id=handle, body=body)
    assert answer == {
        "janus": "success",
        "session_id": wire.session,
        "transaction": "t3",
        "sender": handle,
        "plugindata": {
            "plugin": PLUGIN,
            "data": {"audiobridge": "success", "room": 1, "exists": False},
        },
    }
    await wire.socket.send_json(
        {"janus": "message", "transaction": "late", "session_id": wire.session,
         "handle_id": handle, "body": {"request": "leave"}}
    )  # fmt: skip
    both = {m["janus"]: m for m in [await wire.receive(), await wire.receive()]}
    assert both["ack"] == {"janus": "ack", "session_id": wire.session, "transaction": "late"}
    assert both["event"]["transaction"] == "late"
    assert both["event"]["plugindata"]["data"]["error_code"] == 487


async def test_one_message_may_hold_several_requests(wire: Wire) -> None:
    ping = '{{"janus":"ping","transaction":"{}"}}'
    assert await wire.exchange(ping.format("a") + ping.format("b")) == {
        "janus": "pong", "transaction": "a",
    }  # fmt: skip
    assert await wire.receive() == {"janus": "pong", "transaction": "b"}


async def test_keywords_are_read_whatever_their_case(wire: Wire) -> None:
    assert (await wire.ask("PING"))["janus"] == "pong"
    handle = await wire.open()
    assert (await wire.request(handle, request="EXISTS", room=1))["exists"] is False


async def test_the_server_says_what_it_is(wire: Wire) -> None:
    info = await wire.ask("info")
    assert info["janus"] == "server_info"
    assert {"name", "version_string", "session-timeout", "reclaim-session-timeout"} <= info.keys()
    assert PLUGIN in info["plugins"]


@pytest.mark.parametrize("protocols", [(), ("chat",)])
async def test_the_subprotocol_is_mandatory(
    room_server: Server, protocols: tuple[str, ...]
) -> None:
    async with ClientSession() as http:
        with pytest.raises(ClientError):
            await http.ws_connect(room_server.url, protocols=protocols)


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        ({"janus": "ping", "transaction": ...}, 456, "Missing mandatory element (transaction)"),
        ({"janus": ...}, 456, "Missing mandatory element (janus)"),
        ({"janus": 5}, 467, "Invalid element type (janus should be a string)"),
        ({"janus": "keepalive"}, 457, "Unhandled request 'keepalive' at this path"),
        ({"janus": "frob"}, 457, "Unhandled request 'frob' at this path"),
        ({"janus": "create", "id": "x"}, 467,
         "Invalid element type (id should be a positive integer)"),
        ({"janus": "create", "id": "S"}, 468, "Session ID already in use"),
        ({"janus": "attach", "session_id": 5}, 458, "No such session 5"),
        ({"janus": "message", "session_id": 0, "handle_id": 6}, 458, "Session not found"),
        ({"janus": "frob", "session_id": "S"}, 453, "Unknown request 'frob'"),
        ({"janus": "create", "session_id": "S"}, 453, "Unknown request 'create'"),
        ({"janus": "attach", "session_id": "S"}, 456, "Missing mandatory element (plugin)"),
        ({"janus": "attach", "session_id": "S", "plugin": "x.y"}, 460, "No such plugin 'x.y'"),
        ({"janus": "attach", "session_id": "S", "handle_id": "H", "plugin": PLUGIN}, 457,
         "Unhandled request 'attach' at this path"),
        ({"janus": "message", "session_id": "S", "body": {}}, 457,
         "Unhandled request 'message' at this path"),
        ({"janus": "message", "session_id": "S", "handle_id": "H"}, 456,
         "Missing mandatory element (body)"),
        ({"janus": "message", "session_id": "S", "handle_id": "H", "body": []}, 467,
         "Invalid element type (body should be an object)"),
        ({"janus": "keepalive", "session_id": "S", "handle_id": 99}, 459,
         "No such handle 99 in session S"),
    ],
)  # fmt: skip
async def test_the_core_refuses_with_its_codes_and_words(
    wire: Wire, request_: dict[str, Any], code: int, reason: str
) -> None:
    handle = await wire.open()
    given = {"transaction": "t", **request_}
    named = {"S": wire.session, "H": handle}
    filled = {
        k: named.get(v, v) if isinstance(v, str) and k.endswith("id") else v
        for k, v in given.items()
        if v is not ...
    }
    answer = await wire.exchange(json.dumps(filled))
    assert answer["janus"] == "error"
    assert answer["error"] == {"code": code, "reason": reason.replace("n S", f"n {wire.session}")}
    readable = "(" not in reason or "plugin" in reason or "body" in reason
    assert answer.get("transaction") == ("t" if readable else None)


async def test_text_that_is_no_json_is_refused_without_an_address(wire: Wire) -> None:
    answer = await wire.exchange("nonsense")
    assert answer.keys() == {"janus", "error"}
    assert answer["error"]["code"] == 454


async def test_a_session_that_asks_nothing_is_told_and_ended(impatient_room_server: Server) -> None:
    async with (
        ClientSession() as http,
        http.ws_connect(impatient_room_server.url, protocols=(SUBPROTOCOL,)) as socket,
    ):
        wire = Wire(socket)
        await wire.open()
        # Janus also says that the handle is detached, before or after.
        while (message := await wire.receive())["janus"] != "timeout":
            assert message["janus"] == "detached"
        assert message == {"janus": "timeout", "session_id": wire.session}
        answer = await wire.ask("keepalive", session_id=wire.session)
        assert answer["error"]["code"] == 458


async def test_another_connection_can_claim_a_session(room_server: Server, wire: Wire) -> None:
    await wire.open()
    async with (
        ClientSession() as http,
        http.ws_connect(room_server.url, protocols=(SUBPROTOCOL,)) as socket,
    ):
        heir = Wire(socket)
        answer = await heir.ask("claim", session_id=wire.session)
        assert answer["janus"] == "success"
        assert (await heir.ask("keepalive", session_id=wire.session))["janus"] == "ack"


# --- rooms ---------------------------------------------------------------------------------------


RTP = {"ip": "127.0.0.1", "port": 9}


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({}, 483, "Missing mandatory element (request)"),
        ({"request": 5}, 484, "Invalid element type (request should be a string)"),
        ({"request": "frob"}, 482, "Unknown request 'frob'"),
        ({"request": "exists"}, 483, "Missing mandatory element (room)"),
        ({"request": "exists", "room": -1}, 484,
         "Invalid element type (room should be a positive integer)"),
        ({"request": "create", "room": "R"}, 486, "Room R already exists"),
        ({"request": "create", "room": 1, "sampling_rate": "x"}, 484,
         "Invalid element type (sampling_rate should be a positive integer)"),
        ({"request": "create", "room": 1, "is_private": 5}, 484,
         "Invalid element type (is_private should be a boolean)"),
        ({"request": "join", "room": 1}, 485, "No such room (1)"),
        ({"request": "join"}, 483, "Missing mandatory element (room)"),
        ({"request": "join", "room": "R", "display": 5, "codec": "pcmu"}, 484,
         "Invalid element type (display should be a string)"),
        ({"request": "join", "room": "R", "codec": "gsm"}, 484,
         "Invalid element (codec must opus, pcmu or pcma)"),
        ({"request": "join", "room": "R", "codec": "pcmu", "rtp": "x"}, 484,
         "Invalid element type (rtp should be an object)"),
        ({"request": "join", "room": "G", "codec": "pcmu", "rtp": RTP}, 483,
         "Missing mandatory element (pin)"),
        ({"request": "join", "room": "G", "codec": "pcmu", "rtp": RTP, "pin": "x"}, 489,
         "Unauthorized (wrong pin)"),
        ({"request": "join", "room": "G", "codec": "pcmu", "rtp": RTP, "pin": "p", "secret": "x"},
         489, "Unauthorized (wrong secret)"),
        ({"request": "configure", "muted": True}, 487, "Can't configure (not in a room)"),
        ({"request": "configure", "muted": 5}, 487, "Can't configure (not in a room)"),
        ({"request": "leave"}, 487, "Can't leave (not in a room)"),
        ({"request": "listparticipants", "room": 1}, 485, "No such room (1)"),
        ({"request": "kick", "room": 1, "id": 5}, 485, "No such room (1)"),
        ({"request": "kick", "room": "R", "id": 5}, 492, "No such user 5 in room R"),
        ({"request": "kick", "room": "R"}, 483, "Missing mandatory element (id)"),
        ({"request": "kick", "room": "G", "id": 5}, 483, "Missing mandatory element (secret)"),
        ({"request": "kick_all", "room": 1}, 485, "No such room (1)"),
        ({"request": "mute", "room": "R", "id": 5}, 492, "No such user 5 in room R"),
        ({"request": "unmute", "room": 1, "id": 5}, 485, "No such room (1)"),
        ({"request": "mute_room", "room": "G", "secret": "x"}, 489, "Unauthorized (wrong secret)"),
        ({"request": "destroy", "room": 1}, 485, "No such room (1)"),
        ({"request": "destroy", "room": "G", "secret": "x"}, 489, "Unauthorized (wrong secret)"),
    ],
)  # fmt: skip
async def test_the_plugin_refuses_with_its_codes_and_words(
    wire: Wire, body: dict[str, Any], code: int, text: str
) -> None:
    handle, plain, guarded = await wire.open(), next(room_numbers), next(room_numbers)
    rtp = {"sampling_rate": 8_000, "allow_rtp_participants": True}
    await wire.request(handle, request="create", room=plain, **rtp)
    await wire.request(handle, request="create", room=guarded, secret="s", pin="p", **rtp)
    named = {"R": plain, "G": guarded}
    filled = {k: named.get(v, v) if k == "room" else v for k, v in body.items()}
    expected = {"audiobridge": "event", "error_code": code}
    expected["error"] = text.replace("oom R", f"oom {plain}")
    assert await wire.request(handle, **filled) == expected


async def test_rtp_is_refused_where_a_room_does_not_allow_it(wire: Wire) -> None:
    handle, room = await wire.open(), next(room_numbers)
    await wire.request(handle, request="create", room=room, sampling_rate=8_000)
    answer = await wire.request(handle, request="join", room=room, codec="pcmu", rtp=RTP)
    assert answer["error_code"] == 489
    assert answer["error"] == "Plain RTP participants not allowed in this room"


async def test_rooms_are_created_listed_and_destroyed(wire: Wire) -> None:
    handle, room, hidden = await wire.open(), next(room_numbers), next(room_numbers)
    created = await wire.request(
        handle, request="create", room=room, sampling_rate=8_000, description="stage", pin="p"
    )
    assert created == {"audiobridge": "created", "room": room, "permanent": False}
    await wire.request(handle, request="create", room=hidden, is_private=True)
    listed = {r["room"]: r for r in (await wire.request(handle, request="list"))["list"]}
    assert hidden not in listed
    assert listed[room] == {
        "room": room, "description": "stage", "sampling_rate": 8_000, "spatial_audio": False,
        "pin_required": True, "record": False, "muted": False, "num_participants": 0,
    }  # fmt: skip
    drawn = await wire.request(handle, request="create")
    assert (await wire.request(handle, request="exists", room=drawn["room"]))["exists"] is True
    destroyed = await wire.request(handle, request="destroy", room=room)
    assert destroyed == {"audiobridge": "destroyed", "room": room, "permanent": False}
    assert await wire.request(handle, request="exists", room=room) == {
        "audiobridge": "success", "room": room, "exists": False,
    }  # fmt: skip


async def test_who_joins_changes_and_leaves_is_told_to_the_others(wire: Wire) -> None:
    first, second, room = await wire.open(), await wire.attach(), next(room_numbers)
    await wire.request(first, request="create", room=room, allow_rtp_participants=True)
    joined = await wire.request(
        first, request="join", room=room, id=11, display="p10", codec="pcmu", rtp=RTP
    )
    local = joined.pop("rtp")
    assert joined == {"audiobridge": "joined", "room": room, "id": 11, "participants": []}
    assert local == {"ip": "127.0.0.1", "port": local["port"], "payload_type": 0}
    assert local["port"] % 2 == 0
    answer = await wire.request(
        second, request="join", room=room, id=12, codec="pcmu", muted=True, rtp=RTP
    )
    p10 = {"id": 11, "display": "p10", "setup": False, "muted": False}
    nameless = {"id": 12, "setup": False, "muted": True}
    assert answer["participants"] == [p10]
    await wire.hears(room=room, participants=[nameless])
    taken = await wire.request(await wire.attach(), request="join", room=room, id=11, codec="pcmu")
    assert (taken["error_code"], taken["error"]) == (490, "User ID 11 already exists")
    again = await wire.request(first, request="join", room=room, id=13, codec="pcmu")
    assert again["error_code"] == 491
    assert await wire.request(second, request="configure", muted=False, display="x") == {
        "audiobridge": "event", "result": "ok",
    }  # fmt: skip
    renamed = {"id": 12, "display": "x", "setup": False, "muted": False}
    await wire.hears(room=room, participants=[renamed])
    bad = await wire.request(second, request="configure", muted=4)
    assert bad["error"] == "Invalid element type (muted should be a boolean)"
    listed = (await wire.request(second, request="listparticipants", room=room))["participants"]
    assert sorted(listed, key=lambda p: p["id"]) == [p10, renamed]
    assert await wire.request(second, request="leave") == {
        "audiobridge": "left", "room": room, "id": 12,
    }  # fmt: skip
    await wire.hears(room=room, leaving=12)


async def test_moderators_mute_kick_and_close_and_all_are_told(wire: Wire) -> None:
    first, second, room = await wire.open(), await wire.attach(), next(room_numbers)
    await wire.request(first, request="create", room=room, allow_rtp_participants=True)
    for handle, number in ((first, 11), (second, 12)):
        await wire.request(
            handle,
            request="join",
            room=room,
            id=number,
            display=f"p{number}",
            codec="pcmu",
            rtp=RTP,
        )
    outsider = await wire.attach()

    async def moderate(**body: Any) -> dict[str, Any]:
        wire.told.clear()
        return await wire.request(outsider, room=room, **body)

    muted = {"id": 12, "display": "p12", "setup": False, "muted": True}
    changed = {"audiobridge": "success", "room": room}
    assert await moderate(request="mute", id=12) == changed
    await wire.hears(room=room, participants=[muted])
    assert await moderate(request="mute", id=12) == {"audiobridge": "success"}
    assert await moderate(request="unmute", id=12) == changed
    assert await moderate(request="mute_room") == changed
    await wire.hears(room=room, muted=True)
    assert await moderate(request="mute_room") == {"audiobridge": "success"}
    assert await moderate(request="unmute_room") == changed
    assert await moderate(request="kick", id=12) == {"audiobridge": "success"}
    await wire.hears(room=room, kicked=12)
    await wire.hears(room=room, leaving=12)
    assert await moderate(request="kick_all") == {"audiobridge": "success"}
    await wire.hears(room=room, kicked_all=11)
    fresh = await wire.attach()
    await wire.request(fresh, request="join", room=room, id=13, codec="pcmu", rtp=RTP)
    destroyed = {"audiobridge": "destroyed", "room": room, "permanent": False}
    assert await moderate(request="destroy") == destroyed
    await wire.hears(room=room)
    assert (await wire.request(fresh, request="leave"))["error_code"] == 487


async def test_a_hang_up_is_told_as_leaving(wire: Wire) -> None:
    handle, other, third, room = (
        await wire.open(), await wire.attach(), await wire.attach(), next(room_numbers),
    )  # fmt: skip
    await wire.request(handle, request="create", room=room, allow_rtp_participants=True)
    for its, number in ((handle, 11), (other, 12), (third, 13)):
        await wire.request(its, request="join", room=room, id=number, codec="pcmu", rtp=RTP)
    answer = await wire.ask("hangup", session_id=wire.session, handle_id=other)
    assert answer["janus"] == "success"
    await wire.hears(room=room, leaving=12)
    assert await wire.request(third, request="hangup") == {"audiobridge": "hangingup"}
    await wire.hears(room=room, leaving=13)
