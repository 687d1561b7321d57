"""What a run would do, and why it may not: targets, schedule, undo list, reach, refusals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from chaoskit.engine.schedule import Window, most_at_once, windows_of
from chaoskit.errors import PlanRefused
from chaoskit.faults.protocol import ParamError, Preview
from chaoskit.faults.registry import parse_fault
from chaoskit.faults.targets import Resolved, by_group, not_allowed, outside, resolve, touched
from chaoskit.model import (
    ActionSpec,
    After,
    At,
    Experiment,
    FaultSpec,
    LinkSpec,
    Permits,
    Trigger,
    When,
)
from chaoskit.ports import Tools

PORTS: frozenset[str] = frozenset(
    ("proxy", "services", "control", "facts", "observer", "directory")
)
"""Names of the optional ports of `Tools`; a plan on paper says which of them the run will have."""
ACTIONS: tuple[str, ...] = ("fresh_room", "end_room")
"""What an operator can do at the directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step of the method. Times are seconds after the method's zero.

    `from_s` None: unknown, it waits for a fact; `until_s` None: an action, or not known either.
    `targets`: names of links, services or participants. `touched`: participants in reach.
    `preview` None: an action.
    """

    id: str
    kind: str
    trigger: str
    targets: tuple[str, ...]
    from_s: float | None
    until_s: float | None
    preview: Preview | None
    touched: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run on paper. `reach`: participants that any fault can touch; `crowd_size`: of how many.

    `reach_by_group`: the same by group.
    """

    experiment: str
    steps: tuple[PlannedStep, ...]
    reach: tuple[int, ...]
    reach_by_group: Mapping[str, int]
    crowd_size: int


def plan_preview(experiment: Experiment, tools: Tools) -> Plan:
    """Return the plan of a run with these tools. Raises PlanRefused with every reason at once."""
    have = frozenset(name for name in PORTS if getattr(tools, name) is not None)
    services = tools.services.services() if tools.services is not None else ()
    return make_plan(
        experiment, links=tools.links, services=services, have=have, permits=tools.permits
    )


def make_plan(
    experiment: Experiment,
    *,
    links: Sequence[LinkSpec],
    services: Sequence[str],
    have: frozenset[str] = PORTS,
    permits: Permits | None = None,
) -> Plan:
    """Return the plan of a run that has these links and services and the ports `have`.

    `permits`: what faults may act on (None = on everything). Nothing needs to be running. Raises
    PlanRefused with every reason at once, one a line.
    """
    try:
        planned = windows_of(experiment)
    except ValueError as error:
        raise PlanRefused(str(error)) from error
    reasons: list[str] = []
    steps: list[PlannedStep] = []
    targets: dict[str, Resolved] = {}
    exclusive: dict[str, str] = {}
    for spec in experiment.method:
        try:
            fault = parse_fault(timed(spec, planned[spec.id]))
            _need(fault.kind, fault.needs, have)
            resolved = resolve(
                spec.target,
                crowd=experiment.crowd,
                links=links,
                services=services,
                permits=permits,
            )
            preview = fault.preview(resolved)
        except (ParamError, PlanRefused) as error:
            reasons.append(f"{spec.id}: {error}")
            continue
        reasons += [f"{spec.id}: {r}" for r in _outside(spec, resolved, experiment, planned)]
        if permits is not None:
            reasons += [f"{spec.id}: {r}" for r in not_allowed(spec.kind, resolved, permits)]
        targets[spec.id] = resolved
        if fault.exclusive:
            exclusive[spec.id] = fault.kind
        steps.append(_step(spec, planned[spec.id], experiment, links, resolved, preview))
    for action in experiment.actions:
        try:
            _check_action(action, have)
        except PlanRefused as error:
            reasons.append(f"{action.id}: {error}")
            continue
        steps.append(_action_step(action, planned[action.id], experiment))
    reasons += _clashes(exclusive, targets, planned)
    reasons += _too_many(experiment, planned)
    if reasons:
        raise PlanRefused("\n".join(reasons), hint="nothing was started; change the experiment")
    reach = tuple(sorted({k for step in steps for k in step.touched}))
    return Plan(
        experiment=experiment.id,
        steps=tuple(sorted(steps, key=lambda s: (s.from_s is None, s.from_s or 0.0))),
        reach=reach,
        reach_by_group=by_group(reach, experiment.crowd),
        crowd_size=sum(group.count for group in experiment.crowd.groups),
    )


def timed(spec: FaultSpec, window: Window) -> FaultSpec:
    """Return `spec` with the duration that is planned for it, for its own time limit."""
    if spec.duration_s is not None:
        return spec
    from_s = window.latest_from_s if window.from_s is None else window.from_s
    return replace(spec, duration_s=max(window.until_s - from_s, 0.001))


def trigger_text(trigger: Trigger) -> str:
    """Return a trigger in words."""
    match trigger:
        case At(at_s=at_s):
            return f"at {at_s:g} s"
        case When(fact=fact, at_least=at_least):
            return f"when {fact} >= {at_least:g}"
        case After(step=step, delay_s=delay_s):
            return f"{delay_s:g} s after {step}" if delay_s else f"after {step}"


def _need(kind: str, needs: Sequence[str], have: frozenset[str]) -> None:
    missing = [name for name in needs if name not in have]
    if missing:
        raise PlanRefused(f"{kind} has no mechanism in this run: it needs {' and '.join(missing)}")


def _check_action(action: ActionSpec, have: frozenset[str]) -> None:
    if action.kind not in ACTIONS:
        raise PlanRefused(f'unknown action "{action.kind}"')
    _need(action.kind, ("directory",), have)


def _outside(
    spec: FaultSpec, resolved: Resolved, experiment: Experiment, planned: Mapping[str, Window]
) -> tuple[str, ...]:
    return outside(
        resolved,
        experiment.blast_radius,
        crowd=experiment.crowd,
        duration_s=timed(spec, planned[spec.id]).duration_s,
    )


def _clashes(
    exclusive: Mapping[str, str], targets: Mapping[str, Resolved], planned: Mapping[str, Window]
) -> list[str]:
    clashes = []
    for first, second in combinations(exclusive, 2):
        if exclusive[first] != exclusive[second] or not planned[first].overlaps(planned[second]):
            continue
        shared = set(targets[first].names()) & set(targets[second].names())
        if shared:
            names = ", ".join(sorted(shared))
            clashes.append(f"{first} and {second} both {exclusive[first]} {names} at one time")
    return clashes


def _too_many(experiment: Experiment, planned: Mapping[str, Window]) -> list[str]:
    most = most_at_once(planned, [spec.id for spec in experiment.method])
    allowed = experiment.blast_radius.max_faults
    if len(most) <= allowed:
        return []
    at_once = f"{len(most)} faults may be active at one time ({', '.join(most)})"
    return [f"{at_once}; the blast radius allows {allowed}"]


def _step(
    spec: FaultSpec,
    window: Window,
    experiment: Experiment,
    links: Sequence[LinkSpec],
    resolved: Resolved,
    preview: Preview,
) -> PlannedStep:
    zero_s = experiment.method_zero_s
    return PlannedStep(
        id=spec.id,
        kind=spec.kind,
        trigger=trigger_text(spec.trigger),
        targets=resolved.names(),
        from_s=None if window.from_s is None else window.from_s - zero_s,
        until_s=None if window.from_s is None else window.until_s - zero_s,
        preview=preview,
        touched=touched(resolved, crowd=experiment.crowd, links=links),
    )


def _action_step(action: ActionSpec, window: Window, experiment: Experiment) -> PlannedStep:
    from_s = None if window.from_s is None else window.from_s - experiment.method_zero_s
    return PlannedStep(
        id=action.id,
        kind=action.kind,
        trigger=trigger_text(action.trigger),
        targets=("directory",),
        from_s=from_s,
        until_s=None,
        preview=None,
    )
