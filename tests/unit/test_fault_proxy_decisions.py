"""Random decisions: they follow seed, key and ordinal, and have the statistics they promise."""

import math
from typing import Any

import pytest

from chaoskit.services.fault_proxy.keyed_random import KeyedRandom
from tests.unit.fault_proxy_bench import Rig

pytestmark = pytest.mark.unit

PRESETS = {
    # audio.md section 9.1: p, r → loss, mean burst
    "wifi_good": (1 / 200, 1 / 2, 0.0099, 2.0),
    "wifi_lossy": (1 / 40, 1 / 2, 0.0476, 2.0),
    "wifi_congested": (1 / 20, 1 / 2, 0.0909, 2.0),
    "lte": (1 / 100, 1 / 2, 0.0196, 2.0),
    "satellite": (1 / 100, 1 / 3, 0.0291, 3.0),
    "burst4_10": (0.0278, 0.25, 0.1001, 4.0),
}


def losses(rig: Rig, host: str, count: int, port: int = 4000) -> list[int]:
    """Return the ordinals, from 0, of the datagrams of `host` that got lost."""
    stream = rig.stream(host, port)
    lost = []
    for number in range(count):
        before = stream.tally.dropped
        stream.push(b"x")
        if stream.tally.dropped > before:
            lost.append(number)
    assert stream.tally.seen == stream.tally.forwarded + stream.tally.dropped
    return lost


def lossy(seed: int = 7, link: str = "l", name: str = "t", **attributes: Any) -> Rig:
    rig = Rig(seed=seed, link=link)
    rig.add("packet_loss", name, **attributes)
    return rig


def test_a_sequence_is_a_function_of_seed_and_key() -> None:
    def draw(seed: int, *key: str) -> list[int]:
        sequence = KeyedRandom(seed, *key)
        return [sequence.below(1000) for _ in range(20)]

    assert draw(7, "a", "b") == draw(7, "a", "b")
    different = [draw(7, "a", "b"), draw(8, "a", "b"), draw(7, "a", "c"), draw(7, "ab", "")]
    assert len({tuple(numbers) for numbers in different}) == 4


def test_the_sequence_is_the_same_on_every_machine() -> None:
    sequence = KeyedRandom(7, "host.media.room-a", "127.64.0.1", "downstream", "loss", "loss")
    assert [sequence.below(1000) for _ in range(8)] == [514, 300, 391, 827, 508, 730, 724, 139]


def test_the_same_traffic_under_the_same_seed_loses_the_same_datagrams() -> None:
    first = losses(lossy(loss_rate=0.1), "127.64.0.1", 500)
    assert losses(lossy(loss_rate=0.1), "127.64.0.1", 500) == first
    assert losses(lossy(seed=8, loss_rate=0.1), "127.64.0.1", 500) != first
    assert losses(lossy(link="m", loss_rate=0.1), "127.64.0.1", 500) != first
    assert losses(lossy(name="u", loss_rate=0.1), "127.64.0.1", 500) != first
    assert losses(lossy(loss_rate=0.1), "127.64.0.2", 500) != first


def test_decisions_do_not_depend_on_how_clients_race() -> None:
    apart = lossy(loss_rate=0.2)
    expected = {host: losses(apart, host, 200) for host in ("127.64.0.1", "127.64.0.2")}
    mixed = lossy(loss_rate=0.2)
    streams = {host: mixed.stream(host) for host in sorted(expected, reverse=True)}
    lost: dict[str, list[int]] = {host: [] for host in expected}
    for number in range(200):
        for host, stream in streams.items():
            before = stream.tally.dropped
            stream.push(b"x")
            if stream.tally.dropped > before:
                lost[host].append(number)
    assert lost == expected


def test_a_new_flow_of_a_client_goes_on_in_its_sequence() -> None:
    whole = losses(lossy(loss_rate=0.2), "127.64.0.1", 400)
    rig = lossy(loss_rate=0.2)
    first = losses(rig, "127.64.0.1", 200, port=4000)
    second = losses(rig, "127.64.0.1", 200, port=4001)
    assert first + [200 + number for number in second] == whole


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_single_losses_are_as_frequent_as_asked(rate: float) -> None:
    count = 20_000
    lost = losses(lossy(loss_rate=rate), "127.64.0.1", count)
    spread = math.sqrt(count * rate * (1 - rate))
    assert abs(len(lost) - count * rate) < 4 * spread
    pairs = sum(1 for number in lost if number + 1 in set(lost))
    assert pairs / len(lost) == pytest.approx(rate, abs=4 * math.sqrt(rate / len(lost)))


@pytest.mark.parametrize("preset", PRESETS)
def test_gilbert_elliott_has_the_loss_and_the_bursts_of_its_preset(preset: str) -> None:
    p, r, loss, burst = PRESETS[preset]
    count = 100_000
    lost = losses(lossy(p=p, r=r), "127.64.0.1", count)
    present = set(lost)
    bursts = sum(1 for number in lost if number - 1 not in present)
    # variance of the count of a two-state chain with one-step correlation c
    c = 1 - p - r
    spread = math.sqrt(count * loss * (1 - loss) * (1 + c) / (1 - c))
    assert abs(len(lost) - count * loss) < 4 * spread
    spread_of_a_burst = math.sqrt(1 - r) / r
    assert len(lost) / bursts == pytest.approx(burst, abs=4 * spread_of_a_burst / math.sqrt(bursts))


def test_correlation_raises_the_chance_after_a_loss() -> None:
    lost = losses(lossy(loss_rate=0.1, correlation=0.6), "127.64.0.1", 20_000)
    present = set(lost)
    followed = sum(1 for number in lost if number + 1 in present) / len(lost)
    assert followed == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 0), (1.0, 100)])
def test_loss_of_nothing_and_of_everything(rate: float, expected: int) -> None:
    assert len(losses(lossy(loss_rate=rate), "127.64.0.1", 100)) == expected


def test_toxicity_is_rolled_for_each_connection_and_kept() -> None:
    rig = Rig()
    toxic = rig.add("noop", toxicity=0.5)
    ports = range(4000, 4400)
    first = [toxic.applies_to(("127.64.0.1", port)) for port in ports]
    rig.update(toxic)
    rig.add("noop", "neighbour")
    assert [toxic.applies_to(("127.64.0.1", port)) for port in ports] == first
    assert 140 < sum(first) < 260
    again = Rig().add("noop", toxicity=0.5)
    assert [again.applies_to(("127.64.0.1", port)) for port in ports] == first


def test_a_cohort_is_the_same_clients_whatever_the_link_the_toxic_or_the_reconnect() -> None:
    def members(link: str, name: str, cohort: str, toxicity: float, port: int) -> set[int]:
        toxic = Rig(link=link).add("noop", name, toxicity=toxicity, cohort=cohort)
        return {k for k in range(256) if toxic.applies_to((f"127.64.0.{k}", port))}

    first = members("a", "up", "fault-1", 0.2, 4000)
    assert members("b", "down", "fault-1", 0.2, 5000) == first
    assert members("a", "up", "fault-2", 0.2, 4000) != first
    assert 25 < len(first) < 80
    assert first < members("a", "up", "fault-1", 0.6, 4000)
