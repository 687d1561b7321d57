"""The small parts of the fault proxy: timers, Go's JSON, addresses, effects, time limits."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.services.fault_proxy import addresses, gojson
from chaoskit.services.fault_proxy.events import KEPT, EventLog
from chaoskit.services.fault_proxy.refusals import Refusal
from chaoskit.services.fault_proxy.tally import Effects
from chaoskit.services.fault_proxy.timeline import Timeline
from tests.unit.fault_proxy_bench import VirtualLoop

pytestmark = pytest.mark.unit


def test_timers_fire_in_order_and_never_early() -> None:
    loop = VirtualLoop()
    timeline = Timeline(loop.now, loop.wake_at)
    fired: list[tuple[str, float]] = []
    for name, delay_s in (("b", 0.2), ("a", 0.1), ("c", 0.2), ("d", 0.3)):
        timeline.after(delay_s, lambda name=name: fired.append((name, round(loop.now_s, 3))))  # type: ignore[misc]
    loop.advance(0.25)
    assert fired == [("a", 100.1), ("b", 100.2), ("c", 100.2)]
    loop.advance(1.0)
    assert fired[-1] == ("d", 100.3)


def test_one_wake_up_serves_all_timers() -> None:
    loop = VirtualLoop()
    timeline = Timeline(loop.now, loop.wake_at)
    for number in range(1000):
        timeline.after(1.0 + number / 1000, lambda: None)
    assert loop.pending == 1


def test_a_cancelled_timer_stays_silent_and_others_still_fire() -> None:
    loop = VirtualLoop()
    timeline = Timeline(loop.now, loop.wake_at)
    fired: list[str] = []
    first = timeline.after(0.1, lambda: fired.append("first"))
    timeline.after(0.2, lambda: fired.append("second"))
    first.cancel()
    first.cancel()
    loop.advance(1.0)
    assert fired == ["second"]


def test_cancelled_timers_do_not_pile_up() -> None:
    loop = VirtualLoop()
    timeline = Timeline(loop.now, loop.wake_at)
    fired: list[float] = []
    timeline.after(60.0, lambda: fired.append(loop.now_s))
    for _ in range(10_000):
        timeline.after(60.0, lambda: None).cancel()
    assert len(timeline) <= 2002
    loop.advance(61.0)
    assert fired == [160.0]


def test_a_callback_that_fails_does_not_silence_the_others() -> None:
    loop = VirtualLoop()
    timeline = Timeline(loop.now, loop.wake_at)
    fired: list[float] = []
    timeline.after(0.1, lambda: fired.append(1 / 0))
    timeline.after(0.2, lambda: fired.append(loop.now_s))
    with pytest.raises(ZeroDivisionError):
        loop.advance(0.15)
    loop.advance(1.0)
    assert fired == [100.2]


def test_a_timer_may_set_the_next_one() -> None:
    loop = VirtualLoop()
    timeline = Timeline(loop.now, loop.wake_at)
    moments: list[float] = []

    def again() -> None:
        moments.append(round(loop.now_s - 100.0, 3))
        timeline.after(0.1, again)

    timeline.after(0.1, again)
    loop.advance(0.35)
    assert moments == [0.1, 0.2, 0.3]


@given(st.recursive(st.none() | st.booleans() | st.integers(-100, 100) | st.text(), st.lists))
def test_json_that_is_written_is_read_back(value: object) -> None:
    assert gojson.read(gojson.write(value)) == value


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(Refusal):
        gojson.write(gojson.read(body))


@given(st.floats(-3e38, 3e38))
def test_32_bit_numbers_are_printed_as_shortly_as_they_can_be(value: float) -> None:
    narrow = gojson.float32(value)
    assert narrow == pytest.approx(value, rel=1e-6, abs=1e-44)
    assert gojson.float32(narrow) == narrow
    assert float(f"{narrow:.9g}") == narrow


def test_the_largest_32_bit_number_is_one_and_more_is_refused() -> None:
    assert gojson.float32(3.4028235e38) == 3.4028235e38
    with pytest.raises(Refusal):
        gojson.float32(3.5e38)


def test_repeated_objects_are_merged_as_go_does() -> None:
    body = gojson.read_object(b'{"attributes": {"a": 1, "b": 2}, "Attributes": {"B": 3}}')
    merged = {"a": 0, "b": 0}
    for source in body.objects("attributes"):
        merged = {name: source.whole(name, old) for name, old in merged.items()}
    assert merged == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:80", "127.0.0.1", "80"), (":80", "", "80"), ("[::1]:80", "::1", "80")],
)
def test_addresses_are_split_as_go_does(text: str, host: str, port: str) -> None:
    assert addresses.split(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("localhost", "missing port in address"),
        ("::1:80", "too many colons in address"),
        ("[::1:80", "missing ']' in address"),
        ("[::1]80", "missing port in address"),
    ],
)
def test_addresses_that_are_none_are_refused_in_gos_words(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        addresses.split(text)


@pytest.mark.parametrize(
    ("listen", "text", "host"),
    [
        ("127.0.0.1:7000", "127.0.0.1:7000", "127.0.0.1"),
        ("[::1]:7000", "[::1]:7000", "::1"),
        ("udp://127.0.0.1:0", "udp://127.0.0.1:0", "127.0.0.1"),
        ("127.0.0.1:", "127.0.0.1:0", "127.0.0.1"),
    ],
)
def test_a_listen_address_is_resolved(listen: str, text: str, host: str) -> None:
    found = asyncio.run(addresses.resolve(listen))
    assert (found.text, found.host, found.refusal) == (text, host, None)


@pytest.mark.parametrize("listen", ["127.0.0.1:65536", "127.0.0.1:nonsense", "udp://[::1]:5000"])
def test_a_listen_address_that_cannot_be_used_says_so_when_it_has_to(listen: str) -> None:
    found = asyncio.run(addresses.resolve(listen))
    assert found.typed == listen
    assert found.refusal is not None


def test_effects_are_stamped_first_and_last_until_cleared() -> None:
    effects = Effects()
    effects.mark(1.0, "a")
    effects.mark(2.0, "b")
    effects.mark(3.0, "a")
    assert (effects.first_s, effects.last_s, effects.clients) == (1.0, 3.0, {"a", "b"})
    effects.clear()
    assert (effects.first_s, effects.last_s, effects.clients) == (None, None, set())


def test_old_events_are_forgotten_and_numbers_go_on() -> None:
    log = EventLog(lambda: 1.0)
    for number in range(KEPT + 5):
        log.add("kind", detail=str(number))
    answer = log.since(0)
    assert answer["next"] == KEPT + 5
    assert (answer["events"][0]["n"], len(answer["events"])) == (5, KEPT)
    assert [event["n"] for event in log.since(KEPT + 3)["events"]] == [KEPT + 3, KEPT + 4]
