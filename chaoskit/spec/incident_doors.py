"""Incident records and replay maps as pydantic models. Times of the incident may be negative."""

import functools
import operator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from chaoskit.faults.registry import KINDS as FAULTS
from chaoskit.faults.registry import fault_class
from chaoskit.model import Mic
from chaoskit.replay.mapping import Basis, Compare, Status
from chaoskit.replay.record import Certainty, FigureKind, Telling
from chaoskit.spec.derive import Door, derive
from chaoskit.spec.door_types import SIGNED_PATTERN, Names, People, PositiveSeconds, Whole
from chaoskit.spec.doors import (
    FAULT_TAG,
    TARGET_KEYS,
    Check,
    ClientDoor,
    Id,
    ProfileChoice,
    Role,
)
from chaoskit.spec.units import parse_duration_s

RECORD_FORMAT = "chaoskit.incident/v1"
MAP_FORMAT = "chaoskit.replay/v1"
EventId = Annotated[str, Field(pattern=r"^[A-Z][0-9]{2,3}$")]


def _incident_s(value: Any) -> float:
    return parse_duration_s(value, signed=True)


def _amount(value: Any) -> float | str:
    """A number as it is; a duration is kept as text until its unit is known."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("a number or a duration is expected here")
    if isinstance(value, str):
        parse_duration_s(value, signed=True)
        return value
    return float(value)


IncidentTime = Annotated[
    float,
    BeforeValidator(_incident_s),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": SIGNED_PATTERN,
            "description": "time from the scheduled start: 30m, -7m20s",
        }
    ),
]
Amount = Annotated[
    float | str,
    BeforeValidator(_amount),
    WithJsonSchema({"type": ["string", "number"], "description": "a number or a duration: 4m30s"}),
]


class WhenDoor(Door):
    """When an entry happened: a range of incident time, and how sure it is."""

    from_: IncidentTime = Field(alias="from")
    until: IncidentTime
    certainty: Annotated[Certainty, Field(strict=False)]


class FigureDoor(Door):
    """A number of an entry with its range. Without `unit` it is a duration."""

    value: Amount
    range: Annotated[list[Amount], Field(min_length=2, max_length=2)]
    kind: Annotated[FigureKind, Field(strict=False)]
    unit: str | None = None
    text: str = ""
    since: EventId | None = None
    certainty: Annotated[Certainty, Field(strict=False)] | None = None


class EventDoor(Door):
    """One entry of a record."""

    id: EventId
    lane: str
    actor: str
    telling: Annotated[Telling, Field(strict=False)]
    text: str
    certainty: Annotated[Certainty, Field(strict=False)]
    source: str
    at: WhenDoor | None = None
    after: Names = ()
    figure: FigureDoor | None = None


class SourceDoor(Door):
    """Where a record comes from."""

    key: str
    title: str
    note: str = ""


class RecordDoor(Door):
    """A record file."""

    format: Literal["chaoskit.incident/v1"]
    incident: Id
    record: Id
    title: str
    sources: Annotated[list[SourceDoor], Field(min_length=1)]
    left_out: list[str] = Field(default_factory=list)
    events: Annotated[list[EventDoor], Field(min_length=1)]


class ActDoor(Door):
    """A stretch of the incident up to `until`, played in `run`."""

    act: str
    until: IncidentTime
    run: PositiveSeconds


class TimerDoor(Door):
    """A timer of a mechanism: real seconds, pending from an incident time on."""

    name: str
    value: PositiveSeconds
    from_: IncidentTime = Field(alias="from")
    repeats: Annotated[int, Field(ge=1)] = 1


class AudienceDoor(Door):
    """How many real listeners there are, and for which figure of the record."""

    count: People
    figure: EventId


class PartyDoor(Door):
    """A group of the crowd; the one without `count` is the audience."""

    group: Id
    role: Role
    arrives: IncidentTime
    arrives_until: IncidentTime | None = None
    count: People | None = None
    speaker: Whole | None = None
    candidate: bool = False


class OnAirDoor(Door):
    """Programme: who is planned on air from when to when."""

    from_: IncidentTime = Field(alias="from")
    until: IncidentTime
    speakers: Names


class MicLineDoor(Door):
    """Script: what a microphone really does from then on."""

    at: IncidentTime
    group: str
    mic: Annotated[Mic, Field(strict=False)]


class MapFaultBase(Door):
    """A fault from one moment of the incident to another."""

    id: Id
    from_: IncidentTime = Field(alias="from")
    until: IncidentTime


class MapActionDoor(Door):
    """An operator's act at the directory."""

    id: Id
    action: Literal["fresh_room", "end_room"]
    at: IncidentTime
    account: str | None = None
    node: str | None = None


class GateDoor(Door):
    """The steady state before anything is injected: from an incident time on, so long."""

    from_: IncidentTime = Field(alias="from")
    run: PositiveSeconds


class RowDoor(Door):
    """How one entry of the record is executed and measured."""

    event: EventId
    title: str
    at: IncidentTime
    basis: Annotated[Basis, Field(strict=False)]
    status: Annotated[Status, Field(strict=False)]
    how: str
    measure: dict[str, Any] | None = None
    compare: Annotated[Compare, Field(strict=False)] = Compare.HAPPENED


class MapHypothesisDoor(Door):
    """What is checked besides the record; the gate judges those that it can."""

    title: str
    checks: Annotated[list[Check], Field(min_length=1)]


def _fault_door(kind: str) -> type[Door]:
    cls = fault_class(kind)
    base = type(
        f"{kind.title()}MapBase",
        (MapFaultBase,),
        {
            "__annotations__": {"fault": Literal[kind], TARGET_KEYS[cls.acts_on]: Names},
            "__module__": __name__,
            "__doc__": "A fault of a replay.",
        },
    )
    return derive(cls.params, name=f"{kind.title()}MapFault", base=base)


def _fault_tag(value: Any) -> str | None:
    return f"{FAULT_TAG}{value.get('fault')}" if isinstance(value, dict) else None


MAP_FAULT_DOORS: dict[str, type[Door]] = {kind: _fault_door(kind) for kind in FAULTS}
_TAGGED = [Annotated[d, Tag(f"{FAULT_TAG}{kind}")] for kind, d in MAP_FAULT_DOORS.items()]
MapFault: Any = Annotated[functools.reduce(operator.or_, _TAGGED), Discriminator(_fault_tag)]


class ReplayMapDoor(Door):
    """A replay map file."""

    format: Literal["chaoskit.replay/v1"]
    incident: Id
    record: Id
    title: str
    stack: str = "embedded"
    profile: ProfileChoice = "as-it-happened"
    account: str | None = None
    standby_account: str | None = None
    seed: Whole = 1
    begins: IncidentTime
    pace: Annotated[list[ActDoor], Field(min_length=1)]
    timers: list[TimerDoor] = Field(default_factory=list)
    audience: AudienceDoor
    crowd: Annotated[list[PartyDoor], Field(min_length=1)]
    clients: dict[str, ClientDoor] = Field(default_factory=dict)
    programme: Annotated[list[OnAirDoor], Field(min_length=1)]
    script: list[MicLineDoor] = Field(default_factory=list)
    faults: list[MapFault] = Field(default_factory=list)
    actions: list[MapActionDoor] = Field(default_factory=list)
    touches: list[Role] = Field(default_factory=list)
    gate: GateDoor
    steady_again: PositiveSeconds
    hypothesis: MapHypothesisDoor
    assumed: list[str] = Field(default_factory=list)
    rows: Annotated[list[RowDoor], Field(min_length=1)]
