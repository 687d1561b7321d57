"""One participant's way through a run, read from its facts: attempts, stays in rooms, losses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TypeVar

from chaoskit.model import Group, Plane
from chaoskit.wire.facts import Attempt, Fact, Joined, Left, Lost

F = TypeVar("F", bound=Fact)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A participant was in a room from `from_s` to `until_s` (run time; inf = to the run's end).

    `end`: why it ended, as in facts.Left or facts.Lost, `attempt` (it began to join anew), or ""
    for not yet.
    """

    participant: int
    from_s: float
    until_s: float
    room: int
    node: str
    generation: int
    end: str
    joined: Joined

    def covers(self, at_s: float) -> bool:
        """Return whether the stay holds at `at_s`."""
        return self.from_s <= at_s < self.until_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of run time, [from_s, until_s)."""

    from_s: float
    until_s: float

    def overlaps(self, other: "Span") -> bool:
        """Return whether the two share any time."""
        return self.from_s < other.until_s and other.from_s < self.until_s

    def cut_to(self, other: "Span") -> "Span | None":
        """Return the common part, or None."""
        from_s, until_s = max(self.from_s, other.from_s), min(self.until_s, other.until_s)
        return Span(from_s=from_s, until_s=until_s) if from_s < until_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Everything that one participant reported, in order of time, as (run time, fact)."""

    participant: int
    group: Group
    facts: tuple[tuple[float, Fact], ...] = ()
    stays: tuple[Stay, ...] = field(default=())
    away: tuple[Span, ...] = field(default=())

    def of(self, kind: type[F]) -> list[tuple[float, F]]:
        """Return its facts of one kind as (run time, fact), oldest first."""
        return [(at_s, f) for at_s, f in self.facts if isinstance(f, kind)]

    @property
    def first_attempt_s(self) -> float | None:
        """Run time of its first join attempt; None when it never tried."""
        return next((at_s for at_s, f in self.facts if isinstance(f, Attempt)), None)

    @property
    def first_joined_s(self) -> float | None:
        """Run time at which it was first in a room; None when it never was."""
        return self.stays[0].from_s if self.stays else None

    def stay_at(self, at_s: float) -> Stay | None:
        """Return the stay that holds at `at_s`, if any."""
        return next((s for s in self.stays if s.covers(at_s)), None)

    def joined_after(self, at_s: float, *, newer_than: int | None = None) -> Stay | None:
        """Return the first stay from `at_s` on, in a generation above `newer_than`, or None."""
        return next(
            (
                s
                for s in self.stays
                if s.from_s >= at_s and (newer_than is None or s.generation > newer_than)
            ),
            None,
        )


def follow(participant: int, group: Group, facts: Iterable[tuple[float, Fact]]) -> Track:
    """Return the track of `participant` from its facts as (run time, fact), in any order.

    A stay ends with `Left`, with a lost signal or media plane, with the next `Joined`, or with the
    next `Attempt`, whichever is first.
    Away is from a `Left` that was planned (`command`, `end`) to the next attempt.
    """
    ordered = sorted(facts, key=lambda pair: pair[0])
    return Track(
        participant=participant,
        group=group,
        facts=tuple(ordered),
        stays=tuple(_stays(participant, ordered)),
        away=tuple(_away(ordered)),
    )


def _stays(participant: int, facts: Sequence[tuple[float, Fact]]) -> Iterable[Stay]:
    opened: tuple[float, Joined] | None = None
    for at_s, fact in facts:
        end = _ending(fact)
        if opened is not None and end:
            yield _stay(participant, *opened, at_s, end)
            opened = None
        if isinstance(fact, Joined):
            opened = (at_s, fact)
    if opened is not None:
        yield _stay(participant, *opened, inf, "")


def _ending(fact: Fact) -> str:
    """Return why `fact` ends a stay, or "" when it does not."""
    if isinstance(fact, Left):
        return fact.why
    if isinstance(fact, Lost):
        return "" if fact.plane == Plane.API else fact.why
    return "attempt" if isinstance(fact, Attempt | Joined) else ""


def _stay(participant: int, from_s: float, joined: Joined, until_s: float, end: str) -> Stay:
    return Stay(
        participant=participant,
        from_s=from_s,
        until_s=until_s,
        room=joined.room,
        node=joined.node,
        generation=joined.generation,
        end=end,
        joined=joined,
    )


def _away(facts: Sequence[tuple[float, Fact]]) -> Iterable[Span]:
    since: float | None = None
    for at_s, fact in facts:
        if isinstance(fact, Left) and fact.why in ("command", "end"):
            since = at_s if since is None else since
        elif isinstance(fact, Attempt | Joined) and since is not None:
            yield Span(from_s=since, until_s=at_s)
            since = None
    if since is not None:
        yield Span(from_s=since, until_s=inf)
