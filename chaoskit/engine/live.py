"""Live values of checks, for abort conditions: rough, from what the crowd reported last."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from chaoskit.audio.listening import CONCEALED, VOICE_BITS
from chaoskit.checks.canary_group import CANARY
from chaoskit.checks.history import EVERYONE
from chaoskit.errors import PlanRefused
from chaoskit.model import AbortCondition, CheckSpec, Crowd
from chaoskit.ports import Tools

Live = Callable[[CheckSpec], float | None]
"""Returns a check's value now, None = nothing known yet. Raises KeyError: no live value."""


def population(crowd: Crowd, names: Sequence[str]) -> tuple[int, ...]:
    """Return the members of groups or roles; `everyone` is all but canaries (History.members)."""
    if EVERYONE in names:
        return tuple(k for g in crowd.groups if g.role != CANARY for k in g.members())
    return crowd.members(names)


def live_from_facts(tools: Tools) -> Live:
    """Return live values of `join_success` and `heard_ratio` from the crowd's facts.

    Both are shares of the population: joined now; a speaker's voice in the last judged slot.
    """

    def value(check: CheckSpec) -> float | None:
        facts, people = tools.need_facts(), population(tools.crowd, check.members)
        if check.kind not in ("join_success", "heard_ratio"):
            raise KeyError(check.kind)
        if not people:
            return None
        if check.kind == "join_success":
            presence = facts.presence()
            fine = sum(k in presence and presence[k].state == "joined" for k in people)
        else:
            fine = sum(_is_voice(facts.hearing(k)) for k in people)
        return fine / len(people)

    return value


class AbortWatch:
    """Remembers since when each abort condition holds.

    A condition fires when its value was beyond the bound for `for_s` within the last `window_s`
    (whichever is longer bounds what is remembered).
    """

    def __init__(self, conditions: tuple[AbortCondition, ...], live: Live) -> None:
        self._conditions, self._live = conditions, live
        self._beyond: list[list[tuple[float, bool]]] = [[] for _ in conditions]

    def check(self) -> None:
        """Ask each condition once. Raises PlanRefused for one that has no live value."""
        for condition in self._conditions:
            try:
                self._live(condition.check)
            except KeyError as error:
                raise PlanRefused(f"abort: {condition.check.kind} has no live value") from error

    def fired(self, now_s: float) -> str | None:
        """Return why the run must stop, or None. Call it once a second, say, with run time."""
        for condition, seen in zip(self._conditions, self._beyond, strict=True):
            value = self._live(condition.check)
            if value is None:
                continue
            seen.append((now_s, _is_beyond(condition, value)))
            span_s = max(condition.window_s, condition.for_s)
            while seen and seen[0][0] < now_s - span_s - 1e-9:
                seen.pop(0)
            if _time_beyond(seen) >= condition.for_s - 1e-9:
                bound = _bound_text(condition)
                return f"{condition.check.kind} was {value:g}, {bound}, for {condition.for_s:g} s"
        return None


def _is_voice(code: int) -> bool:
    return code < CONCEALED and bool(code & VOICE_BITS)


def _is_beyond(condition: AbortCondition, value: float) -> bool:
    below = condition.below is not None and value < condition.below
    above = condition.above is not None and value > condition.above
    return below or above


def _time_beyond(seen: list[tuple[float, bool]]) -> float:
    """Return the time between samples that were both beyond the bound."""
    return sum(b[0] - a[0] for a, b in pairwise(seen) if a[1] and b[1])


def _bound_text(condition: AbortCondition) -> str:
    if condition.below is not None:
        return f"below {condition.below:g}"
    return f"above {condition.above:g}"
