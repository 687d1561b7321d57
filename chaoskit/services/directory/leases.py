"""Who holds the host lease of an event, and when its loss calls for a fresh room.

Pure decisions: time comes in as monotonic seconds, nothing is read or written here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

STALL_SHARE = 0.5
"""A pause of the judge longer than this share of a lease says nothing about the candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRules:
    """How leases live.

    `lease_s`: without a heartbeat. `standby`: later candidates may hold it. `grace_s`: how long
    after a lapse the lost holder may come back before a fresh room is due.
    """

    lease_s: float
    standby: bool
    grace_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseChange:
    """The lease went to `holder` ("" = nobody).

    `lapsed`: who lost it for want of heartbeats, "" when it was free.
    """

    holder: str
    lapsed: str = ""


class HostLease:
    """The lease of one event.

    The first live candidate in order gets it; live = a heartbeat within `lease_s`. Later candidates
    need `rules.standby`, and the first is given one whole lease to show up before any of them is
    asked. A holder keeps the lease until it lapses: one of higher order that comes back does not
    take it away.
    """

    def __init__(
        self, candidates: Sequence[str], rules: LeaseRules, *, now: float, holder: str = ""
    ) -> None:
        """Start judging at `now`; a `holder` from before a restart has one whole lease more."""
        self._candidates = tuple(candidates)
        self._rules = rules
        self._beats: dict[str, float] = {holder: now} if holder else {}
        self._holder = holder
        self._later_from = now + rules.lease_s
        self._judged = now

    @property
    def holder(self) -> str:
        """The identity that holds the lease, "" when nobody does."""
        return self._holder

    def is_candidate(self, identity: str) -> bool:
        """Return whether `identity` may send heartbeats at all."""
        return identity in self._candidates

    def heartbeat(self, identity: str, now: float) -> LeaseChange | None:
        """Take a heartbeat; return the change it causes. Raises KeyError for no candidate."""
        if identity not in self._candidates:
            raise KeyError(identity)
        change = self.judge(now)
        self._beats[identity] = now
        if self._holder:
            return change
        elected = self._elect(now)
        if elected is None:
            return change
        return LeaseChange(holder=elected.holder, lapsed=change.lapsed if change else "")

    def judge(self, now: float) -> LeaseChange | None:
        """Return what changed by the mere passing of time until `now`."""
        pause, self._judged = now - self._judged, now
        if pause > self._rules.lease_s * STALL_SHARE:
            self._forgive(now)
        if not self._holder:
            return self._elect(now)
        if self._live(self._holder, now):
            return None
        lapsed, self._holder = self._holder, ""
        self._later_from = now
        elected = self._elect(now)
        return LeaseChange(holder=elected.holder if elected else "", lapsed=lapsed)

    def deadline(self) -> float | None:
        """Return when the lease lapses unless a heartbeat comes; None when nobody holds it."""
        return self._beats[self._holder] + self._rules.lease_s if self._holder else None

    def _forgive(self, now: float) -> None:
        # While the judge itself stood still (stopped process, starved loop), heartbeats lay unread.
        if self._holder:
            self._beats[self._holder] = now
        else:
            self._later_from = max(self._later_from, now + self._rules.lease_s)

    def _elect(self, now: float) -> LeaseChange | None:
        later = self._rules.standby and now >= self._later_from
        for identity in self._candidates if later else self._candidates[:1]:
            if self._live(identity, now):
                self._holder = identity
                return LeaseChange(holder=identity)
        return None

    def _live(self, identity: str, now: float) -> bool:
        beat = self._beats.get(identity)
        return beat is not None and now - beat < self._rules.lease_s


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoss:
    """A lapse that a fresh room may have to answer: who lost the lease, and when (monotonic)."""

    identity: str
    at_s: float

    def is_over(self, holder: str) -> bool:
        """Return whether the lost holder has the lease again."""
        return holder == self.identity

    def calls_for_fresh_room(self, rules: LeaseRules, holder: str, now: float) -> bool:
        """Return whether the holder is lost for good: grace over, and others may have the lease."""
        return rules.standby and not self.is_over(holder) and now >= self.at_s + rules.grace_s


class RoomHealth:
    """Judges a room by its probes: `failures` in a row make it lost, one success makes it found."""

    def __init__(self, failures: int) -> None:
        """Start without any probe."""
        self._limit = failures
        self._in_a_row = 0

    def judge(self, found: bool) -> bool:
        """Take the outcome of a probe; return whether the room is lost now."""
        self._in_a_row = 0 if found else self._in_a_row + 1
        return self._in_a_row >= self._limit
