"""Judges all checks of a run: a check that cannot be read, or crashes, is inconclusive."""

from collections.abc import Iterable

from chaoskit.checks.history import History
from chaoskit.checks.population import unreadable
from chaoskit.checks.registry import KINDS
from chaoskit.model import CheckResult, CheckSpec, Verdict, worst


def judge_all(specs: Iterable[CheckSpec], history: History) -> tuple[CheckResult, ...]:
    """Return the result of every check, in order. Never raises."""
    return tuple(_judge(spec, history) for spec in specs)


def judge_gate(
    specs: Iterable[CheckSpec], history: History, *, from_s: float, until_s: float
) -> tuple[CheckResult, ...]:
    """Return the results of those checks that a gate can judge, over [from_s, until_s) alone.

    A gate is the steady state before anything is injected, or the closing one.
    """
    part = history.within(from_s, until_s)
    return judge_all((s for s in specs if is_for_gate(s)), part)


def is_for_gate(spec: CheckSpec) -> bool:
    """Return whether `spec` can be judged without a fault: it is about a steady state."""
    kind = KINDS.get(spec.kind)
    return kind is not None and kind.at_gate and spec.of is None and spec.during in _GATE_WINDOWS


def verdict_of(results: Iterable[CheckResult], *, valid: bool) -> Verdict:
    """Return the run's verdict: the worst of its checks, inconclusive when the run is invalid."""
    return worst(r.verdict for r in results) if valid else Verdict.INCONCLUSIVE


def _nobody(spec: CheckSpec, history: History) -> str:
    """Return why the population is empty, or "" when there is somebody in it."""
    try:
        if history.members(spec.members):
            return ""
    except ValueError as error:
        return f"nobody in the population: {error}"
    return f"nobody in the population: the crowd has no member in {', '.join(spec.members)}"


_GATE_WINDOWS = frozenset({"run", "steady"})


def _judge(spec: CheckSpec, history: History) -> CheckResult:
    kind = KINDS.get(spec.kind)
    if kind is None:
        return unreadable(spec, f"unknown check {spec.kind}")
    try:
        check = kind.parse(spec)
        absent = _nobody(spec, history)
        return unreadable(spec, absent) if absent else check.judge(history)
    except Exception as error:
        # One broken check must not take the verdict of the others with it.
        return unreadable(spec, f"could not be judged: {type(error).__name__}: {error}")
