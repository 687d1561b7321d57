"""Statistics over a population in which nobody may drop out, and results that say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf

import numpy as np

from chaoskit.checks.history import History
from chaoskit.model import CheckResult, CheckSpec, Verdict

UNJUDGED_LIMIT = 0.01
"""A window of which more was not judged in time is unmeasurable (DESIGN §5)."""
_NEEDED = {"p50": 1, "p95": 20, "p99": 100, "max": 1}
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A quantile of a population of `n`. `used` is not what was asked when n was too small."""

    value: float
    used: str
    n: int
    note: str = ""


def statistic(values: Sequence[float], which: str) -> Statistic:
    """Return p50, p95, p99 or max of `values`, which may hold inf for never.

    Quantiles are order statistics (the next higher value). A p95 needs n of 20, a p99 of 100; with
    fewer the maximum is used and the note says so. Raises ValueError for an empty population.
    """
    if not values:
        raise ValueError("nobody in the population")
    n = len(values)
    used = which if n >= _NEEDED[which] else "max"
    value = float(np.quantile(np.asarray(values, dtype=float), _SHARES[used], method="higher"))
    note = "" if used == which else f"n {n} is too few for {which}: the maximum is used"
    return Statistic(value=value, used=used, n=n, note=note)


def who(spec: CheckSpec) -> str:
    """Return the population in words."""
    return "planned participants: " + ", ".join(spec.members)


def result(
    spec: CheckSpec,
    verdict: Verdict,
    *,
    observed: float | None,
    threshold: str,
    unit: str,
    n: int,
    notes: Sequence[str] = (),
) -> CheckResult:
    """Return a result; an infinite observation (never) is written as None."""
    never = observed is not None and isinf(observed)
    return CheckResult(
        name=spec.name,
        kind=spec.kind,
        verdict=verdict,
        observed=None if never else observed,
        threshold=threshold,
        unit=unit,
        population=who(spec),
        n=n,
        note="; ".join([*(["never"] if never else []), *(x for x in notes if x)]),
    )


def unreadable(spec: CheckSpec, why: str, *, n: int = 0, threshold: str = "") -> CheckResult:
    """Return an inconclusive result that says why nothing could be judged."""
    return result(
        spec,
        Verdict.INCONCLUSIVE,
        observed=None,
        threshold=threshold,
        unit="",
        n=n,
        notes=[why],
    )


def judge_bounds(
    spec: CheckSpec,
    values: Sequence[float],
    bounds: Mapping[str, float | None],
    *,
    unit: str,
    also: Sequence[tuple[bool, str, str]] = (),
    notes: Sequence[str] = (),
) -> CheckResult:
    """Return held when every bound (p50, p95, p99, max → at most) holds for `values`.

    also: further conditions as (holds, threshold text, note when it does not hold). Observed is the
    first statistic that fails, else the first one asked for; the worst value when none was.
    """
    asked = {which: limit for which, limit in bounds.items() if limit is not None}
    threshold = ", ".join(
        [*(f"{w} ≤ {_short(limit, unit)}" for w, limit in asked.items()), *(t for _, t, _ in also)]
    )
    if not values:
        return unreadable(spec, "nobody in the population", threshold=threshold)
    stats = {which: statistic(values, which) for which in asked}
    failing = [w for w, s in stats.items() if s.value > asked[w]]
    shown = stats[failing[0]] if failing else next(iter(stats.values()), statistic(values, "max"))
    broken = [note for holds, _, note in also if not holds]
    return result(
        spec,
        Verdict.DEVIATED if failing or broken else Verdict.HELD,
        observed=shown.value,
        threshold=threshold,
        unit=unit,
        n=len(values),
        notes=[*dict.fromkeys(s.note for s in stats.values()), *broken, *notes],
    )


def judge_share(
    spec: CheckSpec,
    good: int,
    n: int,
    at_least: float,
    *,
    notes: Sequence[str] = (),
) -> CheckResult:
    """Return held when at least the share `at_least` of `n` is good."""
    threshold = f"≥ {at_least:g}"
    if not n:
        return unreadable(spec, "nobody in the population", threshold=threshold)
    share = good / n
    return result(
        spec,
        Verdict.HELD if share >= at_least else Verdict.DEVIATED,
        observed=share,
        threshold=threshold,
        unit="",
        n=n,
        notes=[f"{good} of {n}", *notes],
    )


def unmeasurable(due: int, unjudged: int) -> str:
    """Return why a window cannot be measured, or "" when it can."""
    if due and unjudged / due > UNJUDGED_LIMIT:
        return f"{unjudged / due:.1%} of the frames were not judged in time"
    return ""


def origin_of(history: History, spec: CheckSpec) -> float | None:
    """Return the run time from which a check `of` a fault counts: its effect or its healing."""
    fault = history.fault(spec.of or "")
    return fault.healed_s if spec.from_ == "heal" else fault.effect_s


def seconds_text(value: float) -> str:
    """Return a time in words: `2.34 s`, or `never`.

    >>> seconds_text(2.3)
    '2.30 s'
    """
    return "never" if value == inf else f"{value:.2f} s"


def _short(value: float, unit: str) -> str:
    return f"{value:g} {unit}".rstrip()
