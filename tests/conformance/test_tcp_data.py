"""What both servers do to TCP data. Reference, sections 3 and 4."""

import socket
import threading
import time

import pytest

from tests.conformance.toxiproxies import (
    Server,
    Upstream,
    address_of,
    can_connect,
    connect,
    echo,
    free_port,
    receive,
    send_until_it_ends,
)

pytestmark = pytest.mark.conformance


def test_data_passes_both_ways_unchanged(server: Server, echo_upstream: str) -> None:
    proxy = server.create("one", echo_upstream)
    sent = bytes(range(256)) * 4096  # 1 MiB
    with connect(proxy) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        assert receive(client, len(sent)) == sent
        writer.join()


def test_an_upstream_that_refuses_ends_the_connection_in_good_order(server: Server) -> None:
    proxy = server.create("one", f"127.0.0.1:{free_port()}")
    with connect(proxy) as client:
        assert client.recv(1) == b""


def test_disabling_ends_connections_with_eof_and_refuses_new_ones(
    server: Server, echo_upstream: str
) -> None:
    proxy = server.create("one", echo_upstream)
    with connect(proxy) as client:
        client.sendall(b"hello")
        assert receive(client, 5) == b"hello"
        server.call("PATCH", "/proxies/one", {"enabled": False})
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(proxy).close()
    server.call("PATCH", "/proxies/one", {"enabled": True})
    with connect(proxy) as client:
        client.sendall(b"again")
        assert receive(client, 5) == b"again"


@pytest.mark.parametrize("how", ["delete", "upstream"])
def test_deleting_and_moving_end_connections_with_eof(
    server: Server, echo_upstream: str, how: str
) -> None:
    proxy = server.create("one", echo_upstream)
    with connect(proxy) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        if how == "delete":
            server.call("DELETE", "/proxies/one")
        else:
            server.call("PATCH", "/proxies/one", {"upstream": "127.0.0.1:1"})
        assert client.recv(1) == b""


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_holds_data_in_its_direction(
    server: Server, echo_upstream: str, stream: str
) -> None:
    proxy = server.create("one", echo_upstream)
    server.add_toxic("one", "latency", stream=stream, attributes={"latency": 120})
    with connect(proxy) as client:
        began_s = time.monotonic()
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        assert time.monotonic() - began_s >= 0.119


def test_latencies_add_up(server: Server, echo_upstream: str) -> None:
    proxy = server.create("one", echo_upstream)
    for name in ("a", "b"):
        server.add_toxic("one", "latency", name=name, attributes={"latency": 60})
    with connect(proxy) as client:
        began_s = time.monotonic()
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        assert time.monotonic() - began_s >= 0.119


def test_latency_keeps_the_order_under_jitter(server: Server, echo_upstream: str) -> None:
    proxy = server.create("one", echo_upstream)
    server.add_toxic("one", "latency", attributes={"latency": 20, "jitter": 20})
    sent = bytes(range(100))
    with connect(proxy) as client:
        for byte in sent:
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        assert receive(client, len(sent)) == sent


@pytest.mark.parametrize("how", ["PATCH", "DELETE"])
def test_changing_a_latency_lets_held_data_go_at_once(
    server: Server, echo_upstream: str, how: str
) -> None:
    proxy = server.create("one", echo_upstream)
    server.add_toxic("one", "latency", attributes={"latency": 60_000})
    with connect(proxy) as client:
        client.sendall(b"x")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        body = {"attributes": {"latency": 60_000}} if how == "PATCH" else None
        server.call(how, "/proxies/one/toxics/latency_downstream", body)
        assert receive(client, 1) == b"x"


def test_the_end_of_data_follows_delayed_data(server: Server) -> None:
    upstream = Upstream(lambda connection: connection.sendall(b"bye"))
    proxy = server.create("one", upstream.address)
    server.add_toxic("one", "latency", attributes={"latency": 100})
    with connect(proxy) as client:
        assert receive(client, 3) == b"bye"
        assert client.recv(1) == b""
    upstream.close()


def test_timeout_0_lets_nothing_through_and_removing_it_ends_the_connection(
    server: Server, echo_upstream: str
) -> None:
    proxy = server.create("one", echo_upstream)
    with connect(proxy) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        server.add_toxic("one", "timeout")
        client.sendall(b"y")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        server.call("DELETE", "/proxies/one/toxics/timeout_downstream")
        assert client.recv(1) == b""
    with connect(proxy) as client:
        client.sendall(b"z")
        assert receive(client, 1) == b"z"


def test_timeout_ends_an_idle_connection_after_its_time(server: Server, echo_upstream: str) -> None:
    proxy = server.create("one", echo_upstream)
    server.add_toxic("one", "timeout", attributes={"timeout": 150})
    with connect(proxy) as client:
        began_s = time.monotonic()
        assert client.recv(1) == b""
        assert time.monotonic() - began_s >= 0.149


def test_reset_peer_resets_a_connection_that_sends(server: Server, echo_upstream: str) -> None:
    proxy = server.create("one", echo_upstream)
    server.add_toxic("one", "reset_peer")

    def talk() -> None:
        with connect(proxy) as client:  # which may already see the reset
            send_until_it_ends(client)

    with pytest.raises(ConnectionResetError):
        talk()


def test_noop_changes_nothing(server: Server, echo_upstream: str) -> None:
    proxy = server.create("one", echo_upstream)
    for stream in ("upstream", "downstream"):
        server.add_toxic("one", "noop", stream=stream)
    with connect(proxy) as client:
        client.sendall(b"hello")
        assert receive(client, 5) == b"hello"


def test_a_toxic_of_toxicity_0_touches_nothing(server: Server, echo_upstream: str) -> None:
    proxy = server.create("one", echo_upstream)
    server.add_toxic("one", "timeout", toxicity=0)
    for _ in range(5):
        with connect(proxy) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"


def test_toxics_reach_connections_that_are_already_open(server: Server, echo_upstream: str) -> None:
    proxy = server.create("one", echo_upstream)
    with connect(proxy) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        server.add_toxic("one", "latency", attributes={"latency": 100})
        began_s = time.monotonic()
        client.sendall(b"y")
        assert receive(client, 1) == b"y"
        assert time.monotonic() - began_s >= 0.099


def test_reset_of_all_proxies_leaves_connections_open(server: Server, echo_upstream: str) -> None:
    proxy = server.create("one", echo_upstream)
    server.add_toxic("one", "latency", attributes={"latency": 10})
    with connect(proxy) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        server.call("POST", "/reset")
        client.sendall(b"y")
        assert receive(client, 1) == b"y"


def test_a_slow_reader_slows_the_sender_and_loses_nothing(server: Server) -> None:
    total = 24 * 1024 * 1024
    upstream = Upstream(lambda connection: connection.sendall(bytes(total)))
    proxy = server.create("one", upstream.address)
    with connect(proxy) as client:
        time.sleep(0.2)  # everything in between fills up
        assert len(receive(client, total)) == total
        assert client.recv(1) == b""
    upstream.close()


def test_connections_do_not_wait_for_each_other(server: Server) -> None:
    upstream = Upstream(echo)
    proxy = server.create("one", upstream.address)
    clients = [connect(proxy) for _ in range(20)]
    for number, client in enumerate(clients):
        client.sendall(bytes([number]))
    assert [receive(client, 1)[0] for client in reversed(clients)] == list(range(20))[::-1]
    for client in clients:
        client.close()
    upstream.close()


def test_a_closed_proxy_port_can_be_taken_by_another_proxy(
    server: Server, echo_upstream: str
) -> None:
    proxy = server.create("one", echo_upstream)
    with connect(proxy) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        server.call("DELETE", "/proxies/one")
        host, port = address_of(proxy)
        body = {"name": "two", "listen": f"{host}:{port}", "upstream": echo_upstream}
        assert server.call("POST", "/proxies", body).status_code == 201
        assert can_connect((host, port))


def test_data_in_flight_when_the_client_leaves_reaches_the_upstream(server: Server) -> None:
    received: list[bytes] = []
    done = threading.Event()

    def collect(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            received.append(data)
        done.set()

    upstream = Upstream(collect)
    proxy = server.create("one", upstream.address)
    server.add_toxic("one", "latency", stream="upstream", attributes={"latency": 100})
    with connect(proxy) as client:
        client.sendall(b"last words")
    assert done.wait(10)
    assert b"".join(received) == b"last words"
    upstream.close()
