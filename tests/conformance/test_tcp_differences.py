"""Where the embedded server is different from Toxiproxy on purpose. Reference, section 6.2."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.conformance.toxiproxies import (
    Server,
    Upstream,
    address_of,
    bad_body,
    can_connect,
    connect,
    receive,
    send_until_it_ends,
    silent_address,
    wait_until,
)

pytestmark = pytest.mark.conformance


def test_a_half_closed_connection_still_gets_its_answer(embedded_server: Server) -> None:
    def answer_at_the_end(connection: socket.socket) -> None:
        received = b""
        while data := connection.recv(65536):
            received += data
        connection.sendall(received.upper())

    upstream = Upstream(answer_at_the_end)
    proxy = embedded_server.create("one", upstream.address)
    with connect(proxy) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 8) == b"QUESTION"
        assert client.recv(1) == b""
    upstream.close()


def test_no_toxic_of_the_embedded_server_mentions_a_logger(embedded_server: Server) -> None:
    assert "Logger" not in embedded_server.create("one", "127.0.0.1:1")


def test_an_upstream_that_does_not_answer_blocks_neither_control_nor_others(
    embedded_server: Server,
) -> None:
    with silent_address() as nobody:
        proxy = embedded_server.create("one", nobody)
        with connect(proxy), connect(proxy) as second:
            wait_until(lambda: embedded_server.counters("one")["connections"]["open"] == 2)
            response = embedded_server.call("PATCH", "/proxies/one", {"enabled": False})
            assert response.status_code == 200
            assert second.recv(1) == b""
    assert embedded_server.counters("one")["connections"]["open"] == 0


def test_a_cut_with_reset_is_seen_as_econnreset_on_both_ends(embedded_server: Server) -> None:
    seen: list[str] = []
    over = threading.Event()

    def watch(connection: socket.socket) -> None:
        try:
            while connection.recv(65536):
                pass
            seen.append("eof")
        except ConnectionResetError:
            seen.append("reset")
        over.set()

    upstream = Upstream(watch)
    proxy = embedded_server.create("one", upstream.address)
    with connect(proxy) as client:
        client.sendall(b"x")
        wait_until(lambda: embedded_server.counters("one")["up"]["forwarded"] == 1)
        response = embedded_server.call(
            "PATCH", "/proxies/one", {"enabled": False}, headers={"X-Chaoskit-Cut": "reset"}
        )
        assert response.json()["enabled"] is False
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy).close()
    assert over.wait(10)
    assert seen == ["reset"]
    upstream.close()


def test_an_unknown_way_to_cut_is_refused(embedded_server: Server) -> None:
    embedded_server.create("one", "127.0.0.1:1")
    response = embedded_server.call(
        "PATCH", "/proxies/one", {"enabled": False}, headers={"X-Chaoskit-Cut": "bang"}
    )
    bad_body(response)
    assert embedded_server.call("GET", "/proxies/one").json()["enabled"] is True


def test_reset_peer_resets_idle_connections_that_were_open_before(
    embedded_server: Server, echo_upstream: str
) -> None:
    proxy = embedded_server.create("one", echo_upstream)
    with connect(proxy) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        embedded_server.add_toxic("one", "reset_peer", attributes={"timeout": 50})
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_reset_peer_that_is_removed_in_time_spares_the_connection(
    embedded_server: Server, echo_upstream: str
) -> None:
    proxy = embedded_server.create("one", echo_upstream)
    with connect(proxy) as client:
        embedded_server.add_toxic("one", "reset_peer", attributes={"timeout": 60_000})
        response = embedded_server.call("DELETE", "/proxies/one/toxics/reset_peer_downstream")
        assert response.status_code == 204
        client.sendall(b"x")
        assert receive(client, 1) == b"x"


def test_timeout_ends_a_connection_however_busy_it_is(
    embedded_server: Server, echo_upstream: str
) -> None:
    proxy = embedded_server.create("one", echo_upstream)
    embedded_server.add_toxic("one", "timeout", stream="upstream", attributes={"timeout": 200})
    with connect(proxy) as client:
        began_s = time.monotonic()
        with contextlib.suppress(ConnectionResetError):  # an end with data unread is a reset
            send_until_it_ends(client)
        assert time.monotonic() - began_s >= 0.199


def test_the_idle_timer_of_toxiproxy_can_be_asked_for(embedded_server: Server) -> None:
    embedded_server.create("one", "127.0.0.1:1")
    attributes = {"timeout": 200, "idle": True}
    toxic = embedded_server.add_toxic("one", "timeout", attributes=attributes)
    assert toxic["attributes"] == attributes
    path = "/proxies/one/toxics/timeout_downstream"
    changed = embedded_server.call("PATCH", path, {"attributes": {"idle": False}}).json()
    assert changed["attributes"] == {"timeout": 200}


def test_toxicity_is_rolled_once_for_a_connection(
    embedded_server: Server, echo_upstream: str
) -> None:
    proxy = embedded_server.create("one", echo_upstream)
    embedded_server.add_toxic("one", "latency", toxicity=0.5, attributes={"latency": 1})
    path = "/proxies/one/toxics/latency_downstream"
    for _ in range(6):
        with connect(proxy) as client:
            touched = set()
            for _ in range(6):
                embedded_server.call("PATCH", path, {"attributes": {"latency": 1}})
                before = embedded_server.counters("one")["toxics"]["latency_downstream"]["seen"]
                client.sendall(b"x")
                assert receive(client, 1) == b"x"
                after = embedded_server.counters("one")["toxics"]["latency_downstream"]["seen"]
                touched.add(after - before)
            assert len(touched) == 1


def test_the_same_clients_meet_the_same_toxicity_under_the_same_seed(
    own_embedded: Callable[..., AbstractContextManager[Server]], echo_upstream: str
) -> None:
    def rolls(*options: str) -> list[int]:
        with own_embedded(*options) as server:
            proxy = server.create("one", echo_upstream)
            server.add_toxic("one", "noop", toxicity=0.5)
            touched = []
            for k in range(24):
                before = server.counters("one")["toxics"]["noop_downstream"]["seen"]
                with connect(proxy, source=f"127.64.0.{k % 12 + 1}") as client:
                    client.sendall(b"x")
                    assert receive(client, 1) == b"x"
                after = server.counters("one")["toxics"]["noop_downstream"]["seen"]
                touched.append(after - before)
            return touched

    first = rolls("--seed", "3")
    assert rolls("--seed", "3") == first
    assert rolls("--seed", "4") != first
    assert set(first) == {0, 1}


def test_a_failed_move_leaves_the_proxy_where_it_was(
    embedded_server: Server, echo_upstream: str
) -> None:
    taken = address_of(embedded_server.create("other", echo_upstream))[1]
    created = embedded_server.create("one", echo_upstream)
    response = embedded_server.call(
        "PATCH", "/proxies/one", {"listen": f"127.0.0.1:{taken}", "upstream": "127.0.0.1:9"}
    )
    assert response.status_code == 500
    assert embedded_server.call("GET", "/proxies/one").json() == created
    assert can_connect(address_of(created))


def test_a_failed_replacement_leaves_the_proxy_where_it_was(
    embedded_server: Server, echo_upstream: str
) -> None:
    taken = address_of(embedded_server.create("other", echo_upstream))[1]
    created = embedded_server.create("one", echo_upstream)
    body = [{"name": "one", "listen": f"127.0.0.1:{taken}", "upstream": echo_upstream}]
    assert embedded_server.call("POST", "/populate", body).status_code == 500
    assert embedded_server.call("GET", "/proxies/one").json() == created
    assert can_connect(address_of(created))


def test_a_toxic_update_that_is_refused_changes_nothing(embedded_server: Server) -> None:
    embedded_server.create("one", "127.0.0.1:1")
    embedded_server.add_toxic("one", "latency", attributes={"latency": 5, "jitter": 6})
    path = "/proxies/one/toxics/latency_downstream"
    bad_body(embedded_server.call("PATCH", path, {"attributes": {"latency": 7, "jitter": "x"}}))
    attributes = embedded_server.call("GET", path).json()["attributes"]
    assert attributes == {"latency": 5, "jitter": 6}


def test_a_name_that_no_path_can_carry_is_refused(embedded_server: Server) -> None:
    bad_body(embedded_server.call("POST", "/proxies", {"name": "a/b", "upstream": "u:1"}))


def test_control_never_waits_for_data(embedded_server: Server) -> None:
    """A reader that stalls under 32 MiB of held data; every call must still be answered."""
    stalled = threading.Event()

    def flood(connection: socket.socket) -> None:
        connection.settimeout(0.2)
        try:
            while True:
                connection.sendall(bytes(65536))
        except TimeoutError:
            stalled.set()

    upstream = Upstream(flood)
    proxy = embedded_server.create("one", upstream.address)
    embedded_server.add_toxic("one", "latency", attributes={"latency": 20})
    with connect(proxy):
        assert stalled.wait(20)
        toxic = "/proxies/one/toxics/latency_downstream"
        body = {"attributes": {"latency": 10}}
        assert embedded_server.call("PATCH", toxic, body).status_code == 200
        assert embedded_server.call("DELETE", toxic).status_code == 204
        assert embedded_server.call("POST", "/reset").status_code == 204
        assert embedded_server.call("DELETE", "/proxies/one").status_code == 204
    upstream.close()


def test_the_counters_of_a_tcp_link_agree_with_its_ends(
    embedded_server: Server, echo_upstream: str
) -> None:
    proxy = embedded_server.create("one", echo_upstream)
    with connect(proxy) as client:
        for _ in range(10):
            client.sendall(b"x" * 100)
            assert len(receive(client, 100)) == 100
        live = embedded_server.counters("one")
        assert live["connections"] == {"open": 1, "accepted": 1, "refused": 0, "cut": 0}
    for direction in ("up", "down"):
        assert live[direction]["bytes"] == 1000
        assert live[direction]["seen"] == live[direction]["forwarded"]
    assert (live["transport"], live["enabled"], live["first_effect_s"]) == ("tcp", True, None)
    wait_until(lambda: embedded_server.counters("one")["connections"]["open"] == 0)
    assert embedded_server.counters("one")["up"] == live["up"]


def test_cutting_stamps_the_first_effect_with_the_clock_of_the_relay(
    embedded_server: Server, echo_upstream: str
) -> None:
    proxy = embedded_server.create("one", echo_upstream)
    with connect(proxy, source="127.64.0.9") as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        before_s = embedded_server.call("GET", "/chaoskit/clock").json()["monotonic_s"]
        embedded_server.call("PATCH", "/proxies/one", {"enabled": False})
        after_s = embedded_server.call("GET", "/chaoskit/clock").json()["monotonic_s"]
    cut = embedded_server.counters("one")
    assert cut["connections"]["cut"] == 1
    assert before_s <= cut["first_effect_s"] == cut["last_effect_s"] <= after_s
    assert cut["affected_clients"] == 1
    embedded_server.call("PATCH", "/proxies/one", {"enabled": True})
    assert embedded_server.counters("one")["first_effect_s"] == cut["first_effect_s"]
    embedded_server.add_toxic("one", "noop")
    assert embedded_server.counters("one")["first_effect_s"] is None


def test_a_client_that_resets_takes_its_upstream_connection_down(
    embedded_server: Server,
) -> None:
    over = threading.Event()

    def wait_for_the_end(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass
        over.set()

    upstream = Upstream(wait_for_the_end)
    proxy = embedded_server.create("one", upstream.address)
    client = connect(proxy)
    client.sendall(b"x")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert over.wait(10)
    wait_until(lambda: embedded_server.counters("one")["connections"]["open"] == 0)
    upstream.close()
