"""Loads incidents: a record and the map that executes it, every error with its line."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaoskit.checks.registry import check_class
from chaoskit.data import fixtures_dir
from chaoskit.errors import InvalidInput
from chaoskit.faults.registry import fault_class, parse_fault
from chaoskit.model import At, ClientRules, FaultSpec, Profile, Target
from chaoskit.replay.compiling import compile_replay
from chaoskit.replay.errors import ReplayError
from chaoskit.replay.mapping import (
    Audience,
    MapAction,
    MapFault,
    MicLine,
    OnAir,
    Party,
    ReplayMap,
    Row,
)
from chaoskit.replay.measures import MEASURES, ParamKind
from chaoskit.replay.pace import Act, Timer
from chaoskit.replay.record import (
    Figure,
    IncidentRecord,
    RecordEvent,
    Source,
    When,
    check_record,
)
from chaoskit.spec.derive import Door, file_key
from chaoskit.spec.doors import TARGET_KEYS
from chaoskit.spec.incident_doors import (
    FigureDoor,
    MapFaultBase,
    RecordDoor,
    ReplayMapDoor,
    RowDoor,
)
from chaoskit.spec.messages import validate
from chaoskit.spec.parts import checks_of, client_rules
from chaoskit.spec.profile import resolve_profile
from chaoskit.spec.units import is_duration, parse_count, parse_duration_s, parse_fraction
from chaoskit.spec.yaml_lines import (
    Finding,
    Where,
    YamlDocument,
    load_yaml,
    nearest,
    raise_findings,
)

RECORD_FILE, MAP_FILE = "record.yaml", "replay.yaml"
DURATION = "s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A record and its map. `digest`: of both files."""

    record: IncidentRecord
    map: ReplayMap
    digest: str


def incident_names() -> tuple[str, ...]:
    """Return the incidents that come with chaoskit."""
    folder = fixtures_dir() / "incidents"
    return tuple(sorted(p.parent.name for p in folder.glob(f"*/{RECORD_FILE}")))


def find_incident(name: str) -> Path:
    """Return the folder of an incident, given by path or by name. Raises InvalidInput."""
    path = Path(name)
    if (path / RECORD_FILE).is_file():
        return path
    if "/" in name:
        raise InvalidInput(f"{name}: no folder with {RECORD_FILE} and {MAP_FILE}")
    known = incident_names()
    if name not in known:
        raise InvalidInput(
            f'unknown incident "{name}"{nearest(name, known)}',
            hint=f"those that come with chaoskit: {', '.join(known)}; a folder works too",
        )
    return fixtures_dir() / "incidents" / name


def load_incident(name: str) -> Incident:
    """Return an incident by name or folder, checked against itself.

    Raises InvalidInput with every finding of form, or the first contradiction.
    """
    folder = find_incident(name)
    record = load_record(folder / RECORD_FILE)
    replay_map = load_map(folder / MAP_FILE, record)
    text = b"".join((folder / f).read_bytes() for f in (RECORD_FILE, MAP_FILE))
    return Incident(record=record, map=replay_map, digest=hashlib.sha256(text).hexdigest())


def load_record(path: Path) -> IncidentRecord:
    """Return the record of a file. Raises InvalidInput."""
    document = load_yaml(path, shown_as=_shown(path))
    door, findings = validate(RecordDoor, document)
    raise_findings(findings)
    assert door is not None
    events = []
    for i, event in enumerate(door.events):
        at = event.at
        figure = None
        if event.figure is not None:
            figure, wrong = _figure(event.figure, document, ("events", i, "figure"))
            findings += wrong
        events.append(
            RecordEvent(
                id=event.id,
                lane=event.lane,
                actor=event.actor,
                telling=event.telling,
                text=event.text,
                certainty=event.certainty,
                source=event.source,
                at=None
                if at is None
                else When(from_s=at.from_, until_s=at.until, certainty=at.certainty),
                after=event.after,
                figure=figure,
            )
        )
    raise_findings(findings)
    record = IncidentRecord(
        incident=door.incident,
        record=door.record,
        title=door.title,
        sources=tuple(Source(key=s.key, title=s.title, note=s.note) for s in door.sources),
        events=tuple(events),
        left_out=tuple(door.left_out),
    )
    try:
        check_record(record)
    except ReplayError as error:
        raise_findings([document.finding(error.where, str(error))])
    return record


def load_map(path: Path, record: IncidentRecord) -> ReplayMap:
    """Return the replay map of a file, checked against `record`. Raises InvalidInput."""
    document = load_yaml(path, shown_as=_shown(path))
    door, findings = validate(ReplayMapDoor, document)
    raise_findings(findings)
    assert door is not None
    replay_map, findings = _map(door, document)
    raise_findings(findings)
    try:
        compile_replay(record, replay_map)
    except ReplayError as error:
        raise_findings([document.finding(error.where, str(error))])
    return replay_map


def _figure(
    door: FigureDoor, document: YamlDocument, where: Where
) -> tuple[Figure | None, list[Finding]]:
    amounts = [door.value, *door.range]
    if door.unit is None:
        if not all(isinstance(a, str) for a in amounts):
            message = "a figure without a unit is a duration; write 4m30s, or name its unit"
            return None, [document.finding(where, message)]
        values = [parse_duration_s(a, signed=True) for a in amounts]
    else:
        if any(isinstance(a, str) for a in amounts):
            return None, [document.finding(where, f"a duration is not counted in {door.unit}")]
        values = [float(a) for a in amounts]
    return (
        Figure(
            value=values[0],
            low=values[1],
            high=values[2],
            unit=door.unit or DURATION,
            kind=door.kind,
            text=door.text,
            since=door.since or "",
            certainty=door.certainty,
        ),
        [],
    )


def _map(door: ReplayMapDoor, document: YamlDocument) -> tuple[ReplayMap, list[Finding]]:
    findings: list[Finding] = []
    groups = [p.group for p in door.crowd]
    for name in door.clients:
        if name not in groups:
            message = f'unknown group "{name}"{nearest(name, groups)}'
            findings.append(document.finding(("clients", name), message, key=True))
    try:
        profile = resolve_profile(door.profile)
    except (ValueError, FileNotFoundError) as error:
        missing = isinstance(error, FileNotFoundError)
        message = f'unknown profile "{door.profile}"' if missing else str(error)
        findings.append(document.finding(("profile",), message))
        profile = Profile(name="")
    faults, wrong = _faults(door, document)
    findings += wrong
    checks = checks_of(door.hypothesis.checks)
    for i, check in enumerate(checks):
        try:
            check_class(check.kind).parse(check)
        except ValueError as error:
            key = getattr(error, "key", "")
            where: Where = ("hypothesis", "checks", i, *((file_key(key),) if key else ()))
            findings.append(document.finding(where, str(error)))
    rows = []
    for i, row in enumerate(door.rows):
        made, wrong = _row(row, document, ("rows", i))
        findings += wrong
        rows.append(made)
    replay_map = ReplayMap(
        incident=door.incident,
        record=door.record,
        title=door.title,
        stack=door.stack,
        begins_s=door.begins,
        acts=tuple(Act(name=a.act, until_s=a.until, run_s=a.run) for a in door.pace),
        timers=tuple(
            Timer(name=t.name, value_s=t.value, from_s=t.from_, repeats=t.repeats)
            for t in door.timers
        ),
        audience=Audience(count=door.audience.count, figure=door.audience.figure),
        parties=tuple(
            Party(
                group=p.group,
                role=p.role,
                arrive_s=p.arrives,
                arrive_until_s=p.arrives if p.arrives_until is None else p.arrives_until,
                count=_count(p.count, p.speaker),
                client=_client(door.clients.get(p.group)),
                speaker=p.speaker,
                candidate=p.candidate,
            )
            for p in door.crowd
        ),
        programme=tuple(
            OnAir(from_s=s.from_, until_s=s.until, speakers=s.speakers) for s in door.programme
        ),
        script=tuple(MicLine(at_s=m.at, group=m.group, mic=m.mic) for m in door.script),
        faults=faults,
        actions=tuple(
            MapAction(
                id=a.id,
                kind=a.action,
                at_s=a.at,
                params={k: v for k, v in (("account", a.account), ("node", a.node)) if v},
            )
            for a in door.actions
        ),
        rows=tuple(rows),
        profile=profile,
        gate_at_s=door.gate.from_,
        gate_s=door.gate.run,
        checks=checks,
        hypothesis=door.hypothesis.title,
        account=door.account or "first",
        standby_account=door.standby_account or "standby",
        assumed=tuple(door.assumed),
        blast_roles=tuple(door.touches),
        steady_again_s=door.steady_again,
        seed=door.seed,
    )
    return replay_map, findings


def _count(count: int | None, speaker: int | None) -> int | None:
    """Somebody who speaks is one participant; a group without a count is the audience."""
    return 1 if count is None and speaker is not None else count


def _client(door: Door | None) -> ClientRules:
    return ClientRules() if door is None else client_rules(door)


def _faults(
    door: ReplayMapDoor, document: YamlDocument
) -> tuple[tuple[MapFault, ...], list[Finding]]:
    faults, findings = [], []
    for i, fault in enumerate(door.faults):
        kind = str(fault.fault)
        acts_on = fault_class(kind).acts_on
        left_out = {*MapFaultBase.model_fields, "fault", TARGET_KEYS[acts_on]}
        params = {
            name: value
            for name, value in fault.given().items()
            if name not in left_out and value is not None
        }
        target = Target(kind=acts_on, patterns=tuple(getattr(fault, TARGET_KEYS[acts_on])))
        try:
            trigger = At(at_s=0.0)
            spec = FaultSpec(
                id=fault.id, kind=kind, target=target, trigger=trigger, params=params, duration_s=1
            )
            parse_fault(spec)
        except ValueError as error:
            key = getattr(error, "key", "")
            where: Where = ("faults", i, *((file_key(key),) if key else ()))
            findings.append(document.finding(where, str(error)))
        faults.append(
            MapFault(
                id=fault.id,
                kind=kind,
                target=target,
                from_s=fault.from_,
                until_s=fault.until,
                params=params,
            )
        )
    return tuple(faults), findings


def _row(door: RowDoor, document: YamlDocument, where: Where) -> tuple[Row, list[Finding]]:
    measure, params, findings = "", dict[str, Any](), list[Finding]()
    if door.measure is not None:
        given = dict(door.measure)
        measure = str(given.pop("kind", ""))
        known = MEASURES.get(measure)
        if known is None:
            message = f'unknown measure "{measure}"{nearest(measure, MEASURES)}'
            findings.append(document.finding((*where, "measure", "kind"), message))
        for key, value in given.items() if known else ():
            here = (*where, "measure", key)
            kind = known.params.get(key) if known else None
            if known is not None and kind is None:
                message = f'unknown key "{key}"{nearest(key, known.params)}'
                findings.append(document.finding(here, message, key=True))
                continue
            try:
                params[key] = _param(kind, value)
            except ValueError as error:
                findings.append(document.finding(here, str(error)))
    row = Row(
        event=door.event,
        title=door.title,
        at_s=door.at,
        basis=door.basis,
        status=door.status,
        how=door.how,
        measure=measure,
        params=params,
        compare=door.compare,
    )
    return row, findings


def _param(kind: ParamKind | None, value: Any) -> Any:
    """Return a parameter of a measure as measures take it. Raises ValueError."""
    match kind:
        case ParamKind.MOMENT if is_duration(value) or not isinstance(value, str):
            return parse_duration_s(value, signed=True)
        case ParamKind.SHARE:
            return parse_fraction(value)
        case ParamKind.COUNT:
            return parse_count(value)
        case ParamKind.GROUPS:
            names = [value] if isinstance(value, str) else value
            if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                raise ValueError("a group or a list of groups is expected here")
            return names
        case _:
            if not isinstance(value, str):
                raise ValueError("a name is expected here")
            return value


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
