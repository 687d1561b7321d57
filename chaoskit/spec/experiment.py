"""Experiment files: YAML → model.Experiment, every error at once with its place."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from chaoskit.checks.judging import is_for_gate
from chaoskit.checks.registry import check_class
from chaoskit.data import experiments_dir
from chaoskit.engine.live import population
from chaoskit.engine.schedule import Window, most_at_once, windows_of
from chaoskit.errors import InvalidInput, PlanRefused
from chaoskit.faults.registry import parse_fault
from chaoskit.faults.targets import outside, resolve
from chaoskit.model import (
    BlastRadius,
    CheckSpec,
    Control,
    Crowd,
    Experiment,
    FaultSpec,
    Group,
    Hypothesis,
    Profile,
    Stack,
)
from chaoskit.spec.control import changed
from chaoskit.spec.derive import build, file_key
from chaoskit.spec.door_types import MOST_PARTICIPANTS
from chaoskit.spec.doors import ExperimentDoor, FaultCommon
from chaoskit.spec.messages import validate
from chaoskit.spec.names import NameCheck
from chaoskit.spec.parts import (
    abort_of,
    action_of,
    checks_of,
    fault_of,
    groups_of,
    mic_of,
    segment_of,
)
from chaoskit.spec.per_stack import choose
from chaoskit.spec.profile import resolve_profile
from chaoskit.spec.stack import KNOWN_STACKS, load_stack, stack_names
from chaoskit.spec.timeline import (
    SHORTEST_GATE_S,
    default_programme,
    lay_out,
    script_of,
    spread_arrivals,
)
from chaoskit.spec.yaml_lines import (
    Finding,
    Where,
    YamlDocument,
    load_yaml,
    nearest,
    raise_findings,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a command line changes in a file; None = as written."""

    stack: str | None = None
    profile: str | None = None
    listeners: int | None = None
    seed: int | None = None


def experiment_names() -> tuple[str, ...]:
    """Return the ids of the experiments that come with chaoskit."""
    return tuple(sorted(p.stem for p in experiments_dir().glob("*.yaml")))


def find_experiment(name: str) -> Path:
    """Return the file of an experiment, given by path or by id. Raises InvalidInput."""
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir() and name not in experiment_names():
        raise InvalidInput(f"{name}: is a directory, not an experiment file")
    if path.exists() and name not in experiment_names():
        raise InvalidInput(f"{name}: is not a regular file")
    if path.suffix in (".yaml", ".yml") or "/" in name:
        raise InvalidInput(f"{name}: there is no such file")
    if name not in experiment_names():
        known = experiment_names()
        raise InvalidInput(
            f'unknown experiment "{name}"{nearest(name, known)}',
            hint="chaoskit list experiments shows those that come with it; a path works too",
        )
    return experiments_dir() / f"{name}.yaml"


def load_experiment(
    path: Path, *, overrides: Overrides | None = None, control: bool = False
) -> Experiment:
    """Return the experiment of a file; with `control`, the other half of its pair.

    The control is validated in any case. Raises InvalidInput with every finding, or PlanRefused
    when the file is well formed and all findings are refusals (outside the blast radius, a glob
    without a match, not allowed by the stack).
    """
    document = _overridden(load_yaml(path), overrides or Overrides())
    experiment = _experiment(document)
    other = _control(document, experiment)
    if not control:
        return experiment
    if other is None:
        raise InvalidInput(f"{path}: the experiment has no control")
    return other


def _control(document: YamlDocument, experiment: Experiment) -> Experiment | None:
    if experiment.control is None:
        return None
    other = _experiment(changed(document))
    if other == replace(experiment, control=None):
        raise_findings([document.finding(("control", "set"), "the control changes nothing")])
    title = experiment.control.title
    expect = experiment.control.expect
    return replace(other, id=f"{experiment.id}-control", title=title, control=None, expect=expect)


def _overridden(document: YamlDocument, overrides: Overrides) -> YamlDocument:
    if not isinstance(document.value, dict):
        return document
    for key in ("stack", "profile", "seed"):
        value = getattr(overrides, key)
        if value is not None:
            document = document.replaced((key,), value, (key,))
    if overrides.listeners is not None:
        crowd = document.value.get("crowd")
        where: Where = ("crowd", "listeners")
        for i, group in enumerate(crowd if isinstance(crowd, list) else ()):
            if isinstance(group, dict) and group.get("role") == "listener":
                where = ("crowd", i, "count")
                break
        document = document.replaced(where, overrides.listeners, where)
    return document


def _experiment(document: YamlDocument) -> Experiment:
    stack, findings = _stack(document)
    document, more = choose(document, stack.id if stack else "", (*KNOWN_STACKS, *stack_names()))
    door, wrong = validate(ExperimentDoor, document)
    findings += [*more, *wrong, *NameCheck(document, stack).run()]
    if door is not None:
        findings += _amounts(door, document)
    if door is None or stack is None or any(not f.refusal for f in findings):
        raise_findings(findings)
    assert door is not None
    assert stack is not None
    experiment, wrong = _built(door, document, stack)
    findings += wrong
    if not wrong:
        findings += _limits(experiment, document, stack)
    raise_findings(findings)
    return experiment


def _stack(document: YamlDocument) -> tuple[Stack | None, list[Finding]]:
    root = document.value if isinstance(document.value, dict) else {}
    name = root.get("stack", "embedded")
    if not isinstance(name, str):
        return None, []
    try:
        return load_stack(name), []
    except FileNotFoundError:
        known = stack_names()
        later = " (not in this version)" if name in KNOWN_STACKS else nearest(name, known)
        message = f'unknown stack "{name}"{later}'
        return None, [document.finding(("stack",), message)]


def _amounts(door: ExperimentDoor, document: YamlDocument) -> list[Finding]:
    """Numbers that are too large or too small together."""
    found: list[Finding] = []
    groups = groups_of(door.crowd, door.client)
    total = sum(group.count for group in groups)
    if total > MOST_PARTICIPANTS:
        message = f"{total} participants; at most {MOST_PARTICIPANTS} fit"
        found.append(document.finding(("crowd",), message))
    bands: dict[int, str] = {}
    for i, group in enumerate(groups):
        where: Where = ("crowd", group.name)
        if isinstance(document.value["crowd"], list):
            where = ("crowd", i)
        if group.speaker is None:
            continue
        if group.count != 1:
            message = f'group "{group.name}" speaks, so it has 1 participant, not {group.count}'
            found.append(document.finding(where, message))
        if group.speaker > 2:
            found.append(document.finding((*where, "speaker"), "a beacon has bands 0, 1 and 2"))
        elif group.speaker in bands:
            taken = bands[group.speaker]
            message = f'band {group.speaker} of "{group.name}" is taken by "{taken}"; set "speaker"'
            found.append(document.finding(where, message))
        bands.setdefault(group.speaker, group.name)
    for key in ("gate", "steady_again"):
        if getattr(door, key) < SHORTEST_GATE_S and not door.allow_short_gate:
            message = f"shorter than {SHORTEST_GATE_S:g}s; a steady state needs that long"
            found.append(document.finding((key,), message))
    return found


def _built(
    door: ExperimentDoor, document: YamlDocument, stack: Stack
) -> tuple[Experiment, list[Finding]]:
    """Return the experiment and what is wrong with its parts."""
    groups = spread_arrivals(groups_of(door.crowd, door.client))
    method, actions = list[FaultSpec](), []
    for step in door.method:
        if isinstance(step, FaultCommon):
            method.append(fault_of(step))
        else:
            actions.append(action_of(step))
    checks = checks_of(door.hypothesis.checks)
    profile, findings = _profile(door, document)
    findings += _refused_params(method, checks, door, document)
    try:
        timeline = lay_out(
            groups,
            method,
            actions,
            settle_s=door.settle,
            gate_s=door.gate,
            recovery_s=door.recovery,
            longest_within_s=max(
                (float(c.params.get("within_s", 0.0)) for c in checks if c.of), default=0.0
            ),
            steady_again_s=door.steady_again,
        )
    except ValueError as error:
        raise_findings([*findings, document.finding(("method",), str(error))])
        raise
    zero_s, end_s = timeline.method_zero_s, timeline.end_s
    programme = tuple(segment_of(s, zero_s=zero_s, end_s=end_s) for s in door.programme or ())
    programme = programme or default_programme(groups, end_s)
    cues = [mic_of(m, zero_s=zero_s, end_s=end_s) for m in door.script]
    radius = build(BlastRadius, door.blast_radius) if door.blast_radius else BlastRadius()
    control = door.control
    experiment = Experiment(
        id=door.id,
        title=door.title,
        stack=door.stack,
        crowd=Crowd(groups=groups),
        profile=profile,
        hypothesis=Hypothesis(title=door.hypothesis.title, checks=checks),
        programme=programme,
        script=script_of(groups, programme, cues, end_s=end_s),
        method=tuple(method),
        actions=tuple(actions),
        blast_radius=radius,
        abort=tuple(abort_of(a) for a in door.abort),
        seed=door.seed,
        gate_from_s=timeline.gate_from_s,
        gate_s=timeline.gate_s,
        method_zero_s=zero_s,
        end_s=end_s,
        steady_again_s=timeline.steady_again_s,
        recovery_s=timeline.recovery_s,
        control=Control(title=control.title, changes=control.set, expect=control.expect)
        if control
        else None,
    )
    experiment = replace(experiment, digest=_digest(experiment))
    findings += _programme_findings(experiment, document)
    findings += _empty_populations(experiment, document)
    if not any(is_for_gate(check) for check in checks):
        message = "no check can be judged before the fault; add join_success or audio_gap"
        findings.append(document.finding(("hypothesis", "checks"), message))
    return experiment, findings


def _profile(door: ExperimentDoor, document: YamlDocument) -> tuple[Profile, list[Finding]]:
    try:
        return resolve_profile(door.profile), []
    except ValueError as error:
        return Profile(name=""), [document.finding(("profile",), str(error))]


def _programme_findings(experiment: Experiment, document: YamlDocument) -> list[Finding]:
    return [
        document.finding(("programme", i), '"from" must be earlier than "until"')
        for i, segment in enumerate(experiment.programme)
        if segment.from_s >= segment.until_s
    ]


def _empty_populations(experiment: Experiment, document: YamlDocument) -> list[Finding]:
    """Checks and abort conditions about nobody: they could never say anything."""
    judged = enumerate(experiment.hypothesis.checks)
    checks: list[tuple[Where, CheckSpec]] = [(("hypothesis", "checks", i), c) for i, c in judged]
    checks += [(("abort", i), a.check) for i, a in enumerate(experiment.abort)]
    found: list[Finding] = []
    for where, check in checks:
        if not population(experiment.crowd, check.members):
            named = ", ".join(check.members)
            message = f"{check.kind} is about {named}, and the crowd has none; set members"
            found.append(document.finding(where, message))
    return found


def _refused_params(
    method: Sequence[FaultSpec],
    checks: Sequence[CheckSpec],
    door: ExperimentDoor,
    document: YamlDocument,
) -> list[Finding]:
    """What the classes of faults and checks refuse in their own parameters."""
    found: list[Finding] = []
    places = [i for i, step in enumerate(door.method) if isinstance(step, FaultCommon)]
    for i, spec in zip(places, method, strict=True):
        try:
            parse_fault(spec)
        except ValueError as error:
            found.append(document.finding(_param_place(("method", i), error), str(error)))
    for i, check in enumerate(checks):
        try:
            check_class(check.kind).parse(check)
        except ValueError as error:
            where = _param_place(("hypothesis", "checks", i), error)
            found.append(document.finding(where, str(error)))
    return found


def _param_place(where: Where, error: ValueError) -> Where:
    key = getattr(error, "key", "")
    return (*where, file_key(key)) if key else where


def _limits(experiment: Experiment, document: YamlDocument, stack: Stack) -> list[Finding]:
    """What lies outside the blast radius, at the step that does."""
    planned = windows_of(experiment)
    raw = document.value.get("method") or []
    places = [i for i, step in enumerate(raw) if "fault" in step]
    found: list[Finding] = []
    for i, spec in zip(places, experiment.method, strict=True):
        for reason in _outside(spec, experiment, stack, planned[spec.id]):
            found.append(document.finding(("method", i), f"{spec.id} {reason}", refusal=True))
    most = most_at_once(planned, [spec.id for spec in experiment.method])
    allowed = experiment.blast_radius.max_faults
    if len(most) > allowed:
        message = (
            f"{len(most)} faults may be active at one time ({', '.join(most)});"
            f" the blast radius allows {allowed}"
        )
        found.append(document.finding(("blast_radius", "max_faults"), message, refusal=True))
    return found


def _outside(
    spec: FaultSpec, experiment: Experiment, stack: Stack, window: Window
) -> tuple[str, ...]:
    crowd = experiment.crowd
    try:
        resolved = resolve(
            spec.target,
            crowd=crowd,
            links=stack.links(_names(crowd.groups)),
            services=stack.service_names(),
            permits=stack.permits(),
        )
    except PlanRefused:
        return ()
    lasts_s = spec.duration_s
    if lasts_s is None:
        lasts_s = window.until_s - window.latest_from_s
    return outside(resolved, experiment.blast_radius, crowd=crowd, duration_s=lasts_s)


def _names(groups: Sequence[Group]) -> list[str]:
    return [group.name for group in groups]


def _digest(experiment: Experiment) -> str:
    """Return what tells this experiment from any other: not its layout, comments or control."""
    told = asdict(replace(experiment, control=None, digest=""))
    del told["expect"]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
