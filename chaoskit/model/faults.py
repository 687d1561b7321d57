"""What is done to a run: targets, triggers, faults, actions, their undo and effect.

Standard library only. All times are seconds; a field that ends in `_s` and names a moment is *run
time* (seconds since the run's origin) unless its docstring says monotonic.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from chaoskit.model.terms import Json


class TargetKind(StrEnum):
    """What a fault acts on."""

    LINK = "link"
    SERVICE = "service"
    PARTICIPANTS = "participants"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Names or globs of links or services, or group names."""

    kind: TargetKind
    patterns: tuple[str, ...]

    def matches(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of `names` that any pattern matches, in their order."""
        return tuple(n for n in names if any(fnmatchcase(n, p) for p in self.patterns))


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Trigger: seconds after the method's zero (end of the gate; in a replay the run's origin)."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Trigger: when the crowd's count `fact` (e.g. `listeners.joined`) is at least `at_least`."""

    fact: str
    at_least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """Trigger: `delay_s` after step `step` was healed (or done)."""

    step: str
    delay_s: float = 0.0


Trigger = At | When | After


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSpec:
    """One fault as written: kind, target, parameters, trigger, duration (None = until recovery)."""

    id: str
    kind: str
    target: Target
    trigger: Trigger
    params: Mapping[str, Json] = field(default_factory=dict)
    duration_s: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpec:
    """A step that is no fault: an operator's act at the directory (`fresh_room`, `end_room`)."""

    id: str
    kind: str
    trigger: Trigger
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """A line of the record shown at its run time. `status`: executed | narrative | not_yet."""

    at_s: float
    event: str
    text: str
    status: str
    basis: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastRadius:
    """What the method may touch. Empty tuples allow nothing of that kind."""

    roles: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    max_faults: int = 1
    max_duration_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """How to heal one fault, as data: names we chose, prior state; journaled before injection."""

    fault_id: str
    kind: str
    handle: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an independent witness saw of a fault. `affected`/`targeted` count units (see `unit`).

    `measures`: numbers that the witness saw, e.g. {"connections_lost": 1}. `first_s`: run time of
    the first effect (proxy's or kernel's stamp), None when none was seen.
    """

    measures: Mapping[str, float]
    witness: str
    affected: int
    targeted: int
    unit: str = "links"
    first_s: float | None = None

    @property
    def share(self) -> float:
        """Affected over targeted; 0.0 when nothing was targeted."""
        return self.affected / self.targeted if self.targeted else 0.0
