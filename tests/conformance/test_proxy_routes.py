"""Toxiproxy's API for proxies: create, list, show, update, delete. Reference, section 2."""

import pytest

from tests.conformance.toxiproxies import (
    Server,
    address_of,
    bad_body,
    can_connect,
    free_port,
    refused,
)

pytestmark = pytest.mark.conformance

NOWHERE = "127.0.0.1:1"


def test_a_new_proxy_is_answered_with_201_and_its_whole_state(server: Server) -> None:
    response = server.call(
        "POST", "/proxies", {"name": "one", "listen": "127.0.0.1:0", "upstream": NOWHERE}
    )
    assert response.status_code == 201
    assert response.headers["Content-Type"] == "application/json"
    proxy = response.json()
    assert proxy.pop("Logger", None) in (None, {})
    host, port = address_of(proxy)
    assert (host, port > 0) == ("127.0.0.1", True)
    del proxy["listen"]
    assert proxy == {"name": "one", "upstream": NOWHERE, "enabled": True, "toxics": []}
    assert list(response.json())[:4] == ["name", "listen", "upstream", "enabled"]


def test_no_proxies_are_an_empty_object(server: Server) -> None:
    response = server.call("GET", "/proxies")
    assert (response.status_code, response.json()) == (200, {})


def test_proxies_are_listed_by_name_in_order(server: Server) -> None:
    for name in ("b", "c", "a"):
        server.create(name, NOWHERE)
    response = server.call("GET", "/proxies")
    assert list(response.json()) == ["a", "b", "c"]
    assert response.json()["b"]["upstream"] == NOWHERE


def test_a_proxy_is_shown_by_name(server: Server) -> None:
    created = server.create("one", NOWHERE)
    response = server.call("GET", "/proxies/one")
    assert (response.status_code, response.json()) == (200, created)


def test_a_name_may_need_quoting(server: Server) -> None:
    server.create("host.media room-a", NOWHERE)
    response = server.call("GET", "/proxies/host.media%20room-a")
    assert response.json()["name"] == "host.media room-a"


@pytest.mark.parametrize("missing", ["name", "upstream"])
def test_name_and_upstream_are_required(server: Server, missing: str) -> None:
    body = {"name": "one", "listen": "127.0.0.1:0", "upstream": NOWHERE}
    del body[missing]
    refused(server.call("POST", "/proxies", body), 400, f"missing required field: {missing}")


def test_a_taken_name_is_a_conflict(server: Server) -> None:
    server.create("one", NOWHERE)
    again = server.call("POST", "/proxies", {"name": "one", "upstream": NOWHERE})
    refused(again, 409, "proxy already exists")


def test_a_taken_port_is_a_server_error_in_gos_words(server: Server) -> None:
    port = address_of(server.create("one", NOWHERE))[1]
    listen = f"127.0.0.1:{port}"
    response = server.call(
        "POST", "/proxies", {"name": "two", "listen": listen, "upstream": NOWHERE}
    )
    refused(response, 500, f"listen tcp {listen}: bind: address already in use")
    assert list(server.call("GET", "/proxies").json()) == ["one"]


def test_an_address_without_a_port_is_a_server_error(server: Server) -> None:
    body = {"name": "one", "listen": "nonsense", "upstream": NOWHERE}
    response = server.call("POST", "/proxies", body)
    refused(response, 500, "listen tcp: address nonsense: missing port in address")


@pytest.mark.parametrize("listen", ["", ":0"])
def test_no_host_listens_everywhere(server: Server, listen: str) -> None:
    response = server.call(
        "POST", "/proxies", {"name": "one", "listen": listen, "upstream": NOWHERE}
    )
    assert response.json()["listen"].startswith("[::]:")
    assert can_connect(("127.0.0.1", int(response.json()["listen"].rpartition(":")[2])))


def test_localhost_is_shown_as_its_address(server: Server) -> None:
    response = server.call(
        "POST", "/proxies", {"name": "one", "listen": "localhost:0", "upstream": NOWHERE}
    )
    assert response.json()["listen"].startswith("127.0.0.1:")


def test_a_proxy_created_disabled_shows_port_0_until_it_is_enabled(server: Server) -> None:
    assert server.create("one", NOWHERE, enabled=False)["listen"] == "127.0.0.1:0"
    proxy = server.call("PATCH", "/proxies/one", {"enabled": True}).json()
    host, port = address_of(proxy)
    assert (host, port > 0, proxy["enabled"]) == ("127.0.0.1", True, True)


def test_a_disabled_proxy_may_be_created_on_an_address_that_makes_no_sense(
    server: Server,
) -> None:
    body = {"name": "one", "listen": "nonsense", "upstream": NOWHERE, "enabled": False}
    assert server.call("POST", "/proxies", body).status_code == 201
    assert server.call("PATCH", "/proxies/one", {"enabled": True}).status_code == 500


def test_toxics_in_a_new_proxy_are_ignored(server: Server) -> None:
    assert server.create("one", NOWHERE, toxics=[{"type": "noop"}])["toxics"] == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"  ",
        b"{",
        b"[]",
        b'"text"',
        b"7",
        b'{"name": 7, "upstream": "u:1"}',
        b'{"name": ["a"], "upstream": "u:1"}',
        b'{"name": "a", "upstream": "u:1", "enabled": "yes"}',
        b'{"name": "a", "upstream": "u:1", "enabled": 1}',
        b'{"name": "a" "upstream": "u:1"}',
        b"{'name': 'a'}",
        b'{"name": NaN}',
        b"\xff\xfe",
        b'{"name": "a\nb"}',
    ],
)
def test_a_body_that_is_no_proxy_is_refused(server: Server, raw: bytes) -> None:
    bad_body(server.call("POST", "/proxies", raw=raw))


def test_keys_match_without_case_unknown_ones_are_ignored_null_changes_nothing(
    server: Server,
) -> None:
    raw = (
        b'  {"NAME": "one", "uPstream": "127.0.0.1:1", "Listen": "127.0.0.1:0",'
        b' "enabled": null, "colour": {"a": [1]}} trailing'
    )
    response = server.call("POST", "/proxies", raw=raw)
    assert response.status_code == 201, response.text
    assert response.json()["name"] == "one"
    assert response.json()["enabled"] is True


def test_of_repeated_keys_the_last_counts(server: Server) -> None:
    raw = b'{"name": "one", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0", "name": "two"}'
    assert server.call("POST", "/proxies", raw=raw).json()["name"] == "two"


def test_null_as_a_body_misses_the_name(server: Server) -> None:
    refused(server.call("POST", "/proxies", raw=b"null"), 400, "missing required field: name")


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_an_update_merges_what_it_gives(server: Server, method: str) -> None:
    created = server.create("one", NOWHERE)
    response = server.call(method, "/proxies/one", {"upstream": "127.0.0.1:2", "name": "other"})
    assert response.status_code == 200
    assert response.json() == {**created, "upstream": "127.0.0.1:2"}


def test_an_update_may_change_nothing(server: Server) -> None:
    created = server.create("one", NOWHERE)
    assert server.call("PATCH", "/proxies/one", {}).json() == created


def test_an_update_moves_a_proxy_to_another_port(server: Server) -> None:
    old = address_of(server.create("one", NOWHERE))
    new = free_port()
    response = server.call("PATCH", "/proxies/one", {"listen": f"localhost:{new}"})
    assert response.json()["enabled"] is True
    assert can_connect(("127.0.0.1", new))
    assert not can_connect(old)


def test_port_0_in_an_update_takes_another_port(server: Server) -> None:
    old = address_of(server.create("one", NOWHERE))
    proxy = server.call("PATCH", "/proxies/one", {"listen": "127.0.0.1:0"}).json()
    assert address_of(proxy) != old
    assert can_connect(address_of(proxy))


def test_the_port_is_kept_while_a_proxy_is_disabled(server: Server) -> None:
    created = server.create("one", NOWHERE)
    disabled = server.call("PATCH", "/proxies/one", {"enabled": False}).json()
    assert disabled == {**created, "enabled": False}
    assert not can_connect(address_of(created))
    assert server.call("PATCH", "/proxies/one", {"enabled": True}).json() == created
    assert can_connect(address_of(created))


def test_an_update_that_does_not_decode_changes_nothing(server: Server) -> None:
    created = server.create("one", NOWHERE)
    bad_body(server.call("PATCH", "/proxies/one", {"enabled": False, "upstream": 7}))
    assert server.call("GET", "/proxies/one").json() == created


def test_a_deleted_proxy_is_gone_and_its_port_free(server: Server) -> None:
    address = address_of(server.create("one", NOWHERE))
    response = server.call("DELETE", "/proxies/one")
    assert (response.status_code, response.content) == (204, b"")
    assert not can_connect(address)
    refused(server.call("GET", "/proxies/one"), 404, "proxy not found")


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST", "DELETE"])
def test_an_unknown_proxy_is_not_found(server: Server, method: str) -> None:
    refused(server.call(method, "/proxies/none", raw=b"not json"), 404, "proxy not found")
