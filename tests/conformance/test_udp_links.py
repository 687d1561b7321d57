"""UDP links of the embedded server, seen from a client's and a room server's sockets."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Any

import pytest

from chaoskit.wire import udplink
from tests.conformance.toxiproxies import PATIENCE_S, Server, address_of, bad_body, wait_until

pytestmark = pytest.mark.conformance

Address = tuple[str, int]
RTP = bytes([0x80, 0x00]) + bytes(10)


def udp_socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(PATIENCE_S)
    return sock


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """A participant's media socket."""
    with closing(udp_socket("127.64.0.1")) as sock:
        yield sock


@pytest.fixture
def room() -> Iterator[socket.socket]:
    """A room server's media socket."""
    with closing(udp_socket("127.0.0.1")) as sock:
        yield sock


def media_link(server: Server, **more: object) -> Address:
    body = {"name": "media", "listen": "udp://127.0.0.1:0", "upstream": "udp://dynamic", **more}
    response = server.call("POST", "/proxies", body)
    assert response.status_code == 201, response.text
    return address_of(response.json())


def ask(sock: socket.socket, link: Address, message: udplink.Message) -> udplink.Message | None:
    sock.sendto(udplink.encode(message), link)
    return udplink.decode(sock.recv(2048))


def join(sock: socket.socket, link: Address, room: socket.socket, nonce: str = "n1") -> Address:
    """Open a flow and name `room` as its peer; return the relay's server-side address."""
    opened = ask(sock, link, udplink.Open(nonce))
    assert isinstance(opened, udplink.Opened)
    assert ask(sock, link, udplink.Peer(nonce, *room.getsockname())) == udplink.Peered(nonce)
    return opened.host, opened.port


def nothing_comes(sock: socket.socket) -> None:
    sock.settimeout(0.15)
    with pytest.raises(TimeoutError):
        sock.recv(2048)
    sock.settimeout(PATIENCE_S)


def exchange(sock: socket.socket, link: Address, room: socket.socket, count: int = 1) -> None:
    """Send `count` datagrams each way and check that they arrive."""
    for number in range(count):
        sock.sendto(RTP + bytes([number % 256]), link)
        data, relay = room.recvfrom(2048)
        assert data == RTP + bytes([number % 256])
        room.sendto(data[::-1][:1] + RTP, relay)
        assert sock.recv(2048) == bytes([number % 256]) + RTP


def test_a_udp_link_shows_its_scheme_and_its_peers(embedded_server: Server) -> None:
    link = media_link(embedded_server)
    assert embedded_server.call("GET", "/proxies/media").json() == {
        "name": "media",
        "listen": f"udp://127.0.0.1:{link[1]}",
        "upstream": "udp://dynamic",
        "enabled": True,
        "toxics": [],
        "allowed_peers": ["127.0.0.1"],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"listen": "127.0.0.1:0"},
        {"upstream": "127.0.0.1:5004"},
        {"upstream": "udp://somewhere"},
        {"upstream": "udp://127.0.0.1:0"},
        {"listen": "udp://0.0.0.0:0"},
        {"listen": "udp://[::1]:0"},
        {"allowed_peers": ["room-a"]},
        {"allowed_peers": "127.0.0.1"},
    ],
)
def test_a_udp_link_that_makes_no_sense_is_refused(
    embedded_server: Server, change: dict[str, object]
) -> None:
    body = {"name": "m", "listen": "udp://127.0.0.1:0", "upstream": "udp://dynamic", **change}
    bad_body(embedded_server.call("POST", "/proxies", body))
    assert embedded_server.call("GET", "/proxies").json() == {}


@pytest.mark.parametrize("kind", ["reset_peer"])
def test_toxics_that_need_a_byte_stream_are_refused(embedded_server: Server, kind: str) -> None:
    media_link(embedded_server)
    response = embedded_server.call("POST", "/proxies/media/toxics", {"type": kind})
    assert response.status_code == 400
    assert response.json()["error"] == f"{kind} does not work on a udp link"


def test_packet_loss_is_refused_on_tcp_for_it_would_corrupt_the_stream(
    embedded_server: Server,
) -> None:
    embedded_server.create("one", "127.0.0.1:1")
    response = embedded_server.call("POST", "/proxies/one/toxics", {"type": "packet_loss"})
    assert response.json()["error"] == "packet_loss does not work on a tcp link"


@pytest.mark.parametrize(
    "attributes",
    [
        {"loss_rate": 1.1},
        {"loss_rate": -0.1},
        {"p": 0.1},
        {"p": 0.1, "r": 0.5, "loss_rate": 0.1},
        {"r": 2},
    ],
)
def test_loss_that_is_no_probability_is_refused(
    embedded_server: Server, attributes: dict[str, float]
) -> None:
    media_link(embedded_server)
    body = {"type": "packet_loss", "attributes": attributes}
    bad_body(embedded_server.call("POST", "/proxies/media/toxics", body))


def test_a_flow_relays_both_ways_between_a_participant_and_the_peer_it_names(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    relay = join(client, link, room)
    client.sendto(RTP, link)
    data, source = room.recvfrom(2048)
    assert (data, source) == (RTP, relay)  # the address that was announced
    exchange(client, link, room, 5)
    counters = embedded_server.counters("media")
    assert counters["flows"] == {"open": 1, "opened": 1, "refused_opens": 0}
    assert counters["up"] == {
        "seen": 6,
        "forwarded": 6,
        "dropped": 0,
        "delayed": 0,
        "undeliverable": 0,
        "bytes": 12 + 5 * 13,
    }
    assert (counters["down"]["forwarded"], counters["down"]["bytes"]) == (5, 5 * 13)


def test_two_participants_have_flows_of_their_own(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    with closing(udp_socket("127.64.0.2")) as other:
        assert join(client, link, room) != join(other, link, room)
        for sock, word in ((client, b"a"), (other, b"b")):
            sock.sendto(RTP + word, link)
            data, relay = room.recvfrom(2048)
            assert data == RTP + word
            room.sendto(RTP + word.upper(), relay)
        assert client.recv(2048) == RTP + b"A"
        assert other.recv(2048) == RTP + b"B"


def test_opening_again_gives_the_same_flow_until_a_peer_was_named(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    first = ask(client, link, udplink.Open("n1"))
    assert ask(client, link, udplink.Open("n1")) == first
    assert isinstance(first, udplink.Opened)
    assert ask(client, link, udplink.Open("n2")) == udplink.Opened("n2", first.host, first.port)
    join(client, link, room, "n2")
    assert ask(client, link, udplink.Open("n2")) == udplink.Opened("n2", first.host, first.port)


def test_a_new_nonce_after_a_peer_was_named_gives_a_fresh_socket(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    old = join(client, link, room, "n1")
    new = join(client, link, room, "n2")
    assert new != old
    room.sendto(RTP, old)
    nothing_comes(client)
    exchange(client, link, room)
    assert embedded_server.counters("media")["flows"]["open"] == 1


def test_the_peer_must_be_on_the_list(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server, allowed_peers=["127.0.0.1", "127.64.3.0/24"])
    ask(client, link, udplink.Open("n1"))
    refused = udplink.Refused("n1", "peer-not-allowed")
    assert ask(client, link, udplink.Peer("n1", "127.64.4.1", 5004)) == refused
    peered = udplink.Peered("n1")
    assert ask(client, link, udplink.Peer("n1", "127.64.3.77", 5004)) == peered


def test_messages_that_make_no_sense_are_answered_or_ignored(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    no_flow = udplink.Refused("n1", "no-flow")
    assert ask(client, link, udplink.Peer("n1", *room.getsockname())) == no_flow
    client.sendto(b"CKPEER n1 nonsense", link)
    assert udplink.decode(client.recv(2048)) == udplink.Refused("n1", "malformed")
    for datagram in (b"", b"hello", b"\x00" * 20):
        client.sendto(datagram, link)
    nothing_comes(client)
    exchange_after = join(client, link, room)
    assert exchange_after[0] == "127.0.0.1"
    exchange(client, link, room)


def test_media_without_a_flow_or_before_a_peer_goes_nowhere(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    client.sendto(RTP, link)
    opened = ask(client, link, udplink.Open("n1"))
    assert isinstance(opened, udplink.Opened)
    client.sendto(RTP, link)
    room.sendto(RTP, (opened.host, opened.port))
    wait_until(lambda: embedded_server.counters("media")["down"]["seen"] == 1)
    counters = embedded_server.counters("media")
    assert counters["up"]["undeliverable"] == 2
    assert counters["down"]["undeliverable"] == 1
    assert counters["first_effect_s"] is None
    join(client, link, room)
    exchange(client, link, room)


def test_only_the_named_peer_is_heard(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    relay = join(client, link, room)
    with closing(udp_socket("127.0.0.1")) as stranger:
        stranger.sendto(RTP + b"stranger", relay)
    room.sendto(RTP + b"room", relay)
    assert client.recv(2048) == RTP + b"room"


def test_a_cut_link_discards_both_ways_answers_nothing_and_keeps_its_flows(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    relay = join(client, link, room)
    exchange(client, link, room, 3)
    embedded_server.call("PATCH", "/proxies/media", {"enabled": False})
    for _ in range(4):
        client.sendto(RTP, link)
        room.sendto(RTP, relay)
    with closing(udp_socket("127.64.0.2")) as late:
        late.sendto(udplink.encode(udplink.Open("n9")), link)
        nothing_comes(late)
    nothing_comes(client)
    cut = embedded_server.counters("media")
    assert (cut["up"]["dropped"], cut["down"]["dropped"]) == (4, 4)
    assert cut["flows"] == {"open": 1, "opened": 1, "refused_opens": 1}
    assert (cut["enabled"], cut["affected_clients"]) == (False, 2)
    now_s = embedded_server.call("GET", "/chaoskit/clock").json()["monotonic_s"]
    assert cut["first_effect_s"] <= cut["last_effect_s"] <= now_s
    embedded_server.call("PATCH", "/proxies/media", {"enabled": True})
    exchange(client, link, room, 3)
    healed = embedded_server.counters("media")
    assert healed["first_effect_s"] == cut["first_effect_s"]


def test_a_blackhole_swallows_one_direction_and_lifting_it_brings_the_flow_back(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    relay = join(client, link, room)
    embedded_server.add_toxic("media", "timeout", stream="downstream")
    client.sendto(RTP, link)
    assert room.recv(2048) == RTP
    for _ in range(5):
        room.sendto(RTP, relay)
    with closing(udp_socket("127.64.0.2")) as late:
        late.sendto(udplink.encode(udplink.Open("n9")), link)
        nothing_comes(late)
    nothing_comes(client)
    counters = embedded_server.counters("media")
    assert counters["down"]["dropped"] == 5
    assert counters["toxics"]["timeout_downstream"] == {
        "seen": 5,
        "dropped": 5,
        "delayed": 0,
        "cut": 0,
    }
    assert counters["flows"]["refused_opens"] == 1
    embedded_server.call("DELETE", "/proxies/media/toxics/timeout_downstream")
    exchange(client, link, room)


def test_a_blackhole_with_a_time_ends_the_flow(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    join(client, link, room)
    embedded_server.add_toxic("media", "timeout", attributes={"timeout": 50})
    wait_until(lambda: embedded_server.counters("media")["flows"]["open"] == 0)
    assert embedded_server.counters("media")["toxics"]["timeout_downstream"]["cut"] == 1


def test_latency_holds_datagrams_and_keeps_their_order(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    join(client, link, room)
    attributes = {"latency": 60, "jitter": 40}
    embedded_server.add_toxic("media", "latency", stream="upstream", attributes=attributes)
    began_s = time.monotonic()
    for number in range(30):
        client.sendto(RTP + bytes([number]), link)
    received = [room.recv(2048)[-1] for _ in range(30)]
    assert received == list(range(30))
    assert time.monotonic() - began_s >= 0.02
    assert embedded_server.counters("media")["up"]["delayed"] == 30


def test_latency_may_reorder_if_asked(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    join(client, link, room)
    attributes = {"latency": 60, "jitter": 40, "reorder": True}
    toxic = embedded_server.add_toxic("media", "latency", stream="upstream", attributes=attributes)
    assert toxic["attributes"] == attributes
    for number in range(30):
        client.sendto(RTP + bytes([number]), link)
    received = [room.recv(2048)[-1] for _ in range(30)]
    assert sorted(received) == list(range(30))
    assert received != list(range(30))


def test_cutting_a_link_drops_what_its_latency_holds(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    join(client, link, room)
    attributes = {"latency": 120}
    embedded_server.add_toxic("media", "latency", stream="upstream", attributes=attributes)
    client.sendto(RTP, link)
    wait_until(lambda: embedded_server.counters("media")["up"]["delayed"] == 1)
    embedded_server.call("PATCH", "/proxies/media", {"enabled": False})
    wait_until(lambda: embedded_server.counters("media")["up"]["dropped"] == 1)
    nothing_comes(room)


def lost_ordinals(server: Server, count: int, **attributes: float) -> tuple[list[int], int]:
    """Return which of `count` datagrams got lost, and how many the relay says it dropped."""
    link = media_link(server)
    with closing(udp_socket("127.64.0.5")) as sender, closing(udp_socket("127.0.0.1")) as room:
        join(sender, link, room)
        server.add_toxic("media", "packet_loss", stream="upstream", attributes=attributes)
        received: set[int] = set()
        for first in range(0, count, 50):  # never more than a receive buffer holds
            for number in range(first, first + 50):
                sender.sendto(RTP + number.to_bytes(2, "big"), link)
            wait_until(
                lambda due=first + 50: server.counters("media")["up"]["seen"] >= due  # type: ignore[misc]
            )
            room.setblocking(False)
            try:
                while True:
                    received.add(int.from_bytes(room.recv(2048)[-2:], "big"))
            except BlockingIOError:
                continue
        counters = server.counters("media")
        assert counters["up"]["seen"] == count
        assert counters["up"]["forwarded"] == len(received)
        assert counters["overflow"] == 0
        return sorted(set(range(count)) - received), int(counters["up"]["dropped"])


def test_ten_percent_loss_is_counted_exactly(embedded_server: Server) -> None:
    lost, dropped = lost_ordinals(embedded_server, 2000, loss_rate=0.1)
    assert len(lost) == dropped
    assert 140 <= dropped <= 260  # ten percent, four and a half standard deviations


def test_bursts_of_loss_are_counted_exactly(embedded_server: Server) -> None:
    lost, dropped = lost_ordinals(embedded_server, 2000, p=0.0278, r=0.25)
    assert len(lost) == dropped
    runs = sum(1 for number in lost if number - 1 not in lost)
    assert 2.0 < len(lost) / runs < 8.0  # mean burst 4


def test_the_seed_decides_which_datagrams_get_lost(
    own_embedded: Callable[..., AbstractContextManager[Server]],
) -> None:
    def lost(seed: str) -> list[int]:
        with own_embedded("--seed", seed) as server:
            return lost_ordinals(server, 400, loss_rate=0.1)[0]

    first = lost("7")
    assert lost("7") == first
    assert lost("8") != first


def test_a_new_flow_goes_on_in_the_clients_random_sequence(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    """A rejoin must not meet the same losses again: they are the client's, not the flow's."""
    link = media_link(embedded_server)
    join(client, link, room, "n1")
    attributes = {"loss_rate": 0.5}
    embedded_server.add_toxic("media", "packet_loss", stream="upstream", attributes=attributes)

    def pattern(nonce: str) -> list[bool]:
        join(client, link, room, nonce)
        before = embedded_server.counters("media")["up"]["seen"]
        for number in range(64):
            client.sendto(RTP + bytes([number]), link)
        wait_until(lambda: embedded_server.counters("media")["up"]["seen"] == before + 64)
        arrived = set()
        room.setblocking(False)
        try:
            while True:
                arrived.add(room.recv(2048)[-1])
        except BlockingIOError:
            room.settimeout(PATIENCE_S)
        return [number in arrived for number in range(64)]

    assert pattern("n2") != pattern("n3")


def test_toxics_of_a_cohort_hit_the_same_clients_on_every_link(
    embedded_server: Server, room: socket.socket
) -> None:
    def hit(link: str, stream: str) -> set[str]:
        body = {"name": link, "listen": "udp://127.0.0.1:0", "upstream": "udp://dynamic"}
        address = address_of(embedded_server.call("POST", "/proxies", body).json())
        toxic = {"type": "timeout", "stream": stream, "toxicity": 0.5}
        response = embedded_server.call(
            "POST", f"/proxies/{link}/toxics", toxic, headers={"X-Chaoskit-Cohort": "drop-host"}
        )
        assert response.json()["cohort"] == "drop-host"
        refused = set()
        for k in range(1, 21):
            with closing(udp_socket(f"127.64.1.{k}")) as sock:
                sock.sendto(udplink.encode(udplink.Open("n1")), address)
                sock.settimeout(0.05)
                try:
                    sock.recv(2048)
                except TimeoutError:
                    refused.add(f"127.64.1.{k}")
        return refused

    first = hit("a", "upstream")
    assert 0 < len(first) < 20
    assert hit("b", "downstream") == first


def test_a_fixed_upstream_needs_no_opening(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    host, port = room.getsockname()
    link = media_link(embedded_server, upstream=f"udp://{host}:{port}")
    for datagram in (b"CKOPEN n1", b"", RTP, b"x" * 65507):  # nothing is special here
        client.sendto(datagram, link)
        data, relay = room.recvfrom(70000)
        assert data == datagram
        room.sendto(data, relay)
        assert client.recv(70000) == datagram


def test_a_fixed_upstream_whose_port_is_closed_is_counted_and_survived(
    embedded_server: Server, client: socket.socket
) -> None:
    with closing(udp_socket("127.0.0.1")) as gone:
        port = gone.getsockname()[1]
    link = media_link(embedded_server, upstream=f"udp://127.0.0.1:{port}")
    client.sendto(RTP, link)
    wait_until(lambda: embedded_server.counters("media")["peer_refused"] == 1)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as back:
        back.bind(("127.0.0.1", port))
        back.settimeout(PATIENCE_S)
        client.sendto(RTP + b"2", link)
        assert back.recv(2048) == RTP + b"2"


@pytest.mark.parametrize("kind", ["noop", "latency"])
def test_a_peer_that_goes_and_comes_back_is_survived_under_toxics(
    embedded_server: Server, client: socket.socket, kind: str
) -> None:
    with closing(udp_socket("127.0.0.1")) as gone:
        port = gone.getsockname()[1]
    link = media_link(embedded_server, upstream=f"udp://127.0.0.1:{port}")
    attributes = {"latency": 1} if kind == "latency" else {}
    embedded_server.add_toxic("media", kind, stream="upstream", attributes=attributes)
    for _ in range(4):
        client.sendto(RTP, link)
        time.sleep(0.01)
    wait_until(lambda: embedded_server.counters("media")["peer_refused"] >= 1)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as back:
        back.bind(("127.0.0.1", port))
        back.settimeout(PATIENCE_S)
        client.sendto(RTP + b"back", link)
        assert back.recv(2048) == RTP + b"back"
    counters = embedded_server.counters("media")["up"]
    assert counters["seen"] == counters["forwarded"] + counters["undeliverable"] == 5


def test_deleting_a_udp_link_frees_its_port(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    join(client, link, room)
    embedded_server.call("DELETE", "/proxies/media")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(link)


def test_the_reference_client_opens_and_names_its_peer(
    embedded_server: Server, client: socket.socket, room: socket.socket
) -> None:
    link = media_link(embedded_server)
    client.setblocking(False)

    async def enter() -> Address:
        relay = await udplink.open_flow(client, link, nonce="n1")
        await udplink.name_peer(client, link, room.getsockname(), nonce="n1")
        return relay

    relay = asyncio.run(enter())
    room.sendto(RTP, relay)
    client.settimeout(PATIENCE_S)
    assert client.recv(2048) == RTP


def test_the_reference_client_is_told_no_and_gives_up_on_silence(
    embedded_server: Server, client: socket.socket
) -> None:
    link = media_link(embedded_server)
    client.setblocking(False)

    async def name(peer: Address) -> None:
        await udplink.open_flow(client, link, nonce="n1")
        await udplink.name_peer(client, link, peer, nonce="n1")

    with pytest.raises(udplink.LinkRefused, match="peer-not-allowed"):
        asyncio.run(name(("10.1.2.3", 5004)))
    embedded_server.call("PATCH", "/proxies/media", {"enabled": False})
    with pytest.raises(TimeoutError):
        asyncio.run(udplink.open_flow(client, link, nonce="n2", timeout_s=0.35))
    refused = embedded_server.counters("media")["flows"]["refused_opens"]
    assert refused >= 2  # it tries again every 100 ms


def settled(server: Server, link: str, seen: int) -> dict[str, Any]:
    """Return the counters of `link` once it has seen `seen` datagrams upstream."""
    wait_until(lambda: server.counters(link)["up"]["seen"] >= seen)
    return server.counters(link)


def test_the_sentinel_path_hears_its_own_speaker_through_the_relay(
    embedded_server: Server, client: socket.socket
) -> None:
    """An ear names its own speaker as peer; the speaker sends to the relay's server side."""
    link = media_link(embedded_server, allowed_peers=["127.64.0.0/16"])
    with closing(udp_socket("127.64.62.228")) as speaker:
        relay = join(client, link, speaker)
        speaker.sendto(RTP, relay)
        assert client.recv(2048) == RTP
    client.sendto(RTP, link)  # the speaker is gone: counted, not fatal
    assert settled(embedded_server, "media", 1)["up"]["seen"] == 1
