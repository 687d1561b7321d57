"""What is asked of a run, and the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaoskit.model.terms import Json, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """One check as written. `params` are the kind's own; the rest is common to all kinds.

    `name` is unique in the experiment. `of`: fault id. `from_`: `effect` or `heal`. `during`:
    `steady`, `run`, or a fault id. `members`: group names or roles of the population.
    """

    name: str
    kind: str
    params: Mapping[str, Json] = field(default_factory=dict)
    of: str | None = None
    from_: str = "effect"
    during: str = "run"
    members: tuple[str, ...] = ("listener",)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Verdict of one check with the number it rests on. `n` = size of the population judged."""

    name: str
    kind: str
    verdict: Verdict
    observed: float | None
    threshold: str
    unit: str
    population: str
    n: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortCondition:
    """Stop when `check`'s live value is below/above the bound for `for_s` within `window_s`."""

    check: CheckSpec
    below: float | None
    above: float | None
    window_s: float
    for_s: float
