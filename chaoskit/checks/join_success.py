"""Check `join_success`: the share of planned participants in a room when the window ends."""

from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.checks.history import History
from chaoskit.checks.population import judge_share, unreadable
from chaoskit.checks.protocol import Fraction, check_common, read_params
from chaoskit.model import CheckResult, CheckSpec

_LAST_MOMENTS_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """`at_least`: share of those planned to have arrived by then."""

    at_least: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSuccess:
    """Everybody who should be in is in a room at the end of the window; of several, the worst."""

    kind: ClassVar[str] = "join_success"
    params: ClassVar[type] = Params
    of_fault: ClassVar[bool] = False
    at_gate: ClassVar[bool] = True
    population: ClassVar[tuple[str, ...]] = ("listener",)
    during: ClassVar[str] = "run"
    spec: CheckSpec
    bounds: Params

    @classmethod
    def parse(cls, spec: CheckSpec) -> Self:
        """Return the check of `spec`. Raises ParamError."""
        check_common(cls, spec)
        return cls(spec=spec, bounds=read_params(Params, spec))

    def judge(self, history: History) -> CheckResult:
        """Return the share in a room; who never tried counts as not in."""
        members = history.members(self.spec.members)
        worst: tuple[float, int, int] | None = None
        for window in history.windows(self.spec.during):
            planned = [k for k in members if history.arrival_s(k) < window.until_s]
            inside = sum(1 for k in planned if _in_room(history, k, window.until_s))
            share = inside / len(planned) if planned else 1.0
            if planned and (worst is None or share < worst[0]):
                worst = (share, inside, len(planned))
        if worst is None:
            return unreadable(self.spec, "nobody was planned to have arrived")
        return judge_share(self.spec, worst[1], worst[2], self.bounds.at_least)


def _in_room(history: History, participant: int, at_s: float) -> bool:
    """Return whether it is in a room at `at_s`; leaving with the run's own end is no failure."""
    return any(
        s.from_s < at_s
        and (s.until_s >= at_s or (s.end == "end" and s.until_s > at_s - _LAST_MOMENTS_S))
        for s in history.tracks[participant].stays
    )
