"""What the commands do, apart from options: load, run, show, exit code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from chaoskit.errors import ChaosKitError, InvalidInput
from chaoskit.report.result import RunResult, exit_code
from chaoskit.report.terminal import end_screen

_WORST_LAST = (0, 12, 5, 11, 10, 3, 4, 2, 1, 130, 143, 20)


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

    overrides = Overrides(seed=seed, listeners=listeners, profile=profile)
    experiments = _all_loaded(
        [
            lambda name=name: load_experiment(
                find_experiment(name), overrides=overrides, control=control
            )
            for name in files
        ]
    )
    codes = []
    for experiment in experiments:
        _plan(experiment)
        stack = load_stack(experiment.stack)
        result = run_experiment(experiment, stack, RunOptions(runs_dir=runs_dir, quiet=quiet))
        codes.append(_show_result(result, as_json=as_json))
    return max(codes, key=_WORST_LAST.index, default=0)


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
        raise type(worst)("\n".join(e.message for e in errors), hint=worst.hint)
    return loaded


def _show_result(result: RunResult, *, as_json: bool, whole: bool = False) -> int:
    if as_json:
        print(json.dumps(result, ensure_ascii=False))  # noqa: T201  (stdout is for data)
    else:
        console = Console()
        console.print(end_screen(result, ascii_only=not _is_utf8(console), whole=whole))
    return exit_code(result)


def _is_utf8(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def _plan(experiment: Any) -> Any:
    from chaoskit.engine.plan import make_plan
    from chaoskit.spec.stack import load_stack

    stack = load_stack(experiment.stack)
    links = stack.links(g.name for g in experiment.crowd.groups)
    return make_plan(experiment, links=links, services=stack.service_names())


def show_plan(what: str, *, seed: int | None, listeners: int | None, control: bool) -> int:
    """Print what a run would do; start nothing."""
    from chaoskit.cli.plan_screen import plan_screen
    from chaoskit.cli.replaying import is_incident, load_replay
    from chaoskit.spec.experiment import Overrides, find_experiment, load_experiment

    console = Console()
    if is_incident(what):
        replay = load_replay(what, seed=seed, listeners=listeners)
        experiment = replay.experiment
    else:
        experiment = load_experiment(
            find_experiment(what),
            overrides=Overrides(seed=seed, listeners=listeners),
            control=control,
        )
    console.print(plan_screen(experiment, _plan(experiment)))
    return 0


def validate_files(files: Sequence[str]) -> int:
    """Read every file; print a line for each good one, raise all findings together."""
    from chaoskit.cli.replaying import is_incident, load_replay
    from chaoskit.spec.experiment import find_experiment, load_experiment

    def check(name: str) -> str:
        if is_incident(name):
            replay = load_replay(name, seed=None, listeners=None)
            _plan(replay.experiment)
            return f"{name}: valid, {len(replay.record.events)} entries"
        path = find_experiment(name)
        _plan(load_experiment(path))
        return f"{path}: valid"

    lines = _all_loaded([lambda name=name: check(name) for name in files])
    console = Console()
    for line in lines:
        console.print(line, highlight=False, markup=False)
    return 0


def heal_runs(run_id: str | None, *, all_runs: bool, runs_dir: Path) -> int:
    """Heal one run or all that are not alive; 20 when something is left."""
    import asyncio

    from chaoskit.guardian.takeover import heal_all, heal_run
    from chaoskit.journal.folder import find_run

    if (run_id is None) == (not all_runs):
        raise InvalidInput("name one run, or --all", hint="chaoskit list runs")
    if run_id is None:
        reports = asyncio.run(heal_all(runs_dir))
    else:
        reports = [asyncio.run(heal_run(find_run(runs_dir, run_id)))]
    console = Console()
    left = False
    for report in reports:
        if report.idle and all_runs:
            continue
        left = left or bool(report.residual or report.left)
        console.print(_heal_line(report), highlight=False, markup=False)
        for note in report.notes:
            console.print(f"  {note}", highlight=False, markup=False)
    if all_runs and all(r.idle for r in reports):
        console.print("Nothing to heal.", highlight=False)
    return 20 if left else 0


def _heal_line(report: Any) -> str:
    if report.live:
        return f"{report.run}: is alive; stop it first (Ctrl-C, or SIGTERM)"
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
    """Show a stored result again; the exit code is that of the run."""
    from chaoskit.journal.folder import find_run

    folder = find_run(runs_dir, run_id)
    if folder.is_live():
        raise InvalidInput(f"run {folder.id} is still alive", hint="wait for its end")
    try:
        result: RunResult = json.loads(folder.result.read_text())
    except FileNotFoundError:
        raise InvalidInput(
            f"run {folder.id} has no result: it ended before it was judged",
            hint=f"chaoskit heal {folder.id}",
        ) from None
    return _show_result(result, as_json=as_json, whole=True)


def replay_incident(
    incident: str,
    *,
    seed: int | None,
    listeners: int | None,
    runs_dir: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Play an incident and show its end screen; 10 when an executed row is out of its range."""
    from chaoskit.cli.replaying import load_replay, play

    replay = load_replay(incident, seed=seed, listeners=listeners)
    _plan(replay.experiment)
    result = play(replay, runs_dir=runs_dir, quiet=quiet)
    return _show_result(result, as_json=as_json)
