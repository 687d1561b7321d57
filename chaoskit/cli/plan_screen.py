"""The screen of `chaoskit plan`: schedule, mechanism, undo and proof of steps; checks; reach."""

from collections.abc import Iterator

from rich.console import RenderableType

from chaoskit.checks.judging import is_for_gate
from chaoskit.engine.plan import Plan, PlannedStep
from chaoskit.model import Experiment, Group, ReconnectKind
from chaoskit.replay.compiling import Replay
from chaoskit.report.terminal import plan_screen as render
from chaoskit.report.words import check_text, duration

_Row = tuple[str, str]


def plan_screen(
    experiment: Experiment, plan: Plan, replay: Replay | None, *, ascii_only: bool
) -> RenderableType:
    """Return the screen for a plan; of a replay, with the stretches of its pace and its timers."""
    crowd = ", ".join(f"{g.count} {g.name}" for g in experiment.crowd.groups)
    told = [experiment.id, experiment.stack, experiment.profile.name, crowd]
    if replay is not None:
        told.append(f"1:{replay.scale:g}")
    head = " · ".join([*told, f"about {experiment.end_s:.0f} s"])
    rows = [*_rows(experiment, plan)]
    if replay is not None:
        rows += _replay_rows(replay)
    return render(head, rows, "Nothing was started.", ascii_only=ascii_only)


def _rows(experiment: Experiment, plan: Plan) -> Iterator[_Row]:
    checks = experiment.hypothesis.checks
    if experiment.gate_s:
        gate = ", ".join(check_text(c) for c in checks if is_for_gate(c))
        yield "gate", f"{gate} for {experiment.gate_s:g} s"
    yield from _steps(plan)
    yield "checks", " · ".join(check_text(c) for c in checks)
    counts = {g.name: g.count for g in experiment.crowd.groups}
    reach = [f"{n} of {counts[name]} {name}" for name, n in plan.reach_by_group.items()]
    yield (
        "reach",
        f"{', '.join(reach) or 'nobody'} ({len(plan.reach)} of {plan.crowd_size} participants);"
        " nobody else's links are touched",
    )
    yield "timers", _profile_text(experiment)
    alike: dict[str, list[str]] = {}
    for group in experiment.crowd.groups:
        alike.setdefault(_client_text(group), []).append(group.name)
    for i, (text, names) in enumerate(alike.items()):
        yield "clients" if i == 0 else "", f"{', '.join(names)}: {text}"


def _steps(plan: Plan) -> Iterator[_Row]:
    """Yield begin and end of every step in the order in which they come."""
    timed: list[tuple[float, list[_Row]]] = []
    for step in plan.steps:
        last = timed[-1][0] if timed else 0.0
        timed.append((last if step.from_s is None else step.from_s, _step_rows(step)))
        if step.preview is not None and step.until_s is not None:
            timed.append((step.until_s, [(f"{step.until_s:.1f} s", f"heal {step.id}")]))
    for _, rows in sorted(timed, key=lambda t: t[0]):
        yield from rows


def _step_rows(step: PlannedStep) -> list[_Row]:
    what = f"{step.id}  {step.kind} {' '.join(step.targets)}".rstrip()
    if step.from_s is None:
        rows = [("later", f"{step.trigger}:"), ("", what)]
    else:
        rows = [(f"{step.from_s:.1f} s", what)]
    if step.preview is not None:
        rows.append(("", step.preview.mechanism))
        rows.append(("", f"undo: {step.preview.undo}   proof: {step.preview.proof}"))
    return rows


def _profile_text(experiment: Experiment) -> str:
    """Return the directory's timers and remedies."""
    settings = dict(experiment.profile.settings)
    remedies = settings.pop("remedies", {})
    on = [name.replace("_", " ") for name, value in remedies.items() if value is True]
    timers = [
        f"{name.removesuffix('_s').replace('_', ' ')} "
        + (duration(float(value)) if name.endswith("_s") else f"{value}")
        for name, value in settings.items()
    ]
    return f"directory: {', '.join(timers) or 'as built'}; remedies: {', '.join(on) or 'none'}"


def _client_text(group: Group) -> str:
    """Return what the clients of a group do by themselves."""
    rules, again = group.client, group.client.reconnect
    match again.kind:
        case ReconnectKind.NONE:
            retry = "never reconnect"
        case ReconnectKind.FIXED:
            retry = f"reconnect every {duration(again.base_s)}"
        case _:
            kind = again.kind.value.replace("_", " ")
            retry = f"reconnect with {kind} {duration(again.base_s)} to {duration(again.cap_s)}"
    find = "watch" if rules.find.value == "watch" else f"poll every {duration(rules.poll_s)}"
    beat = f", heartbeat {duration(rules.heartbeat_s)}" if group.candidate else ""
    return f"{retry}, {find}, join timeout {duration(rules.join_timeout_s)}{beat}"


def _replay_rows(replay: Replay) -> Iterator[_Row]:
    """Yield each timer of the map with where it runs, and each act with its pace."""
    pace = replay.pace
    for i, timer in enumerate(replay.map.timers):
        times = f", {timer.repeats} times" if timer.repeats > 1 else ""
        at_s = pace.to_run(timer.from_s)
        yield (
            "pending" if i == 0 else "",
            f"{timer.name}: {duration(timer.value_s)}{times},"
            f" from {pace.label(at_s)} (run {at_s:.1f} s)",
        )
    knots = list(zip(pace.run_s, pace.incident_s, strict=True))
    for i, act in enumerate(replay.map.acts):
        (run_from, inc_from), (run_to, inc_to) = knots[i], knots[i + 1]
        speed = (inc_to - inc_from) / (run_to - run_from)
        yield (
            "pace" if i == 0 else "",
            f"{act.name}: {pace.label(run_from)} to {pace.label(run_to)} in {act.run_s:g} s run"
            f" ({speed:.3g}x)",
        )
