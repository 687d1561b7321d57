"""What the commands do, apart from options: load, run, show, exit code."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaoskit.cli.consoles import data_console, is_ascii, show
from chaoskit.cli.paths import shown_path
from chaoskit.errors import ChaosKitError, InvalidInput
from chaoskit.journal.folder import RunFolder
from chaoskit.model import RunStatus
from chaoskit.report.result import RESULT_SCHEMA, RunResult, checked_result
from chaoskit.report.terminal import end_screen

_WORST_LAST = (0, 12, 5, 11, 10, 1, 20)
"""Exit codes that a result can have, the worst last; errors and signals end the command."""
_TOTAL = re.compile(r"\d+ errors?, nothing was started\.$")


def run_experiments(
    files: Sequence[str],
    *,
    seed: int | None,
    listeners: int | None,
    control: bool,
    profile: str | None,
    runs_dir: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run each experiment in turn; return the worst exit code. All files are validated first."""
    from chaoskit.cli.running import RunOptions, run_experiment
    from chaoskit.spec.experiment import Overrides, find_experiment, load_experiment
    from chaoskit.spec.stack import load_stack

    _check_numbers(seed=seed, listeners=listeners)
    _check_profile(profile)
    overrides = Overrides(seed=seed, listeners=listeners, profile=profile)
    experiments = _all_loaded(
        [
            lambda name=name: load_experiment(
                find_experiment(name), overrides=overrides, control=control
            )
            for name in files
        ]
    )
    for experiment in experiments:
        _plan(experiment)
    codes = []
    for experiment in experiments:
        stack = load_stack(experiment.stack)
        result = run_experiment(experiment, stack, RunOptions(runs_dir=runs_dir, quiet=quiet))
        code = _show_new(result, as_json=as_json)
        if result["status"] == RunStatus.INTERRUPTED:
            return code
        codes.append(code)
    return max(codes, key=_WORST_LAST.index, default=0)


def _check_numbers(*, seed: int | None, listeners: int | None) -> None:
    """Refuse numbers of the command line that no file can make good. Raises InvalidInput."""
    from chaoskit.spec.door_types import MOST_PARTICIPANTS

    if seed is not None and seed < 0:
        raise InvalidInput(f"--seed {seed} is out of range; it must be at least 0")
    if listeners is not None and not 1 <= listeners <= MOST_PARTICIPANTS:
        span = f"1 to {MOST_PARTICIPANTS}"
        raise InvalidInput(f"--listeners {listeners} is out of range; it must be {span}")


def _check_profile(name: str | None) -> None:
    from chaoskit.spec.profile import profile_names
    from chaoskit.spec.yaml_lines import nearest

    known = profile_names()
    if name is not None and name not in known:
        raise InvalidInput(
            f'--profile: unknown profile "{name}"{nearest(name, known)}',
            hint=f"one of {', '.join(known)}",
        )


def _all_loaded(loads: Sequence[Any]) -> list[Any]:
    """Return what every load returns; raise the findings of all files together."""
    loaded, errors = [], []
    for load in loads:
        try:
            loaded.append(load())
        except ChaosKitError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        worst = min(errors, key=lambda e: e.exit_code)
        found = [line for e in errors for line in e.message.splitlines() if not _TOTAL.match(line)]
        found.append(f"{len(found)} errors, nothing was started.")
        raise type(worst)("\n".join(found), hint=worst.hint)
    return loaded


def _show_new(result: RunResult, *, as_json: bool) -> int:
    """Show a run that has just ended; one that was stopped has had its last line already."""
    if as_json or result["status"] != RunStatus.INTERRUPTED:
        _show_result(result, as_json=as_json)
    return int(result["exit_code"])


def _show_result(result: RunResult, *, as_json: bool, whole: bool = False) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
        return
    console = data_console()
    shown = {**result, "folder": shown_path(Path(result["folder"]))}
    show(console, end_screen(shown, ascii_only=is_ascii(console), whole=whole))


def _plan(experiment: Any) -> Any:
    from chaoskit.engine.plan import make_plan
    from chaoskit.spec.stack import load_stack

    stack = load_stack(experiment.stack)
    links = stack.links(g.name for g in experiment.crowd.groups)
    return make_plan(
        experiment, links=links, services=stack.service_names(), permits=stack.permits()
    )


def show_plan(
    what: str,
    *,
    seed: int | None,
    listeners: int | None,
    scale: str | None,
    profile: str | None,
    control: bool,
) -> int:
    """Print what a run would do; start nothing."""
    from chaoskit.cli.plan_screen import plan_screen
    from chaoskit.cli.replaying import is_incident, load_replay
    from chaoskit.spec.experiment import Overrides, load_experiment

    replay = None
    if is_incident(what):
        if control or profile is not None:
            raise InvalidInput("--control and --profile go with an experiment, not an incident")
        replay = load_replay(what, seed=seed, listeners=listeners, scale=scale)
        experiment = replay.experiment
    else:
        if scale is not None:
            raise InvalidInput("--scale goes with an incident; an experiment has --listeners")
        path = _file_of(what)
        _check_numbers(seed=seed, listeners=listeners)
        _check_profile(profile)
        overrides = Overrides(seed=seed, listeners=listeners, profile=profile)
        experiment = load_experiment(path, overrides=overrides, control=control)
    console = data_console()
    screen = plan_screen(experiment, _plan(experiment), replay, ascii_only=is_ascii(console))
    show(console, screen)
    return 0


def _file_of(name: str) -> Path:
    """Return the file of an experiment where an incident is welcome too. Raises InvalidInput."""
    from chaoskit.spec.experiment import experiment_names, find_experiment
    from chaoskit.spec.incident import incident_names
    from chaoskit.spec.yaml_lines import nearest

    try:
        return find_experiment(name)
    except InvalidInput:
        known = (*experiment_names(), *incident_names())
        near = nearest(name, known)
        if not near or name in known or Path(name).exists():
            raise
        raise InvalidInput(f'there is no experiment or incident "{name}"{near}') from None


def validate_files(files: Sequence[str]) -> int:
    """Read every file; print a line for each good one, raise all findings together."""
    from chaoskit.cli.replaying import is_incident, load_replay
    from chaoskit.spec.experiment import load_experiment

    def check(name: str) -> str:
        if is_incident(name):
            replay = load_replay(name, seed=None, listeners=None)
            _plan(replay.experiment)
            return f"{name}: valid, {len(replay.record.events)} entries"
        path = _file_of(name)
        _plan(load_experiment(path))
        return f"{path}: valid"

    lines = _all_loaded([lambda name=name: check(name) for name in files])
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def heal_runs(run_id: str | None, *, all_runs: bool, runs_dir: Path) -> int:
    """Heal one run or all that are not alive; 20 when something is left.

    Raises InvalidInput for a single run that is alive: what it does is its own to undo.
    """
    import asyncio

    from chaoskit.guardian.takeover import heal_all, heal_run
    from chaoskit.journal.folder import find_run

    if (run_id is None) == (not all_runs):
        raise InvalidInput("name one run, or --all", hint="chaoskit list runs")
    if run_id is None:
        reports = asyncio.run(heal_all(runs_dir))
    else:
        reports = [asyncio.run(heal_run(find_run(runs_dir, run_id)))]
        if reports[0].live:
            raise InvalidInput(
                f"run {reports[0].run} is alive; it heals when it ends",
                hint="stop it with Ctrl-C or SIGTERM",
            )
    shown = [r for r in reports if not (r.idle and all_runs) or r.blind]
    for report in shown:
        sys.stdout.write(f"{_heal_line(report)}\n")
        sys.stdout.writelines(f"  {note}\n" for note in report.notes)
    if not shown:
        sys.stdout.write("Nothing to heal.\n")
    return 20 if any(r.residual or r.left for r in reports) else 0


def _heal_line(report: Any) -> str:
    if report.live:
        return f"{report.run}: is alive, left alone"
    if report.idle and report.blind:
        return f"{report.run}: the journal cannot be read; nothing of the run is left to stop"
    if report.idle:
        return f"{report.run}: nothing to heal"
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (
            ("healed", report.healed),
            ("NOT healed", report.residual),
            ("killed", report.killed),
            ("still there", report.left),
        )
        if names
    ]
    return f"{report.run}: " + "; ".join(parts)


def show_report(run_id: str, *, runs_dir: Path, as_json: bool) -> int:
    """Show a stored result again; the exit code is that of the run. Raises InvalidInput."""
    from chaoskit.journal.folder import find_run

    folder = find_run(runs_dir, run_id)
    if folder.is_live():
        raise InvalidInput(f"run {folder.id} is still alive", hint="wait for its end")
    try:
        found = json.loads(folder.result.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _no_result(folder) from None
    except (OSError, ValueError, RecursionError) as error:
        name = shown_path(folder.result)
        raise InvalidInput(f"{name}: cannot be read: {error}") from error
    try:
        result = checked_result(found)
        _show_result(result, as_json=as_json, whole=True)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        # What was written by somebody else may be wrong at any depth: the screen itself finds out.
        why = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        what = f"result.json of run {folder.id} is not a {RESULT_SCHEMA} result"
        raise InvalidInput(f"{what}: {' '.join(why.split())}") from error
    return int(result["exit_code"])


def _no_result(folder: RunFolder) -> InvalidInput:
    """Return why a run that is over has no result."""
    from chaoskit.journal.runs import DIED, summarise_run

    name = f"run {folder.id}"
    if not folder.journal.exists():
        where = shown_path(folder.path / "logs")
        return InvalidInput(f"{name} has no result: it ended while starting", hint=f"see {where}")
    run = summarise_run(folder)
    how = "chaoskit was killed" if run.status == DIED else "it ended"
    message = f"{name} has no result: {how} before it was judged"
    if run.pending:
        return InvalidInput(f"{message}; {run.pending} to heal", hint=f"chaoskit heal {folder.id}")
    if run.healed_by:
        message += f"; healed by {'the guardian' if run.healed_by == 'guardian' else 'heal'}"
    return InvalidInput(message, hint=f"what happened is in {shown_path(folder.journal)}")


def replay_incident(
    incident: str,
    *,
    seed: int | None,
    listeners: int | None,
    scale: str | None,
    runs_dir: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Play an incident and show its end screen; 10 when an executed row is out of its range."""
    from chaoskit.cli.replaying import load_replay, play

    replay = load_replay(incident, seed=seed, listeners=listeners, scale=scale)
    _plan(replay.experiment)
    result = play(replay, runs_dir=runs_dir, quiet=quiet)
    return _show_new(result, as_json=as_json)
