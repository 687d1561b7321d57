"""Toxics on units in memory, on a virtual clock."""

import pytest

from chaoskit.services.fault_proxy.refusals import Refusal
from tests.unit.fault_proxy_bench import Rig

pytestmark = pytest.mark.unit


def test_without_toxics_a_unit_goes_straight_through() -> None:
    stream = Rig().stream()
    stream.push(b"a")
    assert stream.out == [(0.0, b"a")]
    assert stream.head is stream.outlet


def test_latency_delays_every_unit_by_its_time() -> None:
    rig = Rig()
    stream = rig.stream()
    toxic = rig.add("latency", latency=30)
    stream.push(b"a")
    rig.loop.advance(0.02)
    stream.push(b"b")
    assert stream.out == []
    assert stream.held_bytes == 2
    rig.loop.advance(1.0)
    assert stream.out == [(0.03, b"a"), (0.05, b"b")]
    assert (stream.tally.delayed, toxic.tally.delayed, stream.held_bytes) == (2, 2, 0)
    assert stream.effects.first_s == 100.0
    assert stream.effects.last_s == 100.02


def test_latencies_add_up_without_adding_timer_errors() -> None:
    rig = Rig()
    stream = rig.stream()
    rig.add("latency", "a", latency=10)
    rig.add("latency", "b", latency=20)
    stream.push(b"x")
    rig.loop.advance(1.0)
    assert stream.out == [(0.03, b"x")]


def test_a_negative_latency_is_none() -> None:
    rig = Rig()
    stream = rig.stream()
    rig.add("latency", latency=-5)
    stream.push(b"x")
    assert stream.out == [(0.0, b"x")]
    assert (stream.tally.delayed, stream.effects.first_s) == (0, None)


def test_jitter_stays_in_its_range_and_keeps_the_order() -> None:
    rig = Rig()
    stream = rig.stream()
    rig.add("latency", latency=100, jitter=50)
    for number in range(200):
        stream.push(bytes([number]))
        rig.loop.advance(0.02)
    rig.loop.advance(1.0)
    assert stream.units() == [bytes([number]) for number in range(200)]
    delays = [round(at_s - 0.02 * number, 6) for number, (at_s, _) in enumerate(stream.out)]
    assert 0.05 <= min(delays) < 0.07
    assert 0.13 < max(delays) < 0.15


def test_mean_delay_under_order_preserving_jitter_is_that_of_the_reference() -> None:
    """audio.md section 14: 100 ± 50 ms at 50 units a second gives a mean of 110.5 ms."""
    rig = Rig()
    stream = rig.stream()
    rig.add("latency", latency=100, jitter=50)
    count = 4000
    for _ in range(count):
        stream.push(b"x")
        rig.loop.advance(0.02)
    rig.loop.advance(1.0)
    mean_s = sum(at_s - 0.02 * number for number, (at_s, _) in enumerate(stream.out)) / count
    assert mean_s == pytest.approx(0.1105, abs=0.0025)


def test_with_reorder_each_datagram_leaves_at_its_own_moment() -> None:
    rig = Rig()
    stream = rig.stream()
    rig.add("latency", latency=100, jitter=50, reorder=True)
    count = 2000
    arrivals = {}
    for number in range(count):
        data = number.to_bytes(2, "big")
        arrivals[data] = round(rig.loop.now_s - 100.0, 6)
        stream.push(data)
        rig.loop.advance(0.02)
    rig.loop.advance(1.0)
    delays = [at_s - arrivals[data] for at_s, data in stream.out]
    assert sum(delays) / count == pytest.approx(0.1, abs=0.003)
    assert stream.units() != sorted(stream.units())
    assert len(set(stream.units())) == count


def test_changing_a_latency_lets_the_foremost_go_and_times_the_rest_anew() -> None:
    rig = Rig()
    stream = rig.stream()
    toxic = rig.add("latency", latency=3000)
    for data in (b"a", b"b", b"c"):
        stream.push(data)
        rig.loop.advance(0.1)
    rig.update(toxic, latency=500)
    assert stream.out == [(0.3, b"a")]
    rig.loop.advance(1.0)
    assert stream.out == [(0.3, b"a"), (0.6, b"b"), (0.7, b"c")]


def test_removing_a_latency_lets_everything_go_in_order() -> None:
    rig = Rig(udp=False)
    stream = rig.stream()
    toxic = rig.add("latency", latency=3000)
    for data in (b"a", b"b", b"c"):
        stream.push(data)
    stream.head.finish()
    assert stream.units() == []
    rig.remove(toxic)
    assert stream.units() == [b"a", b"b", b"c"]
    assert stream.finished_s == 0.0
    assert (stream.held_bytes, stream.stages) == (0, [])


def test_what_a_removed_toxic_held_still_meets_the_next_one() -> None:
    rig = Rig()
    stream = rig.stream()
    first = rig.add("latency", "a", latency=1000)
    rig.add("latency", "b", latency=50)
    stream.push(b"x")
    rig.loop.advance(0.1)
    rig.remove(first)
    assert stream.out == []
    rig.loop.advance(0.1)
    assert stream.out == [(0.15, b"x")]


def test_the_end_of_the_data_waits_for_delayed_units() -> None:
    rig = Rig(udp=False)
    stream = rig.stream()
    rig.add("latency", latency=40)
    stream.push(b"a")
    stream.head.finish()
    rig.loop.advance(0.039)
    assert stream.finished_s is None
    rig.loop.advance(0.002)
    assert stream.finished_s == 0.04


def test_a_blackhole_drops_everything_and_never_ends() -> None:
    rig = Rig()
    stream = rig.stream()
    toxic = rig.add("timeout")
    for _ in range(3):
        stream.push(b"x")
    rig.loop.advance(3600)
    assert (stream.out, stream.ends) == ([], [])
    assert (stream.tally.dropped, toxic.tally.dropped) == (3, 3)
    assert (stream.effects.first_s, stream.effects.clients) == (100.0, {"127.64.0.1"})


def test_lifting_a_blackhole_ends_a_tcp_connection_and_spares_a_udp_flow() -> None:
    tcp, udp = Rig(udp=False), Rig(udp=True)
    for rig in (tcp, udp):
        rig.stream()
        rig.remove(rig.add("timeout"))
    assert tcp._streams[0].ends == [(False, None)]
    assert udp._streams[0].ends == []
    udp._streams[0].push(b"x")
    assert udp._streams[0].units() == [b"x"]


def test_a_timeout_counts_from_its_start_whatever_is_sent() -> None:
    rig = Rig(udp=False)
    stream = rig.stream()
    toxic = rig.add("timeout", timeout=500)
    for _ in range(4):
        rig.loop.advance(0.1)
        stream.push(b"x")
    assert stream.ends == []
    rig.loop.advance(0.1001)
    assert stream.ends == [(False, 0.5)]
    assert toxic.tally.cut == 1


def test_an_idle_timeout_counts_from_the_last_unit() -> None:
    rig = Rig(udp=False)
    stream = rig.stream()
    rig.add("timeout", timeout=500, idle=True)
    for _ in range(10):
        rig.loop.advance(0.2)
        stream.push(b"x")
    assert stream.ends == []
    rig.loop.advance(0.5001)
    assert stream.ends == [(False, 2.5)]


def test_changing_a_timeout_counts_anew() -> None:
    rig = Rig(udp=False)
    stream = rig.stream()
    toxic = rig.add("timeout", timeout=500)
    rig.loop.advance(0.4)
    rig.update(toxic, timeout=200)
    rig.loop.advance(0.199)
    assert stream.ends == []
    rig.loop.advance(0.002)
    assert stream.ends == [(False, 0.6)]


def test_reset_peer_resets_after_its_time_without_any_data() -> None:
    rig = Rig(udp=False)
    stream = rig.stream()
    rig.add("reset_peer", timeout=100)
    rig.loop.advance(0.2)
    assert stream.ends == [(True, 0.1)]


def test_reset_peer_removed_in_time_does_nothing() -> None:
    rig = Rig(udp=False)
    stream = rig.stream()
    rig.remove(rig.add("reset_peer", timeout=100))
    rig.loop.advance(1.0)
    assert stream.ends == []
    stream.push(b"x")
    assert stream.units() == [b"x"]


def test_a_connection_that_is_gone_leaves_no_timer_behind() -> None:
    rig = Rig(udp=False)
    stream = rig.stream()
    rig.add("latency", latency=100)
    rig.add("timeout", timeout=100)
    rig.add("reset_peer", timeout=100)
    stream.push(b"x")
    stream.discard()
    rig.loop.advance(1.0)
    assert (stream.out, stream.ends) == ([], [])


def test_noop_counts_and_passes() -> None:
    rig = Rig()
    stream = rig.stream()
    toxic = rig.add("noop")
    stream.push(b"x")
    assert stream.units() == [b"x"]
    assert toxic.tally.to_json() == {"seen": 1, "dropped": 0, "delayed": 0, "cut": 0}


def test_toxics_of_a_kind_that_the_transport_cannot_have_are_refused() -> None:
    with pytest.raises(Refusal, match="reset_peer does not work on a udp link"):
        Rig(udp=True).add("reset_peer")
    with pytest.raises(Refusal, match="packet_loss does not work on a tcp link"):
        Rig(udp=False).add("packet_loss", loss_rate=0.1)
