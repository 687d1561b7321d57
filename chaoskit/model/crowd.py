"""Who takes part: groups, clients and their rules, microphones, the programme.

Standard library only. All times are seconds; a field that ends in `_s` and names a moment is *run
time* (seconds since the run's origin) unless its docstring says monotonic.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class ReconnectKind(StrEnum):
    """How a client waits between tries to come back."""

    NONE = "none"
    FIXED = "fixed"
    EXPONENTIAL = "exponential"
    FULL_JITTER = "full_jitter"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectRule:
    """Wait before try n (0-based): base; base*2^n up to cap; or uniform(0, that) for full jitter.

    `attempts` None = for ever. Source of full jitter: AWS architecture blog, exponential backoff.
    """

    kind: ReconnectKind = ReconnectKind.FULL_JITTER
    base_s: float = 0.5
    cap_s: float = 5.0
    attempts: int | None = None


class FindKind(StrEnum):
    """How a client learns that its event moved to another room."""

    WATCH = "watch"
    POLL = "poll"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRules:
    """What the product's client does by itself. Nothing in chaoskit helps it beyond this.

    `poll_s`: period of the state poll (each client starts at a random phase).
    `join_timeout_s`: one whole join attempt. `media_timeout_s`: so long without a
    datagram while joined makes the client rejoin (None = it stays). `heartbeat_s`: period of the
    lease heartbeat of host candidates.
    """

    reconnect: ReconnectRule = field(default_factory=ReconnectRule)
    find: FindKind = FindKind.WATCH
    poll_s: float = 5.0
    join_timeout_s: float = 5.0
    media_timeout_s: float | None = None
    heartbeat_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Participants that share role, client rules and zone: numbers first..first+count-1.

    `speaker`: beacon band 0..2 when its (single) member speaks, else None.
    `candidate`: sends the host lease heartbeat. `arrive_from_s`, `arrive_over_s`: arrivals spread
    evenly over that span of run time. `stay_s`: each leaves so long after its arrival; for good, or
    to arrive again every `every_s` after its first arrival until the run ends.
    """

    name: str
    role: str
    count: int
    first: int
    client: ClientRules = field(default_factory=ClientRules)
    zone: str = "default"
    speaker: int | None = None
    candidate: bool = False
    arrive_from_s: float = 0.0
    arrive_over_s: float = 0.0
    stay_s: float | None = None
    every_s: float | None = None

    def members(self) -> range:
        """Return the participant numbers of this group."""
        return range(self.first, self.first + self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """All groups of a run."""

    groups: tuple[Group, ...]

    def group_of(self, participant: int) -> Group:
        """Return the group that owns `participant`. Raises KeyError when none does."""
        for group in self.groups:
            if participant in group.members():
                return group
        raise KeyError(participant)

    def members(self, names: Iterable[str]) -> tuple[int, ...]:
        """Return the participants of every group whose name or role is in `names`, ascending."""
        wanted = set(names)
        return tuple(
            k for g in self.groups if g.name in wanted or g.role in wanted for k in g.members()
        )


class Mic(StrEnum):
    """What a speaker's microphone really does."""

    BEACON = "beacon"
    SILENCE = "silence"
    PRIVATE = "private"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MicCue:
    """From `at_s` on the microphone of group `group` is in state `mic`."""

    at_s: float
    group: str
    mic: Mic


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Programme: from `from_s` to `until_s` every group in `speakers` is planned on air.

    A listener hears the programme when it hears any one of them.
    """

    from_s: float
    until_s: float
    speakers: tuple[str, ...]
