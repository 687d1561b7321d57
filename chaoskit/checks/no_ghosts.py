"""Check `no_ghosts`: a room server lists nobody who is gone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from chaoskit.checks.history import History
from chaoskit.checks.population import origin_of, result, unreadable
from chaoskit.checks.protocol import Seconds, check_common, read_params
from chaoskit.checks.tracks import Span
from chaoskit.model import CheckResult, CheckSpec, Observed, Verdict

PROBE = "participants:"
"""Probes are called `participants:<node>:<room>`; their value maps a participant to muted."""
_SLACK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """`within_s`: from the fault's effect (or healing), after which no ghost may be listed."""

    within_s: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class NoGhosts:
    """A ghost: listed in a room in which the participant itself is not, nor was within a second."""

    kind: ClassVar[str] = "no_ghosts"
    params: ClassVar[type] = Params
    of_fault: ClassVar[bool] = True
    at_gate: ClassVar[bool] = False
    population: ClassVar[tuple[str, ...]] = ("everyone",)
    during: ClassVar[str] = "run"
    spec: CheckSpec
    bounds: Params

    @classmethod
    def parse(cls, spec: CheckSpec) -> Self:
        """Return the check of `spec`. Raises ParamError."""
        check_common(cls, spec)
        return cls(spec=spec, bounds=read_params(Params, spec))

    def judge(self, history: History) -> CheckResult:
        """Return seconds from the fault until the last time that a ghost was listed."""
        members = set(history.members(self.spec.members))
        from_s = origin_of(history, self.spec)
        threshold = f"none after {self.bounds.within_s:g} s"
        if from_s is None:
            why = f"{self.spec.of} has no {self.spec.from_}"
            return unreadable(self.spec, why, n=len(members), threshold=threshold)
        last_s: float | None = None
        ghosts: set[int] = set()
        late_looks = 0
        for at_s, room, listed in _looks(history):
            if at_s < from_s:
                continue
            late = at_s - from_s > self.bounds.within_s
            late_looks += late
            gone = {k for k in listed & members if not _is_there(history, k, room, at_s)}
            if gone:
                last_s = at_s - from_s
                ghosts = gone if late else ghosts
        if not late_looks:
            why = f"no room was looked at later than {self.bounds.within_s:g} s after it"
            return unreadable(self.spec, why, n=len(members), threshold=threshold)
        held = last_s is None or last_s <= self.bounds.within_s
        named = ", ".join(f"p{k}" for k in sorted(ghosts)[:5])
        return result(
            self.spec,
            Verdict.HELD if held else Verdict.DEVIATED,
            observed=last_s or 0.0,
            threshold=threshold,
            unit="s",
            n=len(members),
            notes=["" if held else f"still listed: {named}", f"{late_looks} looks after that"],
        )


def _looks(history: History) -> Iterator[tuple[float, int, set[int]]]:
    for event in history.of(Observed):
        if event.probe.startswith(PROBE) and isinstance(event.value, Mapping):
            room = int(event.probe.rsplit(":", 1)[1])
            yield event.at_s, room, {int(str(k).lstrip("p")) for k in event.value}


def _is_there(history: History, participant: int, room: int, at_s: float) -> bool:
    near = Span(from_s=at_s - _SLACK_S, until_s=at_s + _SLACK_S)
    return any(
        stay.room == room and near.overlaps(Span(from_s=stay.from_s, until_s=stay.until_s))
        for stay in history.tracks[participant].stays
    )
