"""The screen of `chaoskit plan`: schedule, mechanism, undo and proof of steps; checks; reach."""

from rich.console import RenderableType

from chaoskit.engine.plan import Plan, PlannedStep
from chaoskit.model import CheckSpec, Experiment
from chaoskit.report.terminal import plan_screen as render


def plan_screen(experiment: Experiment, plan: Plan) -> RenderableType:
    """Return the screen for a plan."""
    crowd = ", ".join(f"{g.count} {g.name}" for g in experiment.crowd.groups)
    head = f"{experiment.id} · {experiment.stack} · {crowd} · about {experiment.end_s:.0f} s"
    rows: list[tuple[str, str]] = []
    if experiment.gate_s:
        gate = [c for c in experiment.hypothesis.checks if c.of is None]
        rows.append(
            ("gate", f"{', '.join(_check_text(c) for c in gate)} for {experiment.gate_s:g} s")
        )
    for step in plan.steps:
        rows += _step_rows(step)
    rows.append(("checks", " · ".join(_check_text(c) for c in experiment.hypothesis.checks)))
    reach = ", ".join(f"{n} of {name}" for name, n in plan.reach_by_group.items()) or "nobody"
    rows.append(("reach", f"{reach} ({len(plan.reach)} of {plan.crowd_size} participants)"))
    return render(head, rows, "Nothing was started.")


def _step_rows(step: PlannedStep) -> list[tuple[str, str]]:
    when = step.trigger if step.from_s is None else f"{step.from_s:.1f} s"
    rows = [(when, f"{step.id}  {step.kind} {' '.join(step.targets)}".rstrip())]
    if step.preview is not None:
        rows.append(("", f"by {step.preview.mechanism}"))
        rows.append(("", f"undo: {step.preview.undo}   proof: {step.preview.proof}"))
        if step.until_s is not None:
            rows.append((f"{step.until_s:.1f} s", f"heal {step.id}"))
    return rows


def _check_text(check: CheckSpec) -> str:
    params = ", ".join(f"{key} {value}" for key, value in check.params.items())
    return f"{check.kind} {params}".rstrip() + (f" of {check.of}" if check.of else "")
