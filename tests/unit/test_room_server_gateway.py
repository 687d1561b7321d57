"""Sessions, rooms and announcements of the room server, without a socket or a clock."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from chaoskit.services.room_server.bridge import Bridge
from chaoskit.services.room_server.gateway import Gateway
from chaoskit.services.room_server.legs import Leg, RoomMix, RtpClock
from chaoskit.services.room_server.media import NoPortLeft, OpenLeg
from chaoskit.wire.audiobridge import NOWHERE, PLUGIN, RtpAddress
from chaoskit.wire.rtp import RtpHeader, pack

pytestmark = pytest.mark.unit

PACKET = pack(RtpHeader(0, 1, 0, 1), b"\xff" * 160)


class ScriptedMedia:
    """A media plane of no sockets: legs by the port that was announced for them."""

    def __init__(self) -> None:
        self.legs: dict[int, OpenLeg] = {}
        self.opened: list[tuple[RtpAddress, RtpClock | None]] = []
        self.rooms: list[RoomMix] = []
        self.full = False

    def open_room(self) -> RoomMix:
        self.rooms.append(RoomMix(1))
        return self.rooms[-1]

    def close_room(self, room: RoomMix) -> None:
        self.rooms.remove(room)

    def open(
        self,
        room: RoomMix,
        peer: RtpAddress,
        *,
        prebuffer: int,
        muted: bool,
        admin: bool,
        resume: RtpClock | None,
        on_up: Callable[[], None],
        on_gone: Callable[[], None],
    ) -> OpenLeg:
        if self.full:
            raise NoPortLeft("no even UDP port is free")
        self.opened.append((peer, resume))
        leg = Leg(
            room, len, prebuffer=prebuffer, muted=muted, admin=admin, resume=resume, on_up=on_up
        )
        local = RtpAddress("127.0.0.1", 20_000 + 2 * len(self.opened))
        self.legs[peer.port] = OpenLeg(leg, local, on_gone)
        return self.legs[peer.port]

    def close(self, opened: OpenLeg) -> None:
        opened.leg.end()


class Client:
    """One connection; keeps what it was sent, parsed."""

    def __init__(self, node: "World") -> None:
        self.node = node
        self.messages: list[dict[str, Any]] = []
        self.session = 0

    def send(self, text: str) -> None:
        self.messages.append(json.loads(text))

    def say(self, keyword: str, **members: Any) -> dict[str, Any]:
        """Send a request; return the last message that answers it."""
        request = {"janus": keyword, "transaction": "t", **members}
        before = len(self.messages)
        self.node.gateway.receive(self, json.dumps(request))
        answers = [m for m in self.messages[before:] if "transaction" in m or m["janus"] == "error"]
        return answers[-1]

    def open(self) -> int:
        """Create a session and attach a handle."""
        self.session = self.say("create")["data"]["id"]
        return self.attach()

    def attach(self) -> int:
        answer = self.say("attach", session_id=self.session, plugin=PLUGIN)
        number: int = answer["data"]["id"]
        return number

    def ask(self, handle: int, request: str, **body: Any) -> dict[str, Any]:
        """Return the plugin data of the answer to a request."""
        body["request"] = request
        answer = self.say("message", session_id=self.session, handle_id=handle, body=body)
        data: dict[str, Any] = answer["plugindata"]["data"]
        return data

    def join(self, handle: int, number: int, **body: Any) -> dict[str, Any]:
        rtp = {"ip": "127.64.0.1", "port": 5_000 + number}
        return self.ask(handle, "join", room=7, id=number, codec="pcmu", rtp=rtp, **body)

    def news(self) -> list[dict[str, Any]]:
        """Return the plugin data of all announcements so far, and forget them."""
        told = [m["plugindata"]["data"] for m in self.messages if "transaction" not in m]
        self.messages.clear()
        return told


class World:
    def __init__(self, *, reclaim_s: float = 0.0) -> None:
        self.now_s = 1_000.0
        self.media = ScriptedMedia()
        self.pending: list[Callable[[], None]] = []
        rng = random.Random(1)
        self.bridge = Bridge(self.media, now=lambda: self.now_s, rng=rng, later=self.pending.append)
        self.gateway = Gateway(
            self.bridge, name="room-a", now=lambda: self.now_s, rng=rng, reclaim_s=reclaim_s
        )

    def client(self) -> Client:
        return Client(self)

    def room(self, members: int = 0) -> tuple[Client, int, list[tuple[Client, int]]]:
        """Create room 7; return an outsider with a handle, and members 1.. with theirs."""
        outsider = self.client()
        handle = outsider.open()
        outsider.ask(handle, "create", room=7, sampling_rate=8_000, allow_rtp_participants=True)
        joined = []
        for number in range(1, members + 1):
            client = self.client()
            its_handle = client.open()
            client.join(its_handle, number, display=f"p{number - 1}")
            joined.append((client, its_handle))
        self.tell_news()
        for client, _ in joined:
            client.messages.clear()
        return outsider, handle, joined

    def tell_news(self) -> None:
        for call in self.pending:
            call()
        self.pending.clear()


def person(number: int, *, setup: bool = False, muted: bool = False) -> dict[str, Any]:
    return {"id": number, "display": f"p{number - 1}", "setup": setup, "muted": muted}


# --- sessions ------------------------------------------------------------------------------------


def test_a_session_without_a_request_for_the_timeout_is_told_and_ended() -> None:
    world = World()
    client = world.client()
    client.open()
    world.now_s += 59.9
    world.gateway.sweep()
    assert client.session in world.gateway.sessions
    client.say("keepalive", session_id=client.session)
    world.now_s += 60.0
    world.gateway.sweep()
    assert client.messages[-1] == {"janus": "timeout", "session_id": client.session}
    assert client.say("keepalive", session_id=client.session)["error"]["code"] == 458


def test_the_loss_of_a_connection_is_the_end_of_its_participants() -> None:
    world = World()
    _, _, [(gone, _), (other, _)] = world.room(members=2)
    world.gateway.disconnected(gone)
    world.tell_news()
    assert other.news() == [{"audiobridge": "event", "room": 7, "leaving": 1}]
    assert not world.media.legs[5_001].leg.alive


def test_within_the_reclaim_time_another_connection_can_take_a_session_over() -> None:
    world = World(reclaim_s=10.0)
    outsider, handle, [(gone, _)] = world.room(members=1)
    world.gateway.disconnected(gone)
    world.now_s += 9.0
    world.gateway.sweep()
    heir = world.client()
    assert heir.say("claim", session_id=gone.session)["janus"] == "success"
    outsider.ask(handle, "mute", room=7, id=1)
    assert heir.news() == [{"audiobridge": "event", "room": 7, "participants": [
        person(1, muted=True)
    ]}]  # fmt: skip


def test_after_the_reclaim_time_a_session_is_gone() -> None:
    world = World(reclaim_s=10.0)
    _, _, [(gone, _), (other, _)] = world.room(members=2)
    world.gateway.disconnected(gone)
    world.now_s += 10.0
    world.gateway.sweep()
    world.tell_news()
    assert other.news() == [{"audiobridge": "event", "room": 7, "leaving": 1}]
    assert world.client().say("claim", session_id=gone.session)["error"]["code"] == 458


def test_destroying_a_session_takes_its_participants_out() -> None:
    world = World()
    _, _, [(first, _), (second, _)] = world.room(members=2)
    assert first.say("destroy", session_id=first.session)["janus"] == "success"
    world.tell_news()
    assert second.news() == [{"audiobridge": "event", "room": 7, "leaving": 1}]


def test_detaching_a_handle_is_told_and_leaves_the_session() -> None:
    world = World()
    client = world.client()
    handle = client.open()
    client.say("detach", session_id=client.session, handle_id=handle)
    assert client.messages[-1] == {
        "janus": "detached", "session_id": client.session, "sender": handle,
    }  # fmt: skip
    assert client.attach() != handle


def test_the_server_says_what_it_is() -> None:
    info = World().client().say("info")
    assert (info["janus"], info["server-name"]) == ("server_info", "room-a")
    assert "embedded" in info["name"]


def test_asynchronous_requests_are_acknowledged_first() -> None:
    world = World()
    _, _, [(client, handle)] = world.room(members=1)
    client.ask(handle, "configure", muted=True)
    assert [m["janus"] for m in client.messages] == ["ack", "event"]
    assert {m["transaction"] for m in client.messages} == {"t"}


# --- news ----------------------------------------------------------------------------------------


def test_joins_of_a_moment_share_one_announcement_and_nobody_hears_of_itself() -> None:
    world = World()
    _, _, [(old, _)] = world.room(members=1)
    first, second = world.client(), world.client()
    first.join(first.open(), 2, display="p1")
    answer = second.join(second.open(), 3, display="p2")
    assert [p["id"] for p in answer["participants"]] == [1, 2]
    world.tell_news()
    assert old.news() == [{"audiobridge": "joined", "room": 7, "participants": [
        person(2), person(3)
    ]}]  # fmt: skip
    assert first.news()[-1:] == [{"audiobridge": "joined", "room": 7, "participants": [person(3)]}]
    assert [n for n in second.news() if n["audiobridge"] == "joined" and "id" not in n] == []


def test_news_of_different_kinds_keep_their_order() -> None:
    world = World()
    _, _, [(old, _)] = world.room(members=1)
    new = world.client()
    handle = new.open()
    new.join(handle, 2, display="p1")
    world.media.legs[5_002].leg.receive(PACKET)
    new.ask(handle, "leave")
    world.tell_news()
    assert old.news() == [
        {"audiobridge": "joined", "room": 7, "participants": [person(2)]},
        {"audiobridge": "event", "room": 7, "participants": [person(2, setup=True)]},
        {"audiobridge": "event", "room": 7, "leaving": 2},
    ]


def test_what_is_told_at_once_comes_after_the_news() -> None:
    world = World()
    outsider, handle, [(old, _)] = world.room(members=1)
    new = world.client()
    new.join(new.open(), 2, display="p1")
    outsider.ask(handle, "kick", room=7, id=2)
    world.tell_news()
    assert [list(n)[-1] for n in old.news()] == ["participants", "kicked", "leaving"]


def test_the_first_packet_is_announced_to_the_others() -> None:
    world = World()
    _, _, [(first, _), (second, _)] = world.room(members=2)
    world.media.legs[5_001].leg.receive(PACKET)
    world.tell_news()
    changed = {"audiobridge": "event", "room": 7, "participants": [person(1, setup=True)]}
    assert (first.news(), second.news()) == ([], [changed])


# --- rooms ---------------------------------------------------------------------------------------


def test_a_kicked_handle_joins_again_without_media_and_cannot_be_kicked_out() -> None:
    world = World()
    outsider, handle, [(client, its_handle)] = world.room(members=1)
    outsider.ask(handle, "kick", room=7, id=1)
    assert "rtp" in client.join(its_handle, 1)
    assert world.media.opened[-1][0] == NOWHERE
    outsider.ask(handle, "kick", room=7, id=1)
    listed = outsider.ask(handle, "listparticipants", room=7)["participants"]
    assert [p["id"] for p in listed] == [1]
    assert client.ask(its_handle, "leave")["audiobridge"] == "left"


def test_a_handle_that_left_goes_on_with_its_stream() -> None:
    world = World()
    _, _, [(client, handle)] = world.room(members=1)
    leg = world.media.legs[5_001].leg
    leg.receive(PACKET)
    leg.room.tick(1)
    client.ask(handle, "leave")
    client.join(handle, 1)
    resume = world.media.opened[-1][1]
    assert resume == RtpClock(sequence=2, timestamp=160, at_s=world.now_s)


def test_destroying_a_room_ends_all_legs_and_even_dead_handles_are_out_of_it() -> None:
    world = World()
    outsider, handle, [(dead, its_handle), (other, _)] = world.room(members=2)
    outsider.ask(handle, "kick", room=7, id=1)
    dead.join(its_handle, 1)
    world.tell_news()
    other.messages.clear()
    outsider.ask(handle, "destroy", room=7)
    world.tell_news()
    assert other.news() == [{"audiobridge": "destroyed", "room": 7}]
    assert dead.ask(its_handle, "leave")["error_code"] == 487
    assert world.media.rooms == []
    assert not any(opened.leg.alive for opened in world.media.legs.values())


def test_a_participant_whose_port_is_closed_is_taken_out() -> None:
    world = World()
    _, _, [_, (other, _)] = world.room(members=2)
    world.media.legs[5_001].on_gone()
    world.tell_news()
    assert other.news() == [{"audiobridge": "event", "room": 7, "leaving": 1}]


def test_without_a_port_left_a_join_is_refused_and_nobody_is_in() -> None:
    world = World()
    outsider, handle, _ = world.room()
    world.media.full = True
    client = world.client()
    answer = client.join(client.open(), 1)
    assert (answer["error_code"], answer["error"]) == (499, "no even UDP port is free")
    assert outsider.ask(handle, "listparticipants", room=7)["participants"] == []


def test_a_codec_that_this_server_lacks_is_refused_with_a_way_out() -> None:
    world = World()
    _, _, _ = world.room()
    client = world.client()
    handle = client.open()
    rtp = {"ip": "127.0.0.1", "port": 9}
    answer = client.ask(handle, "join", room=7, rtp=rtp)
    assert answer["error_code"] == 488
    assert "pcmu" in answer["error"]


def test_an_unsupported_sampling_rate_makes_no_room() -> None:
    client = World().client()
    handle = client.open()
    answer = client.ask(handle, "create", room=8, sampling_rate=44_100)
    assert (answer["error_code"], answer["error"]) == (499, "Unsupported sampling rate 44100")
    assert client.ask(handle, "exists", room=8)["exists"] is False


def test_who_knows_the_secret_speaks_in_a_muted_room() -> None:
    world = World()
    client = world.client()
    handle = client.open()
    client.ask(handle, "create", room=7, secret="s", allow_rtp_participants=True)
    client.join(handle, 1, secret="s")
    assert world.media.legs[5_001].leg.admin
