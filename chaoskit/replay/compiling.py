"""Record and map become one experiment, with the pace and the rows that say how it compares.

No figure of any incident stands here: everything comes from the two files.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chaoskit.model import (
    ActionSpec,
    At,
    BlastRadius,
    CheckSpec,
    Crowd,
    Cue,
    Experiment,
    FaultSpec,
    Group,
    Hypothesis,
    MicCue,
    Profile,
    Segment,
)
from chaoskit.replay.errors import ReplayError, Where
from chaoskit.replay.mapping import Compare, Party, ReplayMap, Row, Status
from chaoskit.replay.measures import MEASURES, ParamKind, check_params
from chaoskit.replay.pace import Pace, check_timers
from chaoskit.replay.record import IncidentRecord, check_record

MOST_LISTENERS = 15_000
"""Participant numbers from 16000 on belong to sentinels."""
FIRST_WORD = "first_word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A compiled replay. `scale`: how many people of the incident one real listener stands for."""

    record: IncidentRecord
    map: ReplayMap
    pace: Pace
    experiment: Experiment
    listeners: int
    scale: float


def compile_replay(
    record: IncidentRecord,
    replay_map: ReplayMap,
    *,
    listeners: int | None = None,
    scale: float | None = None,
    seed: int | None = None,
    profile: Profile | None = None,
) -> Replay:
    """Return the replay of `record` by `replay_map`.

    listeners: real listeners (default: the map's). scale: people a listener stands for; listeners =
    the map's figure over it. Give one of the two at most. Raises ReplayError, whose `where` points
    into the map, for a map that does not fit its record or itself.
    """
    check_record(record)
    if (replay_map.incident, replay_map.record) != (record.incident, record.record):
        raise ReplayError(
            f"the map is for record {replay_map.record} of {replay_map.incident}, not for"
            f" {record.record} of {record.incident}",
            ("record",),
        )
    pace = Pace.of(replay_map.begins_s, replay_map.acts)
    check_timers(pace, replay_map.timers)
    count, people = _audience_size(record, replay_map, listeners, scale)
    crowd = _crowd(replay_map, pace, count)
    _check_names(replay_map, crowd)
    _check_moments(replay_map, pace)
    _check_rows(record, replay_map)
    experiment = Experiment(
        id=record.incident,
        title=replay_map.title,
        stack=replay_map.stack,
        crowd=crowd,
        profile=profile or replay_map.profile,
        hypothesis=Hypothesis(title=replay_map.hypothesis, checks=_checks(replay_map.checks, pace)),
        programme=tuple(
            Segment(
                from_s=_moment(pace, line.from_s),
                until_s=_moment(pace, line.until_s),
                speakers=line.speakers,
            )
            for line in replay_map.programme
        ),
        script=tuple(
            MicCue(at_s=_moment(pace, line.at_s), group=line.group, mic=line.mic)
            for line in sorted(replay_map.script, key=lambda line: line.at_s)
        ),
        method=_method(replay_map, pace),
        actions=tuple(
            ActionSpec(
                id=a.id, kind=a.kind, trigger=At(at_s=_moment(pace, a.at_s)), params=a.params
            )
            for a in replay_map.actions
        ),
        cues=_cues(record, replay_map, pace),
        blast_radius=_blast_radius(replay_map, pace),
        seed=replay_map.seed if seed is None else seed,
        gate_from_s=_moment(pace, replay_map.gate_at_s),
        gate_s=replay_map.gate_s,
        method_zero_s=0.0,
        end_s=pace.end_s,
        steady_again_s=replay_map.steady_again_s,
        account=replay_map.account,
        standby_account=replay_map.standby_account,
    )
    _check_order(replay_map, experiment)
    return Replay(
        record=record,
        map=replay_map,
        pace=pace,
        experiment=experiment,
        listeners=count,
        scale=people,
    )


def _audience_size(
    record: IncidentRecord, replay_map: ReplayMap, listeners: int | None, scale: float | None
) -> tuple[int, float]:
    """Return how many real listeners there are, and how many people each stands for."""
    where = ("audience",)
    try:
        figure = record.event(replay_map.audience.figure).figure
    except KeyError:
        figure = None
    if figure is None:
        name = replay_map.audience.figure
        raise ReplayError(f"the record has no figure {name}", (*where, "figure"))
    if scale is not None and listeners is not None:
        raise ReplayError("give listeners or scale, not both")
    if scale is not None:
        if scale < 1:
            raise ReplayError(f"scale {scale:g} is out of range; it must be 1 or more")
        count = round(figure.value / scale)
    else:
        count = replay_map.audience.count if listeners is None else listeners
    if not 1 <= count <= MOST_LISTENERS:
        raise ReplayError(
            f"{count} real listeners are out of range; 1 to {MOST_LISTENERS} are possible"
            f" (scale {figure.value / MOST_LISTENERS:.3g} to {figure.value:.10g})",
            where,
        )
    return count, figure.value / count


def audience_group(parties: Iterable[Party]) -> str:
    """Return the group whose size the replay sets. Raises ReplayError unless there is just one."""
    names = [p.group for p in parties if p.count is None]
    if len(names) != 1:
        raise ReplayError("exactly one group of the crowd has no count: the audience", ("crowd",))
    return names[0]


def _crowd(replay_map: ReplayMap, pace: Pace, listeners: int) -> Crowd:
    audience_group(replay_map.parties)
    groups: list[Group] = []
    first = 0
    for i, party in enumerate(replay_map.parties):
        count = listeners if party.count is None else party.count
        if party.arrive_until_s < party.arrive_s:
            raise ReplayError(f"{party.group} arrives backwards", ("crowd", i))
        from_s = _moment(pace, party.arrive_s, ("crowd", i))
        until_s = _moment(pace, party.arrive_until_s, ("crowd", i))
        groups.append(
            Group(
                name=party.group,
                role=party.role,
                count=count,
                first=first,
                client=party.client,
                speaker=party.speaker,
                candidate=party.candidate,
                arrive_from_s=from_s,
                arrive_over_s=round(until_s - from_s, 6),
            )
        )
        first += count
    return Crowd(groups=tuple(groups))


def _method(replay_map: ReplayMap, pace: Pace) -> tuple[FaultSpec, ...]:
    out = []
    for i, fault in enumerate(replay_map.faults):
        where = ("faults", i)
        from_s, until_s = (_moment(pace, t, where) for t in (fault.from_s, fault.until_s))
        if until_s <= from_s:
            raise ReplayError(f"{fault.id} ends before it begins", (*where, "until"))
        out.append(
            FaultSpec(
                id=fault.id,
                kind=fault.kind,
                target=fault.target,
                trigger=At(at_s=from_s),
                params=fault.params,
                duration_s=round(until_s - from_s, 6),
            )
        )
    return tuple(out)


def _blast_radius(replay_map: ReplayMap, pace: Pace) -> BlastRadius:
    spans = [(pace.to_run(f.from_s), pace.to_run(f.until_s)) for f in replay_map.faults]
    at_once = [sum(1 for a, b in spans if a <= start < b) for start, _ in spans]
    return BlastRadius(
        roles=replay_map.blast_roles,
        max_faults=max(at_once, default=0),
        max_duration_s=max((b - a for a, b in spans), default=0.0),
    )


def _cues(record: IncidentRecord, replay_map: ReplayMap, pace: Pace) -> tuple[Cue, ...]:
    shown: dict[str, Row] = {}
    for row in replay_map.rows:
        shown.setdefault(row.event, row)
    return tuple(
        Cue(
            at_s=max(0.0, pace.to_run(row.at_s)),
            event=event,
            text=record.event(event).text,
            status=row.status.value,
            basis=row.basis.value,
        )
        for event, row in shown.items()
    )


def _checks(checks: Iterable[CheckSpec], pace: Pace) -> tuple[CheckSpec, ...]:
    """Count first words from the scheduled start, unless the map says otherwise."""
    zero_s = pace.to_run(0.0)
    return tuple(
        replace(c, params={"after_s": zero_s, **c.params}) if c.kind == FIRST_WORD else c
        for c in checks
    )


def _moment(pace: Pace, incident_s: float, where: Where = ()) -> float:
    """Return the run time of a moment of the map. Raises ReplayError outside the acts."""
    first, last = pace.incident_s[0], pace.incident_s[-1]
    if not first - 1e-9 <= incident_s <= last + 1e-9:
        raise ReplayError(
            f"{incident_s:g} s is outside the acts ({first:g} s to {last:g} s)", where
        )
    return round(pace.to_run(incident_s), 6)


def _check_names(replay_map: ReplayMap, crowd: Crowd) -> None:
    groups = {g.name for g in crowd.groups}
    speakers = {g.name for g in crowd.groups if g.speaker is not None}
    if len(groups) != len(crowd.groups):
        raise ReplayError("a group stands here twice", ("crowd",))
    bands = [g.speaker for g in crowd.groups if g.speaker is not None]
    if len(set(bands)) != len(bands):
        raise ReplayError("two speakers share a band", ("crowd",))
    for i, line in enumerate(replay_map.programme):
        for name in line.speakers:
            if name not in speakers:
                raise ReplayError(f"{name} is no speaker", ("programme", i, "speakers"))
    for i, mic in enumerate(replay_map.script):
        if mic.group not in speakers:
            raise ReplayError(f"{mic.group} is no speaker", ("script", i, "group"))
    if not replay_map.programme:
        raise ReplayError("without a programme nobody is ever planned on air", ("programme",))
    known = groups | {g.role for g in crowd.groups}
    for i, row in enumerate(replay_map.rows):
        kinds = MEASURES[row.measure].params if row.measure in MEASURES else {}
        for key, kind in kinds.items():
            names = row.params.get(key)
            if kind not in (ParamKind.GROUP, ParamKind.GROUPS) or names is None:
                continue
            for name in [names] if isinstance(names, str) else names:
                if name not in known:
                    raise ReplayError(f"no such group or role: {name}", ("rows", i, "measure", key))


def _check_moments(replay_map: ReplayMap, pace: Pace) -> None:
    ids = [f.id for f in replay_map.faults] + [a.id for a in replay_map.actions]
    if len(set(ids)) != len(ids):
        raise ReplayError("two steps have the same id", ("faults",))
    for name, lines in (("programme", replay_map.programme), ("script", replay_map.script)):
        for i, line in enumerate(lines):
            at_s = line.at_s if name == "script" else line.from_s  # type: ignore[attr-defined]
            _moment(pace, at_s, (name, i))
    known = {*ids, *(r.event for r in replay_map.rows), "end"}
    for i, row in enumerate(replay_map.rows):
        kinds = MEASURES[row.measure].params if row.measure in MEASURES else {}
        for key, value in row.params.items():
            if kinds.get(key) is not ParamKind.MOMENT:
                continue
            if isinstance(value, str):
                if value not in known:
                    raise ReplayError(f"no such moment: {value}", ("rows", i, "measure", key))
            else:
                _moment(pace, float(value), ("rows", i, "measure", key))


def _check_rows(record: IncidentRecord, replay_map: ReplayMap) -> None:
    known = {e.id for e in record.events}
    for i, row in enumerate(replay_map.rows):
        where: Where = ("rows", i)
        if row.event not in known:
            raise ReplayError(f"the record has no entry {row.event}", (*where, "event"))
        event = record.event(row.event)
        if row.status is not Status.EXECUTED:
            continue
        if not row.measure:
            raise ReplayError(f"{row.event} is executed but nothing measures it", where)
        check_params(row.measure, row.params, where)
        if row.compare is Compare.AT and event.at is None:
            raise ReplayError(f"{row.event} has no time in the record", (*where, "compare"))
        if row.compare is Compare.FIGURE and event.figure is None:
            raise ReplayError(f"{row.event} has no figure in the record", (*where, "compare"))
    missing = [e.id for e in record.events if e.id not in {r.event for r in replay_map.rows}]
    if missing:
        raise ReplayError(f"the map has no row for {', '.join(missing)}", ("rows",))


def _check_order(replay_map: ReplayMap, experiment: Experiment) -> None:
    gate_end_s = experiment.gate_from_s + experiment.gate_s
    for i, spec in enumerate(experiment.method):
        assert isinstance(spec.trigger, At)
        if spec.trigger.at_s < gate_end_s:
            raise ReplayError(f"{spec.id} begins before the gate is over", ("faults", i, "from"))
        if spec.trigger.at_s + (spec.duration_s or 0) > experiment.end_s - (
            experiment.steady_again_s
        ):
            raise ReplayError(
                f"{spec.id} ends within the closing steady state", ("faults", i, "until")
            )
