"""The replay map: how each entry of a record is executed. Data only; `compiling` makes the run.

Times that name a moment of the incident end in `_s` and are incident time (seconds from the
scheduled start); durations of acts, gate and closing steady state are run time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from chaoskit.model import CheckSpec, ClientRules, Json, Mic, Profile, Target
from chaoskit.replay.pace import Act, Timer


class Basis(StrEnum):
    """scheduled: we set it; emergent: the stack did it; narrative: shown only."""

    SCHEDULED = "scheduled"
    EMERGENT = "emergent"
    NARRATIVE = "narrative"


class Status(StrEnum):
    """executed: it happens in the run; narrative: shown only; not_yet: not done in this version."""

    EXECUTED = "executed"
    NARRATIVE = "narrative"
    NOT_YET = "not_yet"


class Compare(StrEnum):
    """What of the record a measured row must match besides having happened, in the given order."""

    HAPPENED = "happened"
    AT = "at"
    FIGURE = "figure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A group of the crowd. Arrivals are spread evenly from `arrive_s` to `arrive_until_s`.

    `count` None: the audience, whose size the replay sets.
    """

    group: str
    role: str
    arrive_s: float
    arrive_until_s: float
    count: int | None = 1
    client: ClientRules = field(default_factory=ClientRules)
    speaker: int | None = None
    candidate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """How many real listeners there are by default, and for which figure of the record."""

    count: int
    figure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnAir:
    """Programme: who is planned on air from when to when."""

    from_s: float
    until_s: float
    speakers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MicLine:
    """Script: what a microphone really does from `at_s` on."""

    at_s: float
    group: str
    mic: Mic


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFault:
    """A fault from one moment of the incident to another."""

    id: str
    kind: str
    target: Target
    from_s: float
    until_s: float
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapAction:
    """An operator's act at the directory."""

    id: str
    kind: str
    at_s: float
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the fidelity table: an entry of the record, how it is executed, how it is
    measured.

    `at_s`: when the entry is shown. `how`: how it is executed, or why not. `measure` with its
    `params`: kept by `measures`. An entry may have several rows, told apart by `title`.
    """

    event: str
    title: str
    at_s: float
    basis: Basis
    status: Status
    how: str
    measure: str = ""
    params: Mapping[str, Json] = field(default_factory=dict)
    compare: Compare = Compare.HAPPENED


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayMap:
    """Everything that turns one record into one run.

    `account`: under which the first room runs; `standby_account`: of an automatic fresh room.
    `assumed`: what the record does not say.
    """

    incident: str
    record: str
    title: str
    stack: str
    begins_s: float
    acts: tuple[Act, ...]
    audience: Audience
    parties: tuple[Party, ...]
    programme: tuple[OnAir, ...]
    script: tuple[MicLine, ...]
    faults: tuple[MapFault, ...]
    actions: tuple[MapAction, ...]
    rows: tuple[Row, ...]
    profile: Profile
    gate_at_s: float
    gate_s: float
    checks: tuple[CheckSpec, ...] = ()
    hypothesis: str = ""
    timers: tuple[Timer, ...] = ()
    account: str = "first"
    standby_account: str = "standby"
    assumed: tuple[str, ...] = ()
    blast_roles: tuple[str, ...] = ()
    steady_again_s: float = 10.0
    seed: int = 1
