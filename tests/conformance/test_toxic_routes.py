"""Toxiproxy's API for toxics. Reference, section 2 and the table of section 4."""

import pytest

from tests.conformance.toxiproxies import Server, bad_body, refused

pytestmark = pytest.mark.conformance

TOXICS = "/proxies/one/toxics"


@pytest.fixture(autouse=True)
def _proxy(request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue("server")
    server.create("one", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("latency", {"latency": 0, "jitter": 0}),
        ("timeout", {"timeout": 0}),
        ("reset_peer", {"timeout": 0}),
        ("noop", {}),
    ],
)
def test_a_toxic_has_defaults_and_all_its_attributes(
    server: Server, kind: str, attributes: dict[str, int]
) -> None:
    response = server.call("POST", TOXICS, {"type": kind})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {
        "attributes": attributes,
        "name": f"{kind}_downstream",
        "type": kind,
        "stream": "downstream",
        "toxicity": 1,
    }
    assert server.call("GET", f"{TOXICS}/{kind}_downstream").json() == response.json()


def test_everything_about_a_toxic_can_be_given(server: Server) -> None:
    body = {
        "name": "slow",
        "type": "latency",
        "stream": "upstream",
        "toxicity": 0.5,
        "attributes": {"latency": 1000, "jitter": 20, "colour": "red"},
    }
    response = server.call("POST", TOXICS, body)
    assert response.json() == {**body, "attributes": {"latency": 1000, "jitter": 20}}


def test_toxics_are_listed_upstream_first_then_in_order_of_adding(server: Server) -> None:
    for stream, name in (("downstream", "d1"), ("upstream", "u1"), ("downstream", "d2")):
        server.add_toxic("one", "noop", stream=stream, name=name)
    server.add_toxic("one", "noop", stream="upstream", name="u2")
    response = server.call("GET", TOXICS)
    assert [toxic["name"] for toxic in response.json()] == ["u1", "u2", "d1", "d2"]
    assert server.call("GET", "/proxies/one").json()["toxics"] == response.json()


def test_no_toxics_are_an_empty_array(server: Server) -> None:
    assert server.call("GET", TOXICS).json() == []


def test_the_stream_is_kept_as_it_was_spelled(server: Server) -> None:
    toxic = server.add_toxic("one", "latency", stream="UPSTREAM")
    assert (toxic["stream"], toxic["name"]) == ("UPSTREAM", "latency_UPSTREAM")


@pytest.mark.parametrize("stream", ["", "sideways"])
def test_another_stream_is_refused(server: Server, stream: str) -> None:
    response = server.call("POST", TOXICS, {"type": "latency", "stream": stream})
    refused(response, 400, "stream was invalid, can be either upstream or downstream")


@pytest.mark.parametrize("body", [{"type": "nonsense"}, {}, {"type": "Latency"}])
def test_an_unknown_type_is_refused(server: Server, body: dict[str, str]) -> None:
    refused(server.call("POST", TOXICS, body), 400, "invalid toxic type")


def test_the_stream_is_checked_before_the_type_and_the_type_before_the_name(
    server: Server,
) -> None:
    server.add_toxic("one", "noop", name="taken")
    body = {"name": "taken", "type": "nonsense", "stream": "sideways"}
    assert "stream" in server.call("POST", TOXICS, body).json()["error"]
    body["stream"] = "upstream"
    assert server.call("POST", TOXICS, body).json()["error"] == "invalid toxic type"


def test_a_taken_toxic_name_is_a_conflict_in_either_direction(server: Server) -> None:
    server.add_toxic("one", "noop", name="taken")
    body = {"name": "taken", "type": "noop", "stream": "upstream"}
    refused(server.call("POST", TOXICS, body), 409, "toxic already exists")


def test_values_out_of_range_are_kept_as_they_were_sent(server: Server) -> None:
    for name, toxicity in (("a", -3), ("b", 2), ("c", 0)):
        toxic = server.add_toxic("one", "noop", name=name, toxicity=toxicity)
        assert toxic["toxicity"] == toxicity
    toxic = server.add_toxic("one", "latency", attributes={"latency": -5})
    assert toxic["attributes"]["latency"] == -5


def test_toxicity_has_32_bits(server: Server) -> None:
    assert server.add_toxic("one", "noop", toxicity=0.123456789)["toxicity"] == 0.12345679
    assert server.add_toxic("one", "noop", name="b", toxicity=0.1)["toxicity"] == 0.1


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type": "latency", "attributes": {"latency": 1.5}}',
        b'{"type": "latency", "attributes": {"latency": 1e2}}',
        b'{"type": "latency", "attributes": {"latency": "100"}}',
        b'{"type": "latency", "attributes": {"latency": true}}',
        b'{"type": "latency", "attributes": {"latency": 9223372036854775808}}',
        b'{"type": "latency", "attributes": [100]}',
        b'{"type": "latency", "attributes": "slow"}',
        b'{"type": "latency", "toxicity": "1"}',
        b'{"type": "latency", "toxicity": 1e39}',
        b'{"type": 7}',
        b"",
        b"[]",
    ],
)
def test_a_body_that_is_no_toxic_is_refused(server: Server, raw: bytes) -> None:
    bad_body(server.call("POST", TOXICS, raw=raw))
    assert server.call("GET", TOXICS).json() == []


def test_attribute_names_match_without_case(server: Server) -> None:
    toxic = server.add_toxic("one", "latency", attributes={"LATENCY": 7, "jitter": None})
    assert toxic["attributes"] == {"latency": 7, "jitter": 0}


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_an_update_merges_attributes_by_key_and_toxicity_only(server: Server, method: str) -> None:
    server.add_toxic("one", "latency", attributes={"latency": 10, "jitter": 3})
    body = {
        "attributes": {"latency": 20},
        "toxicity": 0.25,
        "name": "other",
        "stream": "upstream",
        "type": "noop",
    }
    response = server.call(method, f"{TOXICS}/latency_downstream", body)
    assert response.status_code == 200
    assert response.json() == {
        "attributes": {"latency": 20, "jitter": 3},
        "name": "latency_downstream",
        "type": "latency",
        "stream": "downstream",
        "toxicity": 0.25,
    }
    assert server.call("GET", f"{TOXICS}/latency_downstream").json() == response.json()


def test_an_update_without_toxicity_keeps_it(server: Server) -> None:
    server.add_toxic("one", "latency", toxicity=0.5)
    body = {"attributes": {"jitter": 1}}
    toxic = server.call("PATCH", f"{TOXICS}/latency_downstream", body).json()
    assert (toxic["toxicity"], toxic["attributes"]) == (0.5, {"latency": 0, "jitter": 1})


def test_an_update_that_does_not_decode_is_refused(server: Server) -> None:
    server.add_toxic("one", "latency")
    bad_body(server.call("PATCH", f"{TOXICS}/latency_downstream", {"attributes": {"latency": "x"}}))


def test_a_removed_toxic_is_gone(server: Server) -> None:
    server.add_toxic("one", "latency")
    response = server.call("DELETE", f"{TOXICS}/latency_downstream")
    assert (response.status_code, response.content) == (204, b"")
    assert server.call("GET", TOXICS).json() == []


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST", "DELETE"])
def test_an_unknown_toxic_is_not_found(server: Server, method: str) -> None:
    refused(server.call(method, f"{TOXICS}/none", raw=b"not json"), 404, "toxic not found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/proxies/none/toxics"),
        ("POST", "/proxies/none/toxics"),
        ("GET", "/proxies/none/toxics/t"),
        ("PATCH", "/proxies/none/toxics/t"),
        ("DELETE", "/proxies/none/toxics/t"),
    ],
)
def test_toxics_of_an_unknown_proxy_are_not_found(server: Server, method: str, path: str) -> None:
    refused(server.call(method, path, {"type": "noop"}), 404, "proxy not found")


def test_toxics_survive_disabling(server: Server) -> None:
    server.add_toxic("one", "latency")
    for enabled in (False, True):
        proxy = server.call("PATCH", "/proxies/one", {"enabled": enabled}).json()
        assert [toxic["name"] for toxic in proxy["toxics"]] == ["latency_downstream"]
