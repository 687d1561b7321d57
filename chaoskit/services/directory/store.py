"""The directory's state on disk: SQLite, one file, written through before anything is told.

Every method is one short transaction and may be called from any thread. WAL with
synchronous=NORMAL: a commit is in the kernel's page cache when the method returns, so it outlives a
SIGKILL of this process; only a crash of the machine, which ends the run as well, can lose the last
ones. FULL would add an fsync to every join.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chaoskit.wire.directory import EventRequest

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE rooms (
    room INTEGER PRIMARY KEY AUTOINCREMENT,  -- AUTOINCREMENT: a number is never given twice
    event TEXT NOT NULL, generation INTEGER NOT NULL, node TEXT NOT NULL, account TEXT NOT NULL,
    phase TEXT NOT NULL, opened_s REAL NOT NULL
);
CREATE INDEX rooms_by_phase ON rooms (phase);
CREATE TABLE events (
    event TEXT PRIMARY KEY, account TEXT NOT NULL, standby_account TEXT NOT NULL,
    candidates TEXT NOT NULL, speakers TEXT NOT NULL,
    room INTEGER NOT NULL REFERENCES rooms (room),
    host TEXT NOT NULL DEFAULT '', lost_host TEXT NOT NULL DEFAULT '', lost_at_s REAL
);
CREATE TABLE grants (
    event TEXT NOT NULL, identity TEXT NOT NULL, granted_s REAL NOT NULL,
    PRIMARY KEY (event, identity)
) WITHOUT ROWID;
CREATE TABLE members (
    event TEXT NOT NULL, identity TEXT NOT NULL, room INTEGER NOT NULL, token TEXT NOT NULL,
    attempts INTEGER NOT NULL, joined_s REAL NOT NULL, left_s REAL,
    PRIMARY KEY (event, identity)
) WITHOUT ROWID;
CREATE TABLE removals (
    room INTEGER NOT NULL, identity TEXT NOT NULL, event TEXT NOT NULL, node TEXT NOT NULL,
    since_s REAL NOT NULL,
    PRIMARY KEY (room, identity)
) WITHOUT ROWID;
"""


class RoomPhase(StrEnum):
    """The life of a room.

    OPENING: asked for at its node, in nobody's use yet. OPEN: the event's current one. LOST: its
    node or itself does not answer. LEFT: another followed, it was left as it is. CLOSING: to be
    destroyed at its node. CLOSED: gone.
    """

    OPENING = "opening"
    OPEN = "open"
    LOST = "lost"
    LEFT = "left"
    CLOSING = "closing"
    CLOSED = "closed"

    @property
    def is_open(self) -> bool:
        """Whether people can be sent there."""
        return self is RoomPhase.OPEN

    @property
    def current(self) -> bool:
        """Whether it is the event's room, in reach or not: neither ended nor followed."""
        return self in (RoomPhase.OPEN, RoomPhase.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One room of an event at a node. `opened_s`: monotonic stamp."""

    room: int
    event: str
    generation: int
    node: str
    account: str
    phase: RoomPhase
    opened_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A speaker who lost the stage and is still to be removed from a room."""

    event: str
    node: str
    room: int
    identity: str
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as it was when last written. `stage`: grants, oldest first."""

    request: EventRequest
    room: Room
    host: str
    lost_host: str
    lost_at_s: float
    stage: tuple[str, ...]


class Store:
    """The database. Raises sqlite3.Error when the file cannot be used."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; a room whose opening a crash cut short is set to CLOSING."""
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            self._db.close()
            raise sqlite3.DatabaseError(f"{path}: schema version {version}, not {SCHEMA_VERSION}")
        with self._transaction() as db:
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            db.execute(
                "UPDATE rooms SET phase = ? WHERE phase = ?", (RoomPhase.CLOSING, RoomPhase.OPENING)
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # --- what a restart reads --------------------------------------------------------------------

    def load_events(self) -> list[StoredEvent]:
        """Return all events."""
        with self._transaction() as db:
            stages: dict[str, list[str]] = {}
            for event, identity in db.execute(
                "SELECT event, identity FROM grants ORDER BY granted_s, identity"
            ):
                stages.setdefault(event, []).append(identity)
            rows = db.execute(
                "SELECT e.event, e.account, e.standby_account, e.candidates, e.speakers, e.host,"
                " e.lost_host, e.lost_at_s, r.room, r.generation, r.node, r.account, r.phase,"
                " r.opened_s FROM events e JOIN rooms r ON r.room = e.room"
            ).fetchall()
        return [
            StoredEvent(
                request=EventRequest(
                    event=row[0],
                    account=row[1],
                    standby_account=row[2],
                    candidates=json.loads(row[3]),
                    speakers=json.loads(row[4]),
                ),
                host=row[5],
                lost_host=row[6],
                lost_at_s=row[7] or 0.0,
                room=Room(
                    room=row[8],
                    event=row[0],
                    generation=row[9],
                    node=row[10],
                    account=row[11],
                    phase=RoomPhase(row[12]),
                    opened_s=row[13],
                ),
                stage=tuple(stages.get(row[0], ())),
            )
            for row in rows
        ]

    def load_removals(self) -> list[Removal]:
        """Return the removals that are still to be done."""
        with self._transaction() as db:
            rows = db.execute("SELECT event, node, room, identity, since_s FROM removals")
            return [
                Removal(event=event, node=node, room=room, identity=identity, since_s=since_s)
                for event, node, room, identity, since_s in rows
            ]

    def load_closing(self) -> list[Room]:
        """Return the rooms that are still to be destroyed."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT room, event, generation, node, account, opened_s FROM rooms"
                " WHERE phase = ?",
                (RoomPhase.CLOSING,),
            )
            return [
                Room(
                    room=room,
                    event=event,
                    generation=generation,
                    node=node,
                    account=account,
                    phase=RoomPhase.CLOSING,
                    opened_s=opened_s,
                )
                for room, event, generation, node, account, opened_s in rows
            ]

    # --- rooms -----------------------------------------------------------------------------------

    def new_room(
        self, *, event: str, generation: int, node: str, account: str, opened_s: float
    ) -> Room:
        """Note that a room is about to be opened at `node`; its number is fresh for ever."""
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO rooms (event, generation, node, account, phase, opened_s)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (event, generation, node, account, RoomPhase.OPENING, opened_s),
            )
            number = cursor.lastrowid
        assert number is not None  # an INSERT has one
        return Room(
            room=number,
            event=event,
            generation=generation,
            node=node,
            account=account,
            phase=RoomPhase.OPENING,
            opened_s=opened_s,
        )

    def set_room_phase(self, room: int, phase: RoomPhase) -> None:
        """Note what became of a room; a CLOSED one needs no removals any more."""
        with self._transaction() as db:
            db.execute("UPDATE rooms SET phase = ? WHERE room = ?", (phase, room))
            if phase is RoomPhase.CLOSED:
                db.execute("DELETE FROM removals WHERE room = ?", (room,))

    # --- events ----------------------------------------------------------------------------------

    def add_event(self, request: EventRequest, room: Room) -> None:
        """Write a new event with its first room, which is OPEN from now on."""
        with self._transaction() as db:
            _open(db, room)
            db.execute(
                "INSERT INTO events (event, account, standby_account, candidates, speakers, room)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    request.event,
                    request.account,
                    request.standby_account,
                    json.dumps(request.candidates),
                    json.dumps(request.speakers),
                    room.room,
                ),
            )

    def switch_room(self, room: Room, before: int, then: RoomPhase) -> None:
        """Make `room` the current one of its event; the room `before` it becomes `then`."""
        with self._transaction() as db:
            _open(db, room)
            db.execute("UPDATE rooms SET phase = ? WHERE room = ?", (then, before))
            db.execute(
                "UPDATE events SET room = ?, lost_host = '', lost_at_s = NULL WHERE event = ?",
                (room.room, room.event),
            )

    def set_host(self, event: str, host: str, *, lost_host: str, lost_at_s: float) -> None:
        """Note who holds the lease, and the loss that is still to be answered ("" = none)."""
        with self._transaction() as db:
            _set_host(db, event, host, lost_host, lost_at_s)

    def lapse(
        self,
        event: str,
        host: str,
        *,
        lost_host: str,
        lost_at_s: float,
        removals: Iterable[Removal],
    ) -> None:
        """As `set_host`, and revoke every grant of the event; `removals` are to be done then."""
        with self._transaction() as db:
            _set_host(db, event, host, lost_host, lost_at_s)
            db.execute("DELETE FROM grants WHERE event = ?", (event,))
            db.executemany(
                "INSERT OR REPLACE INTO removals (room, identity, event, node, since_s)"
                " VALUES (?, ?, ?, ?, ?)",
                [(r.room, r.identity, r.event, r.node, r.since_s) for r in removals],
            )

    # --- people ----------------------------------------------------------------------------------

    def grant(self, event: str, identity: str, now: float) -> None:
        """Let `identity` on the stage, and forget removals of it that are not done yet."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO grants (event, identity, granted_s) VALUES (?, ?, ?)",
                (event, identity, now),
            )
            db.execute("DELETE FROM removals WHERE event = ? AND identity = ?", (event, identity))

    def removed(self, removal: Removal) -> None:
        """Note that a removal is done, or given up."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM removals WHERE room = ? AND identity = ?",
                (removal.room, removal.identity),
            )

    def join(self, event: str, identity: str, room: int, token: str, now: float) -> None:
        """Write a membership; a member that joins again has one attempt more and the new token."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO members (event, identity, room, token, attempts, joined_s)"
                " VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (event, identity) DO UPDATE SET"
                " room = excluded.room, token = excluded.token, attempts = attempts + 1,"
                " joined_s = excluded.joined_s, left_s = NULL",
                (event, identity, room, token, now),
            )

    def leave(self, event: str, identity: str, now: float) -> None:
        """End a membership and its grant; one that is none is left alone."""
        with self._transaction() as db:
            db.execute(
                "UPDATE members SET left_s = ? WHERE event = ? AND identity = ?",
                (now, event, identity),
            )
            db.execute("DELETE FROM grants WHERE event = ? AND identity = ?", (event, identity))

    def attempts(self, event: str) -> dict[str, int]:
        """Return how often each member of an event has joined."""
        with self._transaction() as db:
            rows = db.execute("SELECT identity, attempts FROM members WHERE event = ?", (event,))
            return dict(rows.fetchall())


def _open(db: sqlite3.Connection, room: Room) -> None:
    db.execute(
        "UPDATE rooms SET phase = ?, opened_s = ? WHERE room = ?",
        (RoomPhase.OPEN, room.opened_s, room.room),
    )


def _set_host(
    db: sqlite3.Connection, event: str, host: str, lost_host: str, lost_at_s: float
) -> None:
    db.execute(
        "UPDATE events SET host = ?, lost_host = ?, lost_at_s = ? WHERE event = ?",
        (host, lost_host, lost_at_s, event),
    )
