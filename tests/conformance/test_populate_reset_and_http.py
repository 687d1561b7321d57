"""Populate, reset, version, and what Toxiproxy's HTTP server does around its routes."""

import json

import pytest

from tests.conformance.toxiproxies import Server, address_of, bad_body, can_connect, free_port

pytestmark = pytest.mark.conformance

NOWHERE = "127.0.0.1:1"


def test_populate_makes_all_proxies_of_an_array(server: Server) -> None:
    body = [
        {"name": "one", "listen": "127.0.0.1:0", "upstream": NOWHERE},
        {"name": "two", "listen": "127.0.0.1:0", "upstream": NOWHERE, "enabled": False},
    ]
    response = server.call("POST", "/populate", body)
    assert response.status_code == 201
    assert response.headers["Content-Type"] == "application/json"
    one, two = response.json()["proxies"]
    assert (one["name"], one["enabled"], two["name"], two["enabled"]) == ("one", True, "two", False)
    assert list(response.json()) == ["proxies"]
    assert server.call("GET", "/proxies").json() == {"one": one, "two": two}


def test_populate_with_nothing_answers_null(server: Server) -> None:
    response = server.call("POST", "/populate", [])
    assert (response.status_code, response.json()) == (201, {"proxies": None})


def test_populate_leaves_an_equal_proxy_alone(server: Server) -> None:
    created = server.create("one", NOWHERE)
    server.add_toxic("one", "latency")
    again = {"name": "one", "listen": created["listen"], "upstream": NOWHERE, "enabled": False}
    proxy = server.call("POST", "/populate", [again]).json()["proxies"][0]
    assert (proxy["enabled"], len(proxy["toxics"])) == (True, 1)


def test_populate_compares_addresses_not_spellings(server: Server) -> None:
    port = address_of(server.create("one", NOWHERE))[1]
    server.add_toxic("one", "latency")
    body = [{"name": "one", "listen": f"localhost:{port}", "upstream": NOWHERE}]
    proxy = server.call("POST", "/populate", body).json()["proxies"][0]
    assert len(proxy["toxics"]) == 1


@pytest.mark.parametrize(
    "change", [{"upstream": "127.0.0.1:2"}, {"listen": "127.0.0.1:0"}, {"enabled": False}]
)
def test_populate_replaces_a_proxy_that_differs(server: Server, change: dict[str, object]) -> None:
    created = server.create("one", NOWHERE)
    server.add_toxic("one", "latency")
    body = {"name": "one", "listen": created["listen"], "upstream": NOWHERE, **change}
    proxy = server.call("POST", "/populate", [body]).json()["proxies"][0]
    kept = "enabled" in change
    assert len(proxy["toxics"]) == (1 if kept else 0)
    assert proxy["upstream"] == body["upstream"]


@pytest.mark.parametrize("field", ["name", "upstream"])
def test_populate_checks_every_entry_before_it_makes_one(server: Server, field: str) -> None:
    body = [{"name": "one", "upstream": NOWHERE}, {"name": "two", "upstream": NOWHERE}]
    del body[1][field]
    response = server.call("POST", "/populate", body)
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {
        "error": f"missing required field: {field} at proxy 2",
        "status": 400,
        "proxies": None,
    }
    assert server.call("GET", "/proxies").json() == {}


def test_populate_stops_at_the_first_failure_and_keeps_what_was_made(server: Server) -> None:
    port = address_of(server.create("taken", NOWHERE))[1]
    body = [
        {"name": "one", "listen": "127.0.0.1:0", "upstream": NOWHERE},
        {"name": "two", "listen": f"127.0.0.1:{port}", "upstream": NOWHERE},
        {"name": "three", "listen": "127.0.0.1:0", "upstream": NOWHERE},
    ]
    response = server.call("POST", "/populate", body)
    assert response.status_code == 500
    assert "address already in use" in response.json()["error"]
    assert [proxy["name"] for proxy in response.json()["proxies"]] == ["one"]
    assert sorted(server.call("GET", "/proxies").json()) == ["one", "taken"]


@pytest.mark.parametrize("raw", [b"", b"{}", b"[7]", b'[{"name": 7}]'])
def test_populate_refuses_what_is_no_array_of_proxies(server: Server, raw: bytes) -> None:
    response = server.call("POST", "/populate", raw=raw)
    bad_body(response)
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["proxies"] is None


def test_reset_enables_all_proxies_and_removes_all_toxics(server: Server) -> None:
    proxies = [server.create(name, NOWHERE) for name in ("one", "two")]
    server.add_toxic("one", "latency", stream="upstream")
    server.add_toxic("two", "noop")
    server.call("PATCH", "/proxies/two", {"enabled": False})
    response = server.call("POST", "/reset", raw=b"whatever")
    assert (response.status_code, response.content) == (204, b"")
    assert list(server.call("GET", "/proxies").json().values()) == proxies
    assert all(can_connect(address_of(proxy)) for proxy in proxies)


def test_reset_gives_a_proxy_that_was_created_disabled_its_port(server: Server) -> None:
    server.create("one", NOWHERE, enabled=False)
    server.call("POST", "/reset")
    assert can_connect(address_of(server.call("GET", "/proxies/one").json()))


def test_the_version_is_json_that_old_clients_can_parse(server: Server) -> None:
    response = server.call("GET", "/version")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json;charset=utf-8"
    assert response.text.startswith('{"version": "2.12.0"')
    assert response.text.endswith("}\n")
    assert json.loads(response.text)["version"] == "2.12.0"
    assert ("server" in response.json()) != server.is_real


@pytest.mark.parametrize("path", ["/", "/nonsense", "/proxies/", "/proxies/a/b", "/metrics"])
def test_an_unknown_path_is_not_found(server: Server, path: str) -> None:
    response = server.call("GET", path)
    assert (response.status_code, response.text) == (404, "404 page not found\n")
    assert "X-Toxiproxy-Request-Id" not in response.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/proxies"),
        ("OPTIONS", "/proxies"),
        ("PUT", "/proxies"),
        ("PUT", "/proxies/one"),
        ("DELETE", "/proxies"),
        ("GET", "/populate"),
        ("GET", "/reset"),
        ("POST", "/version"),
    ],
)
def test_a_wrong_method_is_refused_without_a_body(server: Server, method: str, path: str) -> None:
    response = server.call(method, path)
    assert (response.status_code, response.content) == (405, b"")
    assert "X-Toxiproxy-Request-Id" not in response.headers


def test_repeated_slashes_are_redirected(server: Server) -> None:
    response = server.call("GET", "//proxies")
    assert response.status_code == 301
    assert response.headers["Location"] == "/proxies"
    assert "X-Toxiproxy-Request-Id" not in response.headers


def test_a_quoted_slash_in_a_name_is_not_found(server: Server) -> None:
    assert server.call("GET", "/proxies/a%2Fb").status_code == 404


@pytest.mark.parametrize("path", ["/proxies", "/proxies/none", "/version"])
def test_known_routes_bear_a_request_id(server: Server, path: str) -> None:
    assert server.call("GET", path).headers["X-Toxiproxy-Request-Id"]


def test_browsers_are_turned_away(server: Server) -> None:
    headers = {"User-Agent": "Mozilla/5.0 (X11)"}
    response = server.call("GET", "/proxies", headers=headers)
    assert (response.status_code, response.text) == (403, "User agent not allowed\n")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert server.call("GET", "/nonsense", headers=headers).status_code == 404


@pytest.mark.parametrize("agent", ["mozilla/5.0", "Mozilla", "curl/8"])
def test_other_user_agents_pass(server: Server, agent: str) -> None:
    assert server.call("GET", "/proxies", headers={"User-Agent": agent}).status_code == 200


def test_an_update_to_a_taken_port_is_a_server_error(server: Server) -> None:
    taken = address_of(server.create("one", NOWHERE))[1]
    server.create("two", NOWHERE)
    response = server.call("PATCH", "/proxies/two", {"listen": f"127.0.0.1:{taken}"})
    assert response.status_code == 500
    assert "address already in use" in response.json()["error"]


def test_a_proxy_can_be_made_on_a_port_of_ones_choice(server: Server) -> None:
    port = free_port()
    body = {"name": "one", "listen": f"127.0.0.1:{port}", "upstream": NOWHERE}
    assert server.call("POST", "/proxies", body).json()["listen"] == f"127.0.0.1:{port}"
