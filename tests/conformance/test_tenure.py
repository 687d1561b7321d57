"""Time limits, leases and epochs of the embedded server: faults that end without their author."""

from typing import Any

import pytest
import requests

from tests.conformance.toxiproxies import (
    Server,
    address_of,
    bad_body,
    can_connect,
    refused,
    wait_until,
)

pytestmark = pytest.mark.conformance

NOWHERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _link(embedded_server: Server) -> None:
    embedded_server.create("one", NOWHERE)


def cut(server: Server, **headers: str) -> requests.Response:
    return server.call("PATCH", "/proxies/one", {"enabled": False}, headers=_spelled(headers))


def add(server: Server, name: str, **headers: str) -> requests.Response:
    body = {"type": "noop", "name": name}
    return server.call("POST", "/proxies/one/toxics", body, headers=_spelled(headers))


def _spelled(headers: dict[str, str]) -> dict[str, str]:
    return {f"X-Chaoskit-{name.capitalize()}": value for name, value in headers.items()}


def state(server: Server) -> dict[str, Any]:
    return dict(server.call("GET", "/proxies/one").json())


def is_enabled(server: Server) -> bool:
    return bool(state(server)["enabled"])


def toxics(server: Server) -> list[str]:
    return [toxic["name"] for toxic in state(server)["toxics"]]


def events_since(server: Server, number: int) -> list[dict[str, Any]]:
    return list(server.call("GET", f"/chaoskit/events?since={number}").json()["events"])


def next_event(server: Server) -> int:
    return int(server.call("GET", "/chaoskit/events").json()["next"])


def open_lease(server: Server, ttl_s: float) -> str:
    response = server.call("POST", "/chaoskit/leases", {"ttl_s": ttl_s, "holder": "guardian"})
    assert response.status_code == 201
    assert response.json()["ttl_s"] == ttl_s
    return str(response.json()["id"])


def test_a_cut_with_a_time_limit_ends_by_itself_and_says_so(embedded_server: Server) -> None:
    since = next_event(embedded_server)
    assert cut(embedded_server, ttl="0.1").json()["enabled"] is False
    wait_until(lambda: is_enabled(embedded_server))
    assert can_connect(address_of(state(embedded_server)))
    events = events_since(embedded_server, since)
    assert [(event["kind"], event["detail"]) for event in events] == [
        ("link_disabled", None),
        ("ttl_expired", None),
        ("link_enabled", "ttl_expired"),
    ]
    assert {event["link"] for event in events} == {"one"}
    assert events[1]["at_s"] - events[0]["at_s"] >= 0.099
    assert [event["n"] for event in events] == [since, since + 1, since + 2]
    assert events_since(embedded_server, since + 3) == []


def test_a_toxic_with_a_time_limit_ends_alone(embedded_server: Server) -> None:
    add(embedded_server, "stays")
    assert add(embedded_server, "goes", ttl="0.1").status_code == 200
    assert toxics(embedded_server) == ["stays", "goes"]
    wait_until(lambda: toxics(embedded_server) == ["stays"])


def test_a_fault_that_was_lifted_by_hand_does_not_end_its_successor(
    embedded_server: Server,
) -> None:
    add(embedded_server, "same", ttl="0.15")
    embedded_server.call("DELETE", "/proxies/one/toxics/same")
    add(embedded_server, "same")
    cut(embedded_server, ttl="0.15")
    embedded_server.call("PATCH", "/proxies/one", {"enabled": True})
    cut(embedded_server)
    embedded_server.create("clock", NOWHERE, enabled=False)
    body = {"type": "noop"}
    embedded_server.call("POST", "/proxies/clock/toxics", body, headers={"X-Chaoskit-Ttl": "0.3"})
    wait_until(lambda: embedded_server.call("GET", "/proxies/clock").json()["toxics"] == [])
    assert toxics(embedded_server) == ["same"]
    assert not is_enabled(embedded_server)


def test_a_deleted_link_takes_its_time_limits_with_it(embedded_server: Server) -> None:
    cut(embedded_server, ttl="0.1")
    embedded_server.call("DELETE", "/proxies/one")
    embedded_server.create("one", NOWHERE, enabled=False)
    add(embedded_server, "later", ttl="0.25")
    wait_until(lambda: toxics(embedded_server) == [])
    assert not is_enabled(embedded_server)


@pytest.mark.parametrize("ttl", ["0", "-1", "soon", "nan", "inf", "1e9"])
def test_a_time_limit_that_makes_no_sense_is_refused(embedded_server: Server, ttl: str) -> None:
    bad_body(cut(embedded_server, ttl=ttl))
    bad_body(add(embedded_server, "a", ttl=ttl))
    assert is_enabled(embedded_server)
    assert toxics(embedded_server) == []


def test_a_lease_that_lapses_lifts_all_its_faults_and_no_others(embedded_server: Server) -> None:
    since = next_event(embedded_server)
    lease = open_lease(embedded_server, 0.2)
    add(embedded_server, "ours", lease=lease)
    cut(embedded_server, lease=lease)
    add(embedded_server, "theirs")
    wait_until(lambda: is_enabled(embedded_server))
    assert toxics(embedded_server) == ["theirs"]
    kinds = [event["kind"] for event in events_since(embedded_server, since)]
    assert kinds.count("lease_lapsed") == 3  # the lease, the toxic, the cut
    assert embedded_server.call("PUT", f"/chaoskit/leases/{lease}").status_code == 404


def test_a_lease_lives_while_it_is_renewed(embedded_server: Server) -> None:
    lease = open_lease(embedded_server, 0.8)
    cut(embedded_server, lease=lease)
    began_s = embedded_server.call("GET", "/chaoskit/clock").json()["monotonic_s"]

    def now_s() -> float:
        return float(embedded_server.call("GET", "/chaoskit/clock").json()["monotonic_s"])

    while now_s() - began_s < 1.7:
        response = embedded_server.call("PUT", f"/chaoskit/leases/{lease}")
        assert (response.status_code, response.json()) == (200, {"id": lease, "ttl_s": 0.8})
        assert not is_enabled(embedded_server)
    wait_until(lambda: is_enabled(embedded_server))


def test_a_lease_that_is_ended_lifts_its_faults_at_once(embedded_server: Server) -> None:
    lease = open_lease(embedded_server, 60)
    cut(embedded_server, lease=lease)
    assert embedded_server.call("DELETE", f"/chaoskit/leases/{lease}").status_code == 204
    assert is_enabled(embedded_server)
    refused(embedded_server.call("DELETE", f"/chaoskit/leases/{lease}"), 404, "lease not found")


def test_a_fault_under_an_unknown_lease_is_not_set(embedded_server: Server) -> None:
    refused(cut(embedded_server, lease="gone"), 409, "lease not found")
    refused(add(embedded_server, "a", lease="gone"), 409, "lease not found")
    assert is_enabled(embedded_server)
    assert toxics(embedded_server) == []


@pytest.mark.parametrize("body", [{}, {"ttl_s": 0}, {"ttl_s": "10"}, {"ttl_s": -1}])
def test_a_lease_needs_a_time(embedded_server: Server, body: dict[str, object]) -> None:
    bad_body(embedded_server.call("POST", "/chaoskit/leases", body))


def test_a_closed_epoch_refuses_every_later_write_and_no_read(embedded_server: Server) -> None:
    add(embedded_server, "before", epoch="run-1")
    for _ in range(2):  # closing twice is fine
        response = embedded_server.call("POST", "/chaoskit/epochs/run-1/close")
        assert response.status_code == 204
    writes: list[tuple[str, str, object]] = [
        ("POST", "/proxies", {"name": "two", "upstream": NOWHERE}),
        ("PATCH", "/proxies/one", {"enabled": False}),
        ("DELETE", "/proxies/one", None),
        ("POST", "/proxies/one/toxics", {"type": "noop"}),
        ("PATCH", "/proxies/one/toxics/before", {"toxicity": 0}),
        ("DELETE", "/proxies/one/toxics/before", None),
        ("POST", "/reset", None),
        ("POST", "/chaoskit/leases", {"ttl_s": 1}),
    ]
    headers = {"X-Chaoskit-Epoch": "run-1"}
    for method, path, body in writes:
        response = embedded_server.call(method, path, body, headers=headers)
        refused(response, 409, "epoch closed")
    response = embedded_server.call("POST", "/populate", [], headers=headers)
    assert (response.status_code, response.json()["error"]) == (409, "epoch closed")
    assert toxics(embedded_server) == ["before"]
    assert embedded_server.call("GET", "/proxies", headers=headers).status_code == 200
    assert add(embedded_server, "other", epoch="run-2").status_code == 200
    assert add(embedded_server, "none").status_code == 200


def test_the_relay_tells_its_clock_and_its_lag(embedded_server: Server) -> None:
    first, second = (
        embedded_server.call("GET", "/chaoskit/clock").json()["monotonic_s"] for _ in range(2)
    )
    assert first < second
    lag = embedded_server.call("GET", "/chaoskit/lag").json()
    assert 0 <= lag["max_ms_1s"] <= lag["max_ms"]


def test_live_numbers_of_all_links_come_together(embedded_server: Server) -> None:
    links = embedded_server.call("GET", "/chaoskit/links").json()["links"]
    assert links == {"one": embedded_server.counters("one")}
    refused(embedded_server.call("GET", "/chaoskit/links/none"), 404, "proxy not found")


def test_events_are_asked_for_by_number(embedded_server: Server) -> None:
    bad_body(embedded_server.call("GET", "/chaoskit/events?since=yesterday"))
