"""How a run compares with the record: one row for each row of the map.

A row holds when what it names happened, in the order that the record gives, and within the
record's range. Where that range is narrower than ±0.5 s of run time (DESIGN §4), a time may lie
outside it by the `tolerance_s` that the row prints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chaoskit.checks.history import History
from chaoskit.model import Json
from chaoskit.replay.compiling import Replay, audience_group
from chaoskit.replay.mapping import Basis, Compare, Row, Status
from chaoskit.replay.measures import MEASURES
from chaoskit.replay.pace import Pace, incident_label
from chaoskit.replay.record import Figure, RecordEvent
from chaoskit.replay.scene import Measured, Scene

TOLERANCE_S = 0.5
"""Run time that a range of times always spans at least: half a second either way."""
_ORDER_SLACK_S = 0.1
_ROUNDING = 5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityRow:
    """One row. `within` is None for rows that are not executed.

    `range`: the record's own, of what was compared, in `unit` (`s` = incident seconds after the
    scheduled start or, for a duration, of the incident); None when the row only had to happen.
    `tolerance_s`: run seconds by which a time may lie outside it. `clock`: `inc` or `run`,
    which the number of `replayed` is in. `at_s`: incident time at which it happened. `reason`: why
    it is not within.
    """

    event: str
    title: str
    basis: str
    status: str
    recorded: str
    range: tuple[float, float] | None
    kind: str
    certainty: str
    replayed: float | None
    replayed_text: str
    unit: str
    clock: str
    within: bool | None
    how: str
    at_s: float | None = None
    tolerance_s: float = 0.0
    reason: str = ""
    evidence: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Return the row as result.json has it."""
        return {
            "event": self.event,
            "title": self.title,
            "basis": self.basis,
            "status": self.status,
            "recorded": self.recorded,
            "range": None if self.range is None else list(self.range),
            "tolerance_s": round(self.tolerance_s, 3),
            "kind": self.kind,
            "certainty": self.certainty,
            "replayed": None if self.replayed is None else round(self.replayed, 3),
            "replayed_text": self.replayed_text,
            "unit": self.unit,
            "clock": self.clock,
            "within": self.within,
            "how": self.how,
            "at_s": None if self.at_s is None else round(self.at_s, 3),
            "at": "" if self.at_s is None else incident_label(self.at_s),
            "reason": self.reason,
            "evidence": list(self.evidence),
        }


def compare_with_record(replay: Replay, history: History) -> tuple[FidelityRow, ...]:
    """Return the fidelity table of a run, in the order of the map."""
    cues = {c.event: c.at_s for c in replay.experiment.cues}
    scene = Scene(
        history,
        replay.pace,
        cues=cues,
        audience=audience_group(replay.map.parties),
        scale=replay.scale,
    )
    measured: dict[int, Measured] = {}
    first_at: dict[str, float] = {}
    for i, row in enumerate(replay.map.rows):
        if row.status is Status.EXECUTED:
            measured[i] = found = _measure(scene, row)
            if found.at_s is not None:
                first_at.setdefault(row.event, found.at_s)
    return tuple(
        _row(replay, row, measured.get(i), first_at) for i, row in enumerate(replay.map.rows)
    )


def holds(rows: Sequence[FidelityRow]) -> bool:
    """Return whether every executed row is within its range; False when none was executed."""
    executed = [r for r in rows if r.within is not None]
    return bool(executed) and all(r.within for r in executed)


def emergent(rows: Sequence[FidelityRow]) -> tuple[int, int]:
    """Return (within, all) of the emergent rows: the headline counts nothing else."""
    counted = [r for r in rows if r.basis == Basis.EMERGENT and r.within is not None]
    return sum(1 for r in counted if r.within), len(counted)


def _measure(scene: Scene, row: Row) -> Measured:
    try:
        return MEASURES[row.measure].measure(scene, row.params)
    except ValueError as error:
        return Measured(happened=False, text=str(error))


def _row(
    replay: Replay, row: Row, measured: Measured | None, first_at: Mapping[str, float]
) -> FidelityRow:
    event = replay.record.event(row.event)
    shown = FidelityRow(
        event=row.event,
        title=row.title,
        basis=row.basis.value,
        status=row.status.value,
        recorded=recorded_text(event, row.compare),
        range=None,
        kind=_kind(event, row.compare),
        certainty=_certainty(event, row.compare),
        replayed=None,
        replayed_text="",
        unit="",
        clock="",
        within=None,
        how=row.how,
    )
    if measured is None:
        return shown
    range_, value, unit, at_run_s = _compared(replay.pace, event, row, measured)
    speed, tolerance_s = 1.0, 0.0
    if range_ is not None and at_run_s is not None:
        speed = _speed_around(replay.pace, at_run_s)
        tolerance_s = max(0.0, TOLERANCE_S - (range_[1] - range_[0]) / 2 / speed)
    reasons = []
    if not measured.happened:
        reasons.append("it did not happen as the map says")
    elif range_ is not None and not _lies_in(value, range_, tolerance_s * speed):
        reasons.append("outside the record's range")
    reasons += _out_of_order(event, measured, first_at)
    return replace(
        shown,
        range=range_,
        tolerance_s=tolerance_s,
        replayed=value,
        replayed_text=_replayed_text(row, measured, value, unit),
        unit=unit,
        clock="inc" if unit == "s" else "",
        within=not reasons,
        at_s=None if measured.at_s is None else replay.pace.to_incident(measured.at_s),
        reason="; ".join(reasons),
        evidence=measured.evidence,
    )


def _compared(
    pace: Pace, event: RecordEvent, row: Row, measured: Measured
) -> tuple[tuple[float, float] | None, float | None, str, float | None]:
    """Return the record's range, the value that is held against it, their unit, and a run time.

    The run time, None where no time is compared, is where the pace of the tolerance is taken.
    """
    if row.compare is Compare.AT and event.at is not None:
        at = None if measured.at_s is None else pace.to_incident(measured.at_s)
        run_s = pace.to_run(event.at.from_s) if measured.at_s is None else measured.at_s
        return (event.at.from_s, event.at.until_s), at, "s", run_s
    if row.compare is Compare.FIGURE and event.figure is not None:
        own, unit = (event.figure.low, event.figure.high), event.figure.unit
        # A measure in another unit says nothing about this figure.
        value = measured.value if measured.unit == unit else None
        return own, value, unit, measured.at_s if unit == "s" else None
    at = None if measured.at_s is None else pace.to_incident(measured.at_s)
    if measured.value is None or measured.unit == "s":
        return None, at, "s", None
    return None, measured.value, measured.unit, None


def _speed_around(pace: Pace, run_s: float) -> float:
    """Return the pace at `run_s`; the slower one near a change, so that no row gets by on it."""
    near = (run_s - TOLERANCE_S, run_s, run_s + TOLERANCE_S)
    return min(pace.speed_at(t) for t in near)


def _lies_in(value: float | None, range_: tuple[float, float], slack: float) -> bool:
    low, high = range_[0] - slack - _ROUNDING, range_[1] + slack + _ROUNDING
    return value is not None and low <= value <= high


def _out_of_order(
    event: RecordEvent, measured: Measured, first_at: Mapping[str, float]
) -> list[str]:
    if measured.at_s is None:
        return []
    return [
        f"it came before {earlier}, which the record places first"
        for earlier in event.after
        if first_at.get(earlier, measured.at_s) > measured.at_s + _ORDER_SLACK_S
    ]


def _replayed_text(row: Row, measured: Measured, value: float | None, unit: str) -> str:
    if row.compare is Compare.AT and value is not None:
        return f"{incident_label(value)} inc, {measured.text}"
    if row.compare is Compare.FIGURE and value is not None:
        return f"{_amount_text(value, unit)}, {measured.text}"
    return measured.text


def _amount_text(value: float, unit: str) -> str:
    if unit == "s":
        return duration_text(value) + " inc"
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f} {unit}".replace(",", " ")


def recorded_text(event: RecordEvent, compare: Compare) -> str:
    """Return what the record says of a row, in words."""
    if compare is Compare.FIGURE and event.figure is not None:
        return figure_text(event.figure)
    if compare is Compare.AT and event.at is not None:
        low, high = (incident_label(t) for t in (event.at.from_s, event.at.until_s))
        return low if low == high else f"{low} to {high}"
    if event.figure is not None and event.figure.text:
        return event.figure.text
    return "yes"


def figure_text(figure: Figure) -> str:
    """Return a figure in words: the source's own where it has some."""
    if figure.text:
        return figure.text
    return _amount_text(figure.value, figure.unit)


def duration_text(seconds: float) -> str:
    """Return a duration in words: `5.0 s`, `4 min 36 s`, `1 h 00 min`.

    >>> duration_text(276.0), duration_text(3600.0)
    ('4 min 36 s', '1 h 00 min')
    """
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _kind(event: RecordEvent, compare: Compare) -> str:
    if compare is Compare.FIGURE and event.figure is not None:
        return event.figure.kind.value
    return "time" if compare is Compare.AT else "event"


def _certainty(event: RecordEvent, compare: Compare) -> str:
    if compare is Compare.AT and event.at is not None:
        return event.at.certainty.value
    if compare is Compare.FIGURE and event.figure is not None and event.figure.certainty:
        return event.figure.certainty.value
    return event.certainty.value
