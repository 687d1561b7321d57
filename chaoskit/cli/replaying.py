"""`chaoskit replay`: an incident as a run, and what the run is worth against the record."""

from dataclasses import replace
from math import isfinite, nan
from pathlib import Path

from chaoskit.cli.outcome import Frame, Judged
from chaoskit.cli.running import RunOptions, run_experiment
from chaoskit.errors import InvalidInput
from chaoskit.model import RunStatus, Verdict
from chaoskit.replay.compiling import Replay, compile_replay
from chaoskit.replay.errors import ReplayError
from chaoskit.replay.fidelity import FidelityRow, compare_with_record, holds
from chaoskit.replay.mapping import Status
from chaoskit.report.result import RunResult
from chaoskit.spec.incident import find_incident, incident_names, load_incident
from chaoskit.spec.stack import load_stack

NOT_PLAYED = "not_played"
"""Status of an executed row in a run that was refused, stopped or crashed."""
_FIRST_WORD = "first_word"


def is_incident(name: str) -> bool:
    """Return whether `name` is a known incident, or a folder with a record."""
    return name in incident_names() or (Path(name) / "record.yaml").is_file()


def load_replay(
    name: str, *, seed: int | None, listeners: int | None, scale: str | None = None
) -> Replay:
    """Load and compile an incident. `scale`: people a listener stands for, `1000` or `1:1000`.

    Raises InvalidInput.
    """
    folder = find_incident(name)
    if listeners is not None and scale is not None:
        raise InvalidInput("--scale and --listeners both set the crowd; give one of them")
    if seed is not None and seed < 0:
        raise InvalidInput(f"--seed {seed} is out of range; it must be at least 0")
    people = None if scale is None else _people(scale)
    incident = load_incident(name)
    try:
        compiled = compile_replay(
            incident.record, incident.map, seed=seed, listeners=listeners, scale=people
        )
    except ReplayError as error:
        at = str(folder)
        if error.where[:1] in ((), ("audience",)):
            given = f"--scale {scale}" if scale is not None else f"--listeners {listeners}"
            at = given if (scale, listeners) != (None, None) else at
        raise InvalidInput(f"{at}: {error}") from error
    return replace(compiled, experiment=replace(compiled.experiment, digest=incident.digest))


def _people(scale: str) -> float:
    try:
        people = float(scale.removeprefix("1:"))
    except ValueError:
        people = nan
    if not isfinite(people):
        raise InvalidInput(f'--scale "{scale}" is no scale; write 1000 or 1:1000')
    return people


def play(replay: Replay, *, runs_dir: Path, quiet: bool) -> RunResult:
    """Run the replay and return its result with the fidelity table."""
    stack = load_stack(replay.experiment.stack)
    told = [replay.map.incident, f"record {replay.map.record}", stack.title, f"1:{replay.scale:g}"]
    options = RunOptions(
        runs_dir=runs_dir,
        quiet=quiet,
        title=" · ".join(told),
        incident_time=replay.pace.label,
        frame=lambda judged: _frame(replay, judged),
    )
    return run_experiment(replay.experiment, stack, options)


def _frame(replay: Replay, judged: Judged) -> Frame:
    rows = compare_with_record(replay, judged.history)
    played = judged.result["status"] == RunStatus.COMPLETED
    if not played:
        rows = tuple(_not_played(row) for row in rows)
    valid = played and judged.history.complete and judged.result["valid"]
    verdict = (
        Verdict.INCONCLUSIVE if not valid else Verdict.HELD if holds(rows) else Verdict.DEVIATED
    )
    extra = {
        # The hypothesis of a replayed outage is expected to deviate, as it did in the record:
        # what a replay is held to is the record.
        "verdict": verdict.value,
        "incident": replay.map.incident,
        "record": replay.map.record,
        "scale": replay.scale,
        "fidelity": [row.as_json() for row in rows],
        "first_word": _first_word(replay, judged) if played else None,
        "assumed": list(replay.map.assumed),
    }
    return Frame(
        extra=extra,
        incident_time=replay.pace.label,
        notes=[
            f"Record `{replay.map.record}` of {replay.record.title}; one listener stands for"
            f" {replay.scale:g}.",
            "Assumed, not from the record: " + "; ".join(replay.map.assumed) + ".",
        ],
    )


def _not_played(row: FidelityRow) -> FidelityRow:
    """Return the row of a run that did not get to its end: it is neither in range nor out of it."""
    if row.status != Status.EXECUTED:
        return row
    return replace(
        row, status=NOT_PLAYED, replayed=None, replayed_text="", within=None, reason="", evidence=()
    )


def _first_word(replay: Replay, judged: Judged) -> dict[str, object] | None:
    """Return when the awaited speaker was first heard, in incident time after the start."""
    for check, row in zip(
        replay.experiment.hypothesis.checks, judged.result["checks"], strict=True
    ):
        if check.kind == _FIRST_WORD and row["observed"] is not None:
            run_s = float(check.params.get("after_s", 0.0)) + row["observed"]
            incident_s = replay.pace.to_incident(run_s)
            return {
                "value": round(incident_s, 1),
                "unit": "inc",
                "after": " after the scheduled start",
            }
    return None
