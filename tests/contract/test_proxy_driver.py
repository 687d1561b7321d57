"""The driver for fault proxies, held against the embedded server and a real Toxiproxy."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
import toxiproxy.api

from chaoskit.drivers.toxiproxy import ToxiproxyDriver, ToxiproxyError
from chaoskit.model import LinkSpec, Toxic
from tests.conformance.toxiproxies import (
    NEEDS_REAL,
    PATIENCE_S,
    Server,
    can_connect,
    connect,
    embedded,
    free_port,
    real,
    receive,
)

pytestmark = pytest.mark.contract

TCP = LinkSpec(name="host.signal.room-a", transport="tcp", upstream="127.0.0.1:9")
UDP = LinkSpec(name="host.media.room-a", transport="udp", upstream="dynamic")


@pytest.fixture(scope="module")
def _embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with embedded(tmp_path_factory.mktemp("embedded")) as server:
        yield server


@pytest.fixture(scope="module")
def _real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with real(tmp_path_factory.mktemp("real")) as server:
        yield server


@pytest.fixture(params=["embedded", pytest.param("real", marks=NEEDS_REAL)])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    found: Server = request.getfixturevalue(f"_{request.param}")
    yield found
    found.delete_all()


@pytest.fixture
def embedded_server(_embedded: Server) -> Iterator[Server]:
    yield _embedded
    _embedded.delete_all()


@pytest.fixture
async def driver(server: Server) -> AsyncIterator[ToxiproxyDriver]:
    async with ToxiproxyDriver(server.url) as driver:
        yield driver


@pytest.fixture
async def own(embedded_server: Server) -> AsyncIterator[ToxiproxyDriver]:
    """A driver for the embedded server, for what only that one can do."""
    async with ToxiproxyDriver(embedded_server.url) as driver:
        yield driver


async def test_the_version_tells_the_servers_apart(driver: ToxiproxyDriver, server: Server) -> None:
    version = await driver.version()
    assert version.version == "2.12.0"
    assert version.server.startswith("chaoskit/") != server.is_real


async def test_populated_links_are_there_with_ports_of_their_own(
    driver: ToxiproxyDriver,
) -> None:
    other = LinkSpec(name="host.api.directory", transport="tcp", upstream="127.0.0.1:8")
    made = await driver.populate([TCP, other])
    assert set(made) == {TCP.name, other.name}
    assert await driver.links() == made
    state = await driver.link(TCP.name)
    assert state == made[TCP.name]
    assert (state.transport, state.upstream, state.enabled) == ("tcp", "127.0.0.1:9", True)
    host, port = state.listen.split(":")
    assert await asyncio.to_thread(can_connect, (host, int(port)))


async def test_a_link_can_be_cut_and_restored(driver: ToxiproxyDriver) -> None:
    made = await driver.populate([TCP])
    for enabled in (False, False, True, True):
        await driver.set_enabled(TCP.name, enabled)
        assert (await driver.link(TCP.name)).enabled is enabled
    assert await driver.links() == made


async def test_toxics_can_be_added_changed_and_removed(driver: ToxiproxyDriver) -> None:
    await driver.populate([TCP])
    toxic = Toxic(
        name="ck-slow-up",
        type="latency",
        stream="upstream",
        toxicity=0.3,
        attributes={"latency": 40, "jitter": 5},
    )
    await driver.add_toxic(TCP.name, toxic)
    (found,) = await driver.toxics(TCP.name)
    assert (found.name, found.stream, found.attributes) == (
        "ck-slow-up",
        "upstream",
        {"latency": 40, "jitter": 5},
    )
    assert found.toxicity == pytest.approx(0.3)
    changed = Toxic(name=toxic.name, type="latency", stream="upstream", attributes={"latency": 50})
    await driver.update_toxic(TCP.name, changed)
    (found,) = await driver.toxics(TCP.name)
    assert found.attributes == {"latency": 50, "jitter": 5}
    await driver.remove_toxic(TCP.name, toxic.name)
    assert await driver.toxics(TCP.name) == ()


async def test_reset_restores_everything(driver: ToxiproxyDriver) -> None:
    made = await driver.populate([TCP])
    await driver.add_toxic(TCP.name, Toxic(name="a", type="noop"))
    await driver.set_enabled(TCP.name, False)
    await driver.reset()
    assert await driver.links() == made


async def test_refusals_become_errors_with_status_and_message(driver: ToxiproxyDriver) -> None:
    await driver.populate([TCP])
    noop = Toxic(name="a", type="noop")
    await driver.add_toxic(TCP.name, noop)
    cases: list[tuple[Callable[[], Any], int, str]] = [
        (lambda: driver.link("none"), 404, "proxy not found"),
        (lambda: driver.set_enabled("none", False), 404, "no link none"),
        (lambda: driver.add_toxic("none", noop), 404, "no link none"),
        (lambda: driver.add_toxic(TCP.name, noop), 409, "toxic already exists"),
        (lambda: driver.add_toxic(TCP.name, Toxic(name="b", type="x")), 400, "invalid toxic type"),
        (lambda: driver.remove_toxic(TCP.name, "none"), 404, "toxic not found"),
        (lambda: driver.link("a/b"), 0, "no path can carry"),
        (lambda: driver.remove_toxic(TCP.name, "a b"), 0, "cannot carry"),
    ]
    for call, status, message in cases:
        with pytest.raises(ToxiproxyError, match=message) as caught:
            await call()
        assert caught.value.status == status
    assert [toxic.name for toxic in await driver.toxics(TCP.name)] == ["a"]


async def test_an_attribute_that_the_server_does_not_know_is_noticed(
    driver: ToxiproxyDriver,
) -> None:
    await driver.populate([TCP])
    toxic = Toxic(name="a", type="latency", attributes={"latency": 5, "reorder": True})
    with pytest.raises(ToxiproxyError, match="asked for"):
        await driver.add_toxic(TCP.name, toxic)


async def test_a_server_without_udp_is_not_asked_for_it(
    driver: ToxiproxyDriver, server: Server
) -> None:
    if server.is_real:
        with pytest.raises(ToxiproxyError, match="no UDP links"):
            await driver.populate([TCP, UDP])
        assert await driver.links() == {}
    else:
        state = (await driver.populate([TCP, UDP]))[UDP.name]
        assert (state.transport, state.upstream) == ("udp", "dynamic")
        assert state.listen.startswith("127.0.0.1:")


async def test_live_numbers_are_only_ours(driver: ToxiproxyDriver, server: Server) -> None:
    await driver.populate([TCP])
    if server.is_real:
        with pytest.raises(ToxiproxyError) as caught:
            await driver.counters(TCP.name)
        assert caught.value.status == 404
    else:
        counters = await driver.counters(TCP.name)
        assert (counters.name, counters.transport, counters.enabled) == (TCP.name, "tcp", True)
        assert (counters.open, counters.accepted, counters.first_effect_s) == (0, 0, None)
        assert await driver.all_counters() == {TCP.name: counters}


async def test_many_calls_at_once_do_not_mix(driver: ToxiproxyDriver) -> None:
    specs = [
        LinkSpec(name=f"g{n}.api.directory", transport="tcp", upstream="127.0.0.1:9")
        for n in range(10)
    ]
    await driver.populate(specs)
    await asyncio.gather(
        *(driver.set_enabled(spec.name, n % 2 == 0) for n, spec in enumerate(specs))
    )
    states = await driver.links()
    assert [states[spec.name].enabled for spec in specs] == [True, False] * 5


async def test_two_drivers_talk_to_their_own_servers(
    driver: ToxiproxyDriver, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with embedded(tmp_path_factory.mktemp("second")) as second:
        async with ToxiproxyDriver(second.url) as other:
            await driver.populate([TCP])
            await other.populate([TCP])
            await asyncio.gather(
                *(driver.set_enabled(TCP.name, True) for _ in range(5)),
                *(other.set_enabled(TCP.name, False) for _ in range(5)),
            )
            assert (await driver.link(TCP.name)).enabled
            assert not (await other.link(TCP.name)).enabled


async def test_the_package_is_left_as_it_was(driver: ToxiproxyDriver) -> None:
    await driver.populate([TCP])
    await driver.set_enabled(TCP.name, False)
    consumer = toxiproxy.api.APIConsumer
    assert toxiproxy.api.requests is requests
    assert (consumer.host, consumer.port) == ("127.0.0.1", 8474)


async def test_a_cut_with_reset_is_a_reset(own: ToxiproxyDriver, embedded_server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        host, port = upstream.getsockname()
        spec = LinkSpec(name="a.signal.b", transport="tcp", upstream=f"{host}:{port}")
        await own.populate([spec])
        proxy = embedded_server.call("GET", f"/proxies/{spec.name}").json()
        with await asyncio.to_thread(connect, proxy) as client:
            served, _ = await asyncio.to_thread(upstream.accept)
            with served:
                served.sendall(b"x")
                assert await asyncio.to_thread(receive, client, 1) == b"x"
                await own.set_enabled(spec.name, False, reset=True)
                with pytest.raises(ConnectionResetError):
                    await asyncio.to_thread(client.recv, 1)
    counters = await own.counters(spec.name)
    assert (counters.cut, counters.up.bytes, counters.down.bytes) == (1, 0, 1)
    assert counters.first_effect_s is not None


async def test_time_limits_leases_and_epochs_reach_the_server(
    own: ToxiproxyDriver, embedded_server: Server
) -> None:
    await own.populate([TCP, UDP])
    _, since = await own.events(0)
    lease = await own.open_lease(30.0, "test")
    await own.renew_lease(lease)
    await own.set_enabled(TCP.name, False, ttl_s=30.0)
    await own.add_toxic(
        UDP.name, Toxic(name="a", type="timeout", toxicity=0.5, cohort="c"), ttl_s=30.0
    )
    assert (await own.toxics(UDP.name))[0].cohort == "c"
    await own.close_lease(lease)
    assert (await own.link(TCP.name)).enabled
    assert await own.toxics(UDP.name) == ()
    events, _ = await own.events(since)
    assert [event["kind"] for event in events].count("lease_closed") == 3
    async with ToxiproxyDriver(embedded_server.url, epoch="run-1") as late:
        await late.set_enabled(TCP.name, True)
        await own.close_epoch("run-1")
        with pytest.raises(ToxiproxyError, match="epoch closed") as caught:
            await late.set_enabled(TCP.name, False)
        assert caught.value.status == 409
        assert (await late.link(TCP.name)).enabled


async def test_the_relay_tells_clock_and_lag(own: ToxiproxyDriver) -> None:
    assert await own.clock() < await own.clock()
    lag = await own.lag()
    assert 0 <= lag["max_ms_1s"] <= lag["max_ms"]


# --- servers that lie, stall or are not there ----------------------------------------------------


Answer = tuple[int, str, bytes]


class _Fixed(BaseHTTPRequestHandler):
    """Answers by path, else with `otherwise`; both are set on a subclass."""

    answers: dict[str, Answer]
    otherwise: Answer

    def _reply(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, kind, body = self.answers.get(self.path, self.otherwise)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = _reply

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def fixed_server(otherwise: Answer, **answers: Answer) -> Iterator[str]:
    by_path = {f"/{name}": answer for name, answer in answers.items()}
    handler = type("Fixed", (_Fixed,), {"answers": by_path, "otherwise": otherwise})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(PATIENCE_S)
        server.server_close()


@pytest.mark.parametrize(
    ("status", "kind", "body", "message"),
    [
        (500, "text/plain", b'{"error":"listen tcp: no","status":500}\n', "listen tcp: no"),
        (503, "text/html", b"<html><head><title>Timeout</title>", "Timeout"),
        (403, "text/plain", b"User agent not allowed\n", "User agent not allowed"),
        (200, "text/html", b"<html>", "no JSON object"),
        (200, "application/json", b"null", "no JSON object"),
    ],
)
async def test_answers_that_the_package_takes_for_success_are_errors(
    status: int, kind: str, body: bytes, message: str
) -> None:
    with fixed_server((status, kind, body)) as url:
        async with ToxiproxyDriver(url) as driver:
            for call in (
                driver.links(),
                driver.set_enabled("one", False),
                driver.add_toxic("one", Toxic(name="a", type="noop")),
                driver.remove_toxic("one", "a"),
            ):
                with pytest.raises(ToxiproxyError):
                    await call
            with pytest.raises(ToxiproxyError, match=message):
                await driver.version()


async def test_a_server_that_says_yes_and_does_nothing_is_caught() -> None:
    one = b'{"name":"one","listen":"127.0.0.1:1","upstream":"u:1","enabled":true,"toxics":[]}'
    kind = "application/json"
    index = 200, kind, b'{"one":' + one + b"}"
    with fixed_server((200, kind, one), proxies=index) as url:
        async with ToxiproxyDriver(url) as driver:
            with pytest.raises(ToxiproxyError, match="did not become disabled"):
                await driver.set_enabled("one", False)
            with pytest.raises(ToxiproxyError, match="asked for"):
                await driver.add_toxic("one", Toxic(name="a", type="noop"))


async def test_a_server_that_is_not_there_is_an_error() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with ToxiproxyDriver(url) as driver:
        with pytest.raises(ToxiproxyError, match="no answer from 127") as caught:
            await driver.version()
    assert caught.value.status == 0


async def test_a_server_that_never_answers_is_given_up_and_others_still_work(
    own: ToxiproxyDriver,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with ToxiproxyDriver(url, call_s=0.2) as driver:
            with pytest.raises(ToxiproxyError, match="no answer"):
                await driver.links()
        assert (await own.version()).version == "2.12.0"


@contextlib.contextmanager
def dripping_server() -> Iterator[str]:
    """A server whose answer comes a byte at a time: no read times out, and it never ends."""
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not over.wait(0.05):
                    connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join(PATIENCE_S)


async def test_a_server_that_drips_is_given_up_and_others_still_work(
    own: ToxiproxyDriver,
) -> None:
    with dripping_server() as url:
        async with ToxiproxyDriver(url, call_s=0.1) as driver:
            with pytest.raises(ToxiproxyError, match="no end of an answer"):
                await driver.links()
        assert (await own.version()).version == "2.12.0"


@pytest.mark.parametrize("url", ["https://127.0.0.1:8474", "127.0.0.1:8474", "http://h/x", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ToxiproxyError, match="not the address"):
        ToxiproxyDriver(url)


def test_a_server_that_hangs_does_not_keep_the_interpreter_alive() -> None:
    program = textwrap.dedent(
        """
        import asyncio, socket
        from chaoskit.drivers.toxiproxy import ToxiproxyDriver

        async def main():
            driver = ToxiproxyDriver(f"http://127.0.0.1:{port}", call_s=3600)
            call = asyncio.create_task(driver.links())
            await asyncio.sleep(0.2)
            call.cancel()

        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            asyncio.run(main())
            print("over", flush=True)
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stdout) == (0, "over\n"), result.stderr
