"""The server seen through an independent client, PyPI's toxiproxy-python."""

from urllib.parse import urlsplit

import pytest
import toxiproxy
import toxiproxy.api
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from tests.conformance.toxiproxies import Server, can_connect, connect, receive

pytestmark = pytest.mark.conformance


@pytest.fixture
def package(server: Server, monkeypatch: pytest.MonkeyPatch) -> toxiproxy.Toxiproxy:
    parts = urlsplit(server.url)
    monkeypatch.setattr(toxiproxy.api, "requests", server.session)
    monkeypatch.setattr(toxiproxy.api.APIConsumer, "host", parts.hostname)
    monkeypatch.setattr(toxiproxy.api.APIConsumer, "port", parts.port)
    return toxiproxy.Toxiproxy()


def test_proxies_come_and_go(package: toxiproxy.Toxiproxy) -> None:
    proxy = package.create(upstream="127.0.0.1:1", name="one")
    assert (proxy.name, proxy.upstream, proxy.enabled) == ("one", "127.0.0.1:1", True)
    assert list(package.proxies()) == ["one"]
    assert package.get_proxy("one").listen == proxy.listen
    with pytest.raises(ProxyExists):
        package.create(upstream="127.0.0.1:1", name="one")
    package.destroy_all()
    assert package.proxies() == {}


def test_populate_makes_what_is_not_there(package: toxiproxy.Toxiproxy) -> None:
    wanted = [{"name": "one", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0"}]
    assert [proxy.name for proxy in package.populate(wanted)] == ["one"]


def test_toxics_come_and_go(package: toxiproxy.Toxiproxy) -> None:
    proxy = package.create(upstream="127.0.0.1:1", name="one")
    proxy.add_toxic(type="latency", attributes={"latency": 100, "jitter": 5})
    toxic = proxy.get_toxic("latency_downstream")
    assert (toxic.type, toxic.stream, toxic.toxicity) == ("latency", "downstream", 1.0)
    assert toxic.attributes == {"latency": 100, "jitter": 5}
    assert proxy.destroy_toxic("latency_downstream")
    assert proxy.toxics() == {}
    with pytest.raises(InvalidToxic):
        proxy.add_toxic(type="nonsense")
    with pytest.raises(NotFound):
        proxy.destroy_toxic("none")


def test_a_proxy_is_down_while_its_block_runs(
    package: toxiproxy.Toxiproxy, server: Server, echo_upstream: str
) -> None:
    proxy = package.create(upstream=echo_upstream, name="one")
    state = server.call("GET", "/proxies/one").json()
    host, _, port = state["listen"].rpartition(":")
    with proxy.down():
        assert not can_connect((host, int(port)))
    with connect(state) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"


def test_version_and_reset(package: toxiproxy.Toxiproxy) -> None:
    assert package.running()
    assert package.version().startswith(b'{"version": "2.12.0"')
    proxy = package.create(upstream="127.0.0.1:1", name="one", enabled=False)
    proxy.add_toxic(type="noop")
    assert package.reset()
    assert package.get_proxy("one").enabled
    assert package.get_proxy("one").toxics() == {}
