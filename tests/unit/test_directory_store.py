"""What the directory's database keeps, and what of it a process that was cut off finds again."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaoskit.services.directory.store import Removal, Room, RoomPhase, Store
from chaoskit.wire.directory import EventRequest

pytestmark = pytest.mark.unit

NIGHT = EventRequest(
    event="night", account="host", candidates=["p0", "p2"], speakers=["p1"], standby_account="own"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "directory.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


def opened(store: Store, *, generation: int = 1, event: str = "night") -> Room:
    room = store.new_room(
        event=event, generation=generation, node="room-a", account="host", opened_s=1.0
    )
    return replace(room, phase=RoomPhase.OPEN, opened_s=2.0)


def reopened(path: Path) -> Store:
    """A second process that finds the file as a killed one left it: never closed."""
    return Store(path)


def test_an_event_is_found_again_as_it_was_written(store: Store, path: Path) -> None:
    room = opened(store)
    store.add_event(NIGHT, room)
    store.set_host("night", "p0", lost_host="", lost_at_s=0.0)
    store.grant("night", "p1", 5.0)
    again = reopened(path)
    (found,) = again.load_events()
    again.close()
    assert found.request == NIGHT
    assert found.room == room
    assert (found.host, found.lost_host, found.stage) == ("p0", "", ("p1",))


def test_grants_keep_their_order(store: Store) -> None:
    store.add_event(NIGHT, opened(store))
    for at_s, identity in enumerate(("p9", "p1", "p5")):
        store.grant("night", identity, float(at_s))
    assert store.load_events()[0].stage == ("p9", "p1", "p5")


def test_a_lapse_revokes_all_grants_of_the_event_alone(store: Store) -> None:
    first, second = opened(store), opened(store, event="other")
    store.add_event(NIGHT, first)
    store.add_event(replace(NIGHT, event="other"), second)
    store.grant("night", "p1", 3.0)
    store.grant("other", "p1", 3.0)
    removal = Removal(event="night", node="room-a", room=first.room, identity="p1", since_s=9.0)
    store.lapse("night", "", lost_host="p0", lost_at_s=9.0, removals=[removal])
    found = {stored.request.event: stored for stored in store.load_events()}
    assert (found["night"].stage, found["other"].stage) == ((), ("p1",))
    assert (found["night"].host, found["night"].lost_host, found["night"].lost_at_s) == (
        "", "p0", 9.0,
    )  # fmt: skip
    assert store.load_removals() == [removal]


def test_a_new_grant_or_a_closed_room_makes_a_removal_needless(store: Store) -> None:
    room = opened(store)
    store.add_event(NIGHT, room)
    removals = [
        Removal(event="night", node="room-a", room=room.room, identity=identity, since_s=9.0)
        for identity in ("p1", "p2", "p3")
    ]
    store.lapse("night", "", lost_host="p0", lost_at_s=9.0, removals=removals)
    store.grant("night", "p1", 10.0)
    store.removed(removals[1])
    assert store.load_removals() == removals[2:]
    store.set_room_phase(room.room, RoomPhase.CLOSED)
    assert store.load_removals() == []


def test_a_fresh_room_answers_the_loss_and_decides_what_becomes_of_the_one_before(
    store: Store,
) -> None:
    before = opened(store)
    store.add_event(NIGHT, before)
    store.set_host("night", "", lost_host="p0", lost_at_s=9.0)
    after = opened(store, generation=2)
    store.switch_room(after, before.room, RoomPhase.CLOSING)
    (found,) = store.load_events()
    assert found.room == after
    assert found.lost_host == ""
    assert [room.room for room in store.load_closing()] == [before.room]


def test_a_room_number_is_never_given_twice(store: Store, path: Path) -> None:
    numbers = [opened(store).room for _ in range(3)]
    store.set_room_phase(numbers[-1], RoomPhase.CLOSED)
    again = reopened(path)
    numbers.append(opened(again).room)
    again.close()
    assert len(set(numbers)) == 4
    assert min(numbers) > 0


def test_a_room_whose_opening_was_cut_short_is_to_be_destroyed(store: Store, path: Path) -> None:
    store.add_event(NIGHT, opened(store))
    orphan = opened(store, generation=2)
    again = reopened(path)
    assert [room.room for room in again.load_closing()] == [orphan.room]
    assert again.load_events()[0].room.generation == 1
    again.close()


def test_joining_again_is_one_attempt_more(store: Store) -> None:
    for token in ("a", "b", "c"):
        store.join("night", "p7", 1, token, 1.0)
    store.join("night", "p8", 1, "d", 1.0)
    store.leave("night", "p7", 2.0)
    assert store.attempts("night") == {"p7": 3, "p8": 1}


def test_leaving_gives_the_grant_back(store: Store) -> None:
    store.add_event(NIGHT, opened(store))
    store.grant("night", "p1", 3.0)
    store.leave("night", "p1", 4.0)
    assert store.load_events()[0].stage == ()


def test_a_change_that_fails_changes_nothing(store: Store) -> None:
    room = opened(store)
    store.add_event(NIGHT, room)
    second = opened(store)
    with pytest.raises(sqlite3.IntegrityError):
        store.add_event(NIGHT, second)
    assert [r.room for r in store.load_closing()] == []
    assert store.load_events()[0].room == room


def test_a_file_of_another_version_is_refused(path: Path) -> None:
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(sqlite3.DatabaseError, match="schema version 99"):
        Store(path)
