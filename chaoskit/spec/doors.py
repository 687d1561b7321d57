"""The experiment file as pydantic models; faults and checks bring their own parameters."""

import functools
import operator
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag

from chaoskit.checks.registry import KINDS as CHECKS
from chaoskit.engine.plan import ACTIONS
from chaoskit.faults.registry import KINDS as FAULTS
from chaoskit.faults.registry import fault_class
from chaoskit.model import BlastRadius, ClientRules, Mic, ReconnectRule, TargetKind, Verdict
from chaoskit.spec.derive import Door, derive
from chaoskit.spec.door_types import (
    Fraction,
    Moment,
    People,
    PositiveSeconds,
    Seconds,
    SomeNames,
    Whole,
)
from chaoskit.wire.directory import DirectoryConfig, Remedies

EXPERIMENT_FORMAT = "chaoskit.experiment/v1"
ROLES = ("host", "guest", "owner", "listener")
SHORT_GROUPS = {"host": "host", "guest": "guest", "owner": "owner", "listeners": "listener"}
"""Groups of the short form of `crowd`, with their roles."""
TARGET_KEYS = {
    TargetKind.LINK: "link",
    TargetKind.SERVICE: "service",
    TargetKind.PARTICIPANTS: "group",
}
FAULT_TAG, ACTION_TAG, CHECK_TAG = "fault=", "action=", "check="
SHORT_TAG, LONG_TAG = "crowd=short", "crowd=long"
PROFILE_NAME_TAG, PROFILE_TAG = "profile=name", "profile=mapping"
Role = Literal["host", "guest", "owner", "listener"]
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def _reconnect(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


if TYPE_CHECKING:
    # Doors that are derived at run time; to the type checker each is a door.
    ReconnectDoor: TypeAlias = Door
    ClientDoor: TypeAlias = Door
    BlastRadiusDoor: TypeAlias = Door
    RemediesDoor: TypeAlias = Door
    TimersDoor: TypeAlias = Door
else:
    ReconnectDoor = derive(ReconnectRule, name="Reconnect")
    ClientDoor = derive(
        ClientRules,
        name="Client",
        instead={"reconnect": Annotated[ReconnectDoor, BeforeValidator(_reconnect)]},
    )
    BlastRadiusDoor = derive(BlastRadius, name="BlastRadiusLimits")
    RemediesDoor = derive(Remedies, name="DirectoryRemedies")
    TimersDoor = derive(
        DirectoryConfig, name="DirectoryTimers", leave_out=("nodes", "remedies", "database")
    )


class GroupDoor(Door):
    """A group in the long form of `crowd`. `speaker`: its band in the beacon, 0 to 2."""

    name: Id
    role: Role
    count: People
    client: ClientDoor | None = None
    zone: str = "default"
    speaker: Whole | None = None
    candidate: bool | None = None


class ProfileDoor(Door):
    """Remedies and timers of the directory on top of a profile that has a file."""

    base: str = "as-it-happened"
    remedies: RemediesDoor | None = None
    timers: TimersDoor | None = None


class CheckCommon(Door):
    """What every check may say beside its own bounds."""

    name: Id | None = None
    of: str | None = None
    from_: Literal["effect", "heal"] | None = Field(None, alias="from")
    during: str | None = None
    members: SomeNames | None = None


class StepCommon(Door):
    """When a step of the method happens: exactly one of `at`, `when`, `after`."""

    id: Id | None = None
    at: Seconds | None = None
    when: Annotated[str, Field(pattern=r"^\s*[\w-]+\.\w+\s*>=\s*\d+\s*$")] | None = None
    after: str | None = None
    delay: Seconds | None = None


class FaultCommon(StepCommon):
    """A fault. Without `for` it lasts until the end of the recovery."""

    for_: PositiveSeconds | None = Field(None, alias="for")
    share: Fraction | None = None


class FreshRoomStep(StepCommon):
    """The operator opens a fresh room under an account."""

    action: Literal["fresh_room"]
    account: str
    node: str | None = None


class EndRoomStep(StepCommon):
    """The operator ends the current room."""

    action: Literal["end_room"]


class SegmentDoor(Door):
    """Programme: who is planned on air from when to when."""

    from_: Moment = Field("start", alias="from")
    until: Moment = "end"
    speakers: SomeNames


class MicDoor(Door):
    """Script: what a microphone really does from then on."""

    at: Moment
    group: str
    mic: Annotated[Mic, Field(strict=False)]


class AbortDoor(Door):
    """Stop the run when a live value is beyond a bound for so long."""

    check: Literal["join_success", "heard_ratio"]
    below: Fraction | None = None
    above: Fraction | None = None
    window: PositiveSeconds = 10.0
    for_: PositiveSeconds = Field(10.0, alias="for")
    members: SomeNames | None = None


class ControlDoor(Door):
    """The other half of the pair: the same experiment with changes must end in `expect`."""

    title: str
    set: Annotated[dict[str, Any], Field(min_length=1)]
    expect: Annotated[Verdict, Field(strict=False)] = Verdict.DEVIATED


def _step_tag(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    if "fault" in value:
        return f"{FAULT_TAG}{value['fault']}"
    return f"{ACTION_TAG}{value['action']}" if "action" in value else None


def _check_tag(value: Any) -> str | None:
    found = isinstance(value, dict) and "check" in value
    return f"{CHECK_TAG}{value['check']}" if found else None


def _crowd_tag(value: Any) -> str | None:
    return SHORT_TAG if isinstance(value, dict) else LONG_TAG if isinstance(value, list) else None


def _profile_tag(value: Any) -> str | None:
    if isinstance(value, str):
        return PROFILE_NAME_TAG
    return PROFILE_TAG if isinstance(value, dict) else None


def _fault_door(kind: str) -> Any:
    cls = fault_class(kind)
    base = type(
        f"{kind.title()}Base",
        (FaultCommon,),
        {
            "__annotations__": {"fault": Literal[kind], TARGET_KEYS[cls.acts_on]: SomeNames},
            "__module__": __name__,
            "__doc__": "A fault.",
        },
    )
    return derive(cls.params, name=f"{kind.title()}Step", base=base)


def _check_door(kind: str) -> Any:
    base = type(
        f"{kind}_base",
        (CheckCommon,),
        {
            "__annotations__": {"check": Literal[kind]},
            "__module__": __name__,
            "__doc__": "A check.",
        },
    )
    title = kind.title().replace("_", "")
    return derive(CHECKS[kind].params, name=f"{title}Check", base=base)


FAULT_DOORS: dict[str, type[Door]] = {kind: _fault_door(kind) for kind in FAULTS}
CHECK_DOORS: dict[str, type[Door]] = {kind: _check_door(kind) for kind in CHECKS}
ACTION_DOORS: dict[str, type[Door]] = {"fresh_room": FreshRoomStep, "end_room": EndRoomStep}
assert set(ACTION_DOORS) == set(ACTIONS)


def _union(doors: dict[str, type[Door]], tag: str) -> list[Any]:
    return [Annotated[door, Tag(f"{tag}{kind}")] for kind, door in doors.items()]


_STEPS = _union(FAULT_DOORS, FAULT_TAG) + _union(ACTION_DOORS, ACTION_TAG)
Step: Any = Annotated[functools.reduce(operator.or_, _STEPS), Discriminator(_step_tag)]
Check: Any = Annotated[
    functools.reduce(operator.or_, _union(CHECK_DOORS, CHECK_TAG)), Discriminator(_check_tag)
]
ShortCrowd = dict[str, People]
CrowdDoor: Any = Annotated[
    Annotated[ShortCrowd, Tag(SHORT_TAG)] | Annotated[list[GroupDoor], Tag(LONG_TAG)],
    Discriminator(_crowd_tag),
]
ProfileChoice: Any = Annotated[
    Annotated[str, Tag(PROFILE_NAME_TAG)] | Annotated[ProfileDoor, Tag(PROFILE_TAG)],
    Discriminator(_profile_tag),
]


class HypothesisDoor(Door):
    """What must be true: judged before anything is injected, where it can be, and at the end."""

    title: str
    checks: Annotated[list[Check], Field(min_length=1)]


class ExperimentDoor(Door):
    """An experiment file."""

    format: Literal["chaoskit.experiment/v1"]
    id: Id
    title: str
    stack: str = "embedded"
    crowd: CrowdDoor
    client: dict[str, ClientDoor] = Field(default_factory=dict)
    profile: ProfileChoice = "as-it-happened"
    programme: list[SegmentDoor] | None = None
    script: list[MicDoor] = Field(default_factory=list)
    hypothesis: HypothesisDoor
    method: list[Step] = Field(default_factory=list)
    blast_radius: BlastRadiusDoor | None = None
    abort: list[AbortDoor] = Field(default_factory=list)
    seed: Whole = 1
    settle: Seconds = 3.0
    gate: Seconds = 10.0
    recovery: Seconds | None = None
    steady_again: Seconds = 10.0
    allow_short_gate: bool = False
    control: ControlDoor | None = None
