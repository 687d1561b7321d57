"""From validated doors to the values of the model: groups, steps, checks, programme."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from chaoskit.checks.registry import check_class
from chaoskit.faults.registry import fault_class
from chaoskit.model import (
    AbortCondition,
    ActionSpec,
    After,
    At,
    CheckSpec,
    ClientRules,
    FaultSpec,
    Group,
    MicCue,
    ReconnectRule,
    Segment,
    Target,
    Trigger,
    When,
)
from chaoskit.spec.derive import Door, build
from chaoskit.spec.doors import (
    SHORT_GROUPS,
    TARGET_KEYS,
    AbortDoor,
    CheckCommon,
    FaultCommon,
    GroupDoor,
    MicDoor,
    SegmentDoor,
    StepCommon,
)

BANDS = {"host": 0, "guest": 1, "owner": 2}
"""Beacon bands of the roles that speak."""
CANDIDATES = ("host", "owner")
"""Roles that may hold the host lease, the host first."""


def groups_of(
    crowd: Mapping[str, int] | Sequence[GroupDoor], clients: Mapping[str, Door]
) -> tuple[Group, ...]:
    """Return the groups with their numbers, arrivals not yet spread.

    Host and owner come first among the numbers, so that lease candidates stand in their order.
    """
    doors: list[tuple[str, str, int, GroupDoor | None]]
    if isinstance(crowd, Mapping):
        # An unknown name is reported by its own check; here it only must not get in the way.
        roles = {name: SHORT_GROUPS.get(name, "listener") for name in crowd}
        doors = [(name, roles[name], count, None) for name, count in crowd.items()]
    else:
        doors = [(g.name, g.role, g.count, g) for g in crowd]
    groups, first = list[Group](), 0
    for name, role, count, door in doors:
        rules = clients.get(name) or (door.client if door else None)
        said = door.speaker if door else None
        candidate = door.candidate if door else None
        groups.append(
            Group(
                name=name,
                role=role,
                count=count,
                first=first,
                client=client_rules(rules) if rules else ClientRules(),
                zone=door.zone if door else "default",
                speaker=BANDS.get(role) if said is None else said,
                candidate=role in CANDIDATES if candidate is None else candidate,
            )
        )
        first += count
    return tuple(groups)


def client_rules(door: Door) -> ClientRules:
    """Return client rules; a reconnect rule keeps the defaults that it does not name."""
    given = door.given()
    reconnect = given.get("reconnect")
    rule = build(ReconnectRule, reconnect) if isinstance(reconnect, Door) else ReconnectRule()
    return build(ClientRules, door, reconnect=rule)


def fault_of(door: FaultCommon) -> FaultSpec:
    """Return a fault as written, its own parameters in the units of its class."""
    kind = str(door.fault)  # type: ignore[attr-defined]
    acts_on = fault_class(kind).acts_on
    patterns = getattr(door, TARGET_KEYS[acts_on])
    return FaultSpec(
        id=door.id or kind,
        kind=kind,
        target=Target(kind=acts_on, patterns=tuple(patterns)),
        trigger=trigger_of(door),
        params=_own(door, FaultCommon, ("fault", TARGET_KEYS[acts_on])),
        duration_s=door.for_,
        share=door.share,
    )


def action_of(door: StepCommon) -> ActionSpec:
    """Return an operator's act as written."""
    kind = str(door.action)  # type: ignore[attr-defined]
    return ActionSpec(
        id=door.id or kind.replace("_", "-"),
        kind=kind,
        trigger=trigger_of(door),
        params=_own(door, StepCommon, ("action",)),
    )


def trigger_of(door: StepCommon) -> Trigger:
    """Return the trigger of a step. Raises ValueError when it has none."""
    if door.at is not None:
        return At(at_s=door.at)
    if door.when is not None:
        fact, _, at_least = door.when.partition(">=")
        return When(fact=fact.strip(), at_least=float(at_least))
    if door.after is not None:
        return After(step=door.after, delay_s=door.delay or 0.0)
    raise ValueError("a step needs a trigger")


def checks_of(doors: Sequence[CheckCommon]) -> tuple[CheckSpec, ...]:
    """Return checks as written, each with a name of its own and the defaults of its kind."""
    names: dict[str, int] = {}
    found = []
    for door in doors:
        kind = str(door.check)  # type: ignore[attr-defined]
        cls = check_class(kind)
        name = door.name or kind
        names[name] = names.get(name, 0) + 1
        found.append(
            CheckSpec(
                name=name if names[name] == 1 else f"{name}-{names[name]}",
                kind=kind,
                params=_own(door, CheckCommon, ("check",)),
                of=door.of,
                from_=door.from_ or "effect",
                during=door.during or cls.during,
                members=door.members or cls.population,
            )
        )
    return tuple(found)


def abort_of(door: AbortDoor) -> AbortCondition:
    """Return an abort condition as written."""
    cls = check_class(door.check)
    check = CheckSpec(name=door.check, kind=door.check, members=door.members or cls.population)
    return AbortCondition(
        check=check, below=door.below, above=door.above, window_s=door.window, for_s=door.for_
    )


def segment_of(door: SegmentDoor, *, zero_s: float, end_s: float) -> Segment:
    """Return a stretch of the programme in run time, within [0, end_s]."""
    return Segment(
        from_s=moment_s(door.from_, zero_s=zero_s, end_s=end_s),
        until_s=moment_s(door.until, zero_s=zero_s, end_s=end_s),
        speakers=door.speakers,
    )


def mic_of(door: MicDoor, *, zero_s: float, end_s: float) -> MicCue:
    """Return a line of the script in run time."""
    return MicCue(
        at_s=moment_s(door.at, zero_s=zero_s, end_s=end_s), group=door.group, mic=door.mic
    )


def moment_s(moment: float | str, *, zero_s: float, end_s: float) -> float:
    """Return run time of `start`, `end`, or an offset from the method's zero, within the run."""
    if moment == "start":
        return 0.0
    if moment == "end":
        return end_s
    return round(min(max(zero_s + float(moment), 0.0), end_s), 6)


def _own(door: Door, common: type[Door], also: tuple[str, ...]) -> dict[str, Any]:
    left_out = {*common.model_fields, *also}
    return {
        name: str(value) if isinstance(value, StrEnum) else value
        for name, value in door.given().items()
        if name not in left_out and value is not None
    }
