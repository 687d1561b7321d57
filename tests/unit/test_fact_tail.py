"""Facts files are followed line by line and answer what triggers and proofs of effect ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.audio.listening import ABSENT
from chaoskit.errors import InvalidInput
from chaoskit.journal.facts import FactTail, hears_voice, load_facts
from chaoskit.model import Crowd, Group
from chaoskit.ports import CrowdFacts, Loss, NetSample, Presence
from chaoskit.wire.facts import (
    Attempt,
    ConnectFailed,
    Ear,
    Fact,
    Joined,
    Left,
    Lost,
    Mark,
    Net,
    RoundTrip,
    ShardStarted,
    ShardStopped,
    encode_fact,
)

pytestmark = pytest.mark.unit

ORIGIN_S = 1000.0
HOST, FIRST, SECOND = 0, 10, 11
CROWD = Crowd(
    groups=(
        Group(name="host", role="host", count=1, first=HOST),
        Group(name="listeners", role="listener", count=2, first=FIRST),
    )
)


class Shard:
    """Writes facts as a crowd shard does; times are run time."""

    def __init__(self, folder: Path, name: str = "a") -> None:
        self.path = folder / f"facts-{name}.jsonl"

    def write(self, *facts: Fact) -> None:
        self.write_raw("".join(encode_fact(fact) for fact in facts))

    def write_raw(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return Shard(tmp_path)


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[FactTail]:
    tail = FactTail(tmp_path, CROWD, origin_s=ORIGIN_S)
    yield tail
    tail.close()


def attempt(p: int, n: int = 1, at_s: float = 1.0) -> Attempt:
    return Attempt(t=ORIGIN_S + at_s, p=p, n=n, why="arrival")


def joined(p: int, at_s: float = 2.0, room: int = 100) -> Joined:
    return Joined(t=ORIGIN_S + at_s, p=p, room=room, node="room-a", generation=1, rtp_port=4000)


def lost(p: int, at_s: float = 3.0, plane: str = "signal") -> Lost:
    return Lost(t=ORIGIN_S + at_s, p=p, plane=plane, link=f"host.{plane}.room-a", why="reset")


def ear(p: int, code: int, slot: int = 0) -> Ear:
    return Ear(t=ORIGIN_S + slot * 0.02, p=p, s=slot, c=code)


def test_the_tail_is_what_the_core_calls_crowd_facts(tail: FactTail) -> None:
    facts: CrowdFacts = tail

    assert facts.presence()[FIRST] == Presence(participant=FIRST, state="away")
    assert facts.hearing(FIRST) == ABSENT
    assert facts.count("crowd.away") == 3


def test_counts_go_by_group_and_by_role_and_leave_canaries_out(
    tmp_path: Path, shard: Shard
) -> None:
    crowd = Crowd(
        groups=(
            Group(name="host", role="host", count=1, first=HOST),
            Group(name="early", role="listener", count=1, first=FIRST),
            Group(name="late", role="listener", count=1, first=SECOND),
            Group(name="canary", role="canary", count=3, first=20),
        )
    )
    tail = FactTail(tmp_path, crowd, origin_s=ORIGIN_S)
    shard.write(*(joined(k) for k in (HOST, FIRST, SECOND, 20, 21)))
    tail.poll()

    scopes = ("early", "late", "listener", "listeners", "host", "hosts", "canary", "crowd")
    assert [tail.count(f"{scope}.joined") for scope in scopes] == [1, 1, 2, 2, 1, 1, 2, 3]
    tail.close()


def test_listeners_are_the_role_even_beside_a_group_of_that_name(
    tmp_path: Path, shard: Shard
) -> None:
    crowd = Crowd(
        groups=(
            Group(name="listeners", role="listener", count=1, first=FIRST),
            Group(name="late", role="listener", count=1, first=SECOND),
        )
    )
    tail = FactTail(tmp_path, crowd, origin_s=ORIGIN_S)
    shard.write(joined(FIRST), joined(SECOND))
    tail.poll()

    assert [tail.count(f"{s}.joined") for s in ("listeners", "late")] == [2, 1]
    tail.close()
    nobody = FactTail(tmp_path, Crowd(groups=()), origin_s=ORIGIN_S)
    assert nobody.count("listeners.hearing") == 0


def test_a_participant_is_followed_from_trying_to_gone(shard: Shard, tail: FactTail) -> None:
    states = []
    for fact in (
        attempt(FIRST),
        joined(FIRST),
        lost(FIRST),
        attempt(FIRST, n=2),
        joined(FIRST, room=200),
        Left(t=ORIGIN_S + 9, p=FIRST, why="moved"),
        joined(FIRST, room=300),
        Left(t=ORIGIN_S + 10, p=FIRST, why="end"),
    ):
        shard.write(fact)
        assert tail.poll() == 1
        states.append((tail.presence()[FIRST].state, tail.presence()[FIRST].room))

    assert states == [
        ("trying", None),
        ("joined", 100),
        ("trying", 100),
        ("trying", 100),
        ("joined", 200),
        ("trying", 200),
        ("joined", 300),
        ("gone", 300),
    ]
    assert tail.presence()[FIRST].attempts == 2


def test_losing_the_api_does_not_take_a_participant_out_of_its_room(
    shard: Shard, tail: FactTail
) -> None:
    shard.write(attempt(FIRST), joined(FIRST), lost(FIRST, plane="api"))
    tail.poll()

    assert tail.presence()[FIRST].state == "joined"
    assert len(tail.losses(since_s=0.0)) == 1


def test_a_line_written_in_two_parts_is_taken_once_it_is_whole(
    shard: Shard, tail: FactTail
) -> None:
    line = encode_fact(joined(FIRST))

    shard.write_raw(line[:20])
    assert tail.poll() == 0
    shard.write_raw(line[20:])
    assert tail.poll() == 1

    assert tail.presence()[FIRST].state == "joined"
    assert tail.poll() == 0


def test_a_shard_that_appears_later_is_followed_too(tmp_path: Path, tail: FactTail) -> None:
    Shard(tmp_path, "a").write(attempt(HOST))
    tail.poll()
    Shard(tmp_path, "b").write(attempt(FIRST))
    tail.poll()

    assert tail.count("crowd.trying") == 2


def test_counts_are_by_group_and_over_the_crowd(shard: Shard, tail: FactTail) -> None:
    shard.write(
        attempt(HOST),
        joined(HOST),
        attempt(FIRST, n=1),
        attempt(FIRST, n=2),
        attempt(SECOND),
        joined(SECOND),
        ear(SECOND, 0b010),
        ear(HOST, 0),
    )
    tail.poll()

    names = ("joined", "trying", "hearing", "gone", "away", "present", "attempts")
    assert [tail.count(f"listeners.{name}") for name in names] == [1, 1, 1, 0, 0, 2, 3]
    assert [tail.count(f"crowd.{name}") for name in names] == [2, 1, 1, 0, 0, 3, 4]
    with pytest.raises(KeyError):
        tail.count("visitors.joined")


@pytest.mark.parametrize(
    ("code", "hears"),
    [
        (0, False),
        (1, True),
        (0b111, True),
        (8, False),
        (9, True),
        (64, False),
        (128, False),
        (255, False),
    ],
)
def test_only_a_decoded_voice_counts_as_hearing(code: int, hears: bool) -> None:
    assert hears_voice(code) is hears


def test_losses_come_in_order_of_time_even_when_shards_are_read_out_of_order(
    tmp_path: Path, tail: FactTail
) -> None:
    refused = ConnectFailed(
        t=ORIGIN_S + 2.0, p=FIRST, plane="api", link="listeners.api.directory", why="refused"
    )
    Shard(tmp_path, "a").write(lost(HOST, at_s=5.0))
    Shard(tmp_path, "b").write(refused, lost(SECOND, at_s=7.0))
    tail.poll()

    assert tail.losses(since_s=2.0)[0] == Loss(
        at_s=2.0, participant=FIRST, link="listeners.api.directory", why="refused"
    )
    assert [loss.at_s for loss in tail.losses(since_s=5.0)] == [5.0, 7.0]
    assert tail.losses(since_s=8.0) == []


def net(at_s: float, participants: list[int], received: list[int]) -> Net:
    zeros = [0] * len(participants)
    return Net(
        t=ORIGIN_S + at_s,
        p=participants,
        received=received,
        missing=zeros,
        late=zeros,
        sent=zeros,
        transit_ms=[0.5] * len(participants),
    )


def test_media_samples_are_kept_per_participant(shard: Shard, tail: FactTail) -> None:
    shard.write(net(1.0, [FIRST, SECOND], [50, 49]), net(2.0, [SECOND], [99]))
    tail.poll()

    assert list(tail.net(SECOND)) == [
        NetSample(at_s=1.0, received=49, missing=0, late=0, sent=0, transit_ms=0.5),
        NetSample(at_s=2.0, received=99, missing=0, late=0, sent=0, transit_ms=0.5),
    ]
    assert [sample.received for sample in tail.net(FIRST)] == [50]
    later_s = tail.net(SECOND)[-1].at_s
    assert list(tail.net(SECOND, since_s=later_s)) == list(tail.net(SECOND))[-1:]
    assert list(tail.net(SECOND, since_s=later_s + 0.001)) == []
    assert list(tail.net(HOST)) == []


def test_round_trips_are_kept_per_link(shard: Shard, tail: FactTail) -> None:
    shard.write(RoundTrip(t=ORIGIN_S + 1.5, p=HOST, link="host.api.directory", ms=3.25))
    tail.poll()

    assert tail.rtt_ms("host.api.directory") == [(1.5, 3.25)]
    assert list(tail.rtt_ms("host.signal.room-a")) == []


def test_marks_tell_how_well_a_shard_listens(shard: Shard, tail: FactTail) -> None:
    shard.write(
        ShardStarted(
            t=ORIGIN_S, version=1, shard="a", pid=77, origin_s=ORIGIN_S, participants=[HOST]
        ),
        Mark(t=ORIGIN_S + 1, shard="a", s=50, lag_ms=30.0, unjudged=2, sentinel_missing=0),
        Mark(t=ORIGIN_S + 2, shard="a", s=100, lag_ms=4.0, unjudged=1, sentinel_missing=5),
    )
    tail.poll()
    view = tail.shards()["a"]

    assert (view.pid, view.participants) == (77, (HOST,))
    assert (view.judged_slot, view.marked_s) == (100, 2.0)
    assert (view.lag_ms, view.unjudged, view.sentinel_missing) == (30.0, 3, 5)
    assert not view.stopped
    shard.write(ShardStopped(t=ORIGIN_S + 3, shard="a"))
    tail.poll()
    assert tail.shards()["a"].stopped


def test_participants_outside_the_crowd_have_no_presence(shard: Shard, tail: FactTail) -> None:
    canary = 15000
    shard.write(attempt(canary), joined(canary), lost(canary))
    tail.poll()

    assert canary not in tail.presence()
    assert tail.count("crowd.present") == 0


def test_lines_that_are_no_facts_are_counted(shard: Shard, tail: FactTail) -> None:
    shard.write_raw('{"k":"news","t":1}\nnonsense\n')
    shard.write(attempt(HOST))

    assert tail.poll() == 3
    assert tail.unreadable == 2
    assert tail.count("host.trying") == 1


def test_all_facts_load_in_order_of_time_without_the_torn_last_line(tmp_path: Path) -> None:
    one, two, three = attempt(FIRST, at_s=1.0), joined(SECOND, at_s=2.0), joined(FIRST, at_s=3.0)
    Shard(tmp_path, "a").write(one, three)
    b = Shard(tmp_path, "b")
    b.write(two)
    b.write_raw(encode_fact(three)[:-5])

    assert load_facts(tmp_path) == [one, two, three]


def test_a_line_that_is_no_fact_is_named_by_file_and_line(shard: Shard, tmp_path: Path) -> None:
    shard.write(attempt(FIRST))
    shard.write_raw('{"k":"news","t":1}\n')

    with pytest.raises(InvalidInput, match=r"facts-a\.jsonl:2: not a fact"):
        load_facts(tmp_path)
