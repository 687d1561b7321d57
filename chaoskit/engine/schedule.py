"""When each step of a method is planned to begin and to end. Pure arithmetic on run time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaoskit.model import ActionSpec, After, At, Experiment, FaultSpec, When

WHEN_WAIT_S = 60.0
"""A step that waits for a fact is planned as if the fact came this late; later it is not done."""
CLOSE_S = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Planned run time of one step. `from_s` None: it waits for a fact, so nobody knows.

    `latest_from_s` and `until_s` hold for the latest case. An action has no extent. `follows`: the
    steps that must be over before this one begins.
    """

    id: str
    from_s: float | None
    latest_from_s: float
    until_s: float
    follows: frozenset[str] = frozenset()

    def overlaps(self, other: "Window") -> bool:
        """Return whether both may be active at one time."""
        if self.id in other.follows or other.id in self.follows:
            return False
        if self.from_s is None or other.from_s is None:
            return True
        return self.from_s < other.until_s - CLOSE_S and other.from_s < self.until_s - CLOSE_S


def windows(
    method: Sequence[FaultSpec],
    actions: Sequence[ActionSpec],
    *,
    zero_s: float,
    open_until_s: float,
) -> dict[str, Window]:
    """Return the planned window of every step by id.

    `zero_s`: the method's zero. `open_until_s`: when a fault without a duration is healed.
    Raises ValueError for a step that follows an unknown step, one without an end, or itself in a
    circle.
    """
    steps: dict[str, FaultSpec | ActionSpec] = {s.id: s for s in method}
    steps |= {s.id: s for s in actions}
    found: dict[str, Window] = {}

    def window(step_id: str, asked_by: tuple[str, ...]) -> Window:
        if step_id in found:
            return found[step_id]
        if step_id not in steps:
            raise ValueError(f'step "{asked_by[-1]}" follows "{step_id}", which does not exist')
        if step_id in asked_by:
            circle = " → ".join([*asked_by[asked_by.index(step_id) :], step_id])
            raise ValueError(f"steps follow each other in a circle: {circle}")
        step = steps[step_id]
        from_s: float | None
        follows: frozenset[str] = frozenset()
        match step.trigger:
            case At(at_s=at_s):
                from_s = latest = zero_s + at_s
            case When():
                from_s, latest = None, zero_s + WHEN_WAIT_S
            case After(step=earlier, delay_s=delay_s):
                before = window(earlier, (*asked_by, step_id))
                if _is_open(steps[earlier]):
                    raise ValueError(
                        f'step "{step_id}" follows "{earlier}", which lasts until the end'
                        " of the recovery; give that one a duration"
                    )
                latest, follows = before.until_s + delay_s, before.follows | {earlier}
                from_s = None if before.from_s is None else latest
        found[step_id] = Window(
            id=step_id,
            from_s=from_s,
            latest_from_s=latest,
            until_s=_until(step, latest, open_until_s),
            follows=follows,
        )
        return found[step_id]

    for step_id in steps:
        window(step_id, ())
    return found


def windows_of(experiment: Experiment) -> dict[str, Window]:
    """Return the planned windows of an experiment. Raises ValueError as `windows` does."""
    return windows(
        experiment.method,
        experiment.actions,
        zero_s=experiment.method_zero_s,
        open_until_s=recovered_s(experiment),
    )


def recovered_s(experiment: Experiment) -> float:
    """Return the planned end of the recovery, at which faults without a duration are healed."""
    return experiment.end_s - experiment.steady_again_s


def last_end_s(
    method: Sequence[FaultSpec], actions: Sequence[ActionSpec], *, zero_s: float
) -> float:
    """Return when the last step with an end is over; `zero_s` when there is none.

    A fault without a duration counts with its beginning. Raises ValueError as `windows` does.
    """
    planned = windows(method, actions, zero_s=zero_s, open_until_s=zero_s)
    return max((max(w.until_s, w.latest_from_s) for w in planned.values()), default=zero_s)


def most_at_once(planned: Mapping[str, Window], ids: Iterable[str]) -> tuple[str, ...]:
    """Return a large set of `ids` whose windows may all be active at one moment.

    Exact for steps with a known time. A step that waits for a fact joins wherever it can, so the
    answer errs on the side of caution.
    """
    own = [planned[i] for i in ids]
    known = [w for w in own if w.from_s is not None]
    waiting = [w for w in own if w.from_s is None]
    # Somebody is the last to begin; everybody active then overlaps that one's beginning.
    sets = [[w for w in known if _active_at(w, last)] for last in known]
    best: list[Window] = []
    for together in [*sets, []]:
        joining = [w for w in waiting if all(w.overlaps(other) for other in together)]
        best = max(best, together + _most_mutual(joining), key=len)
    return tuple(w.id for w in best)


def _most_mutual(windows_: Sequence[Window]) -> list[Window]:
    """Return a largest set of which each two overlap."""
    if not windows_:
        return []
    first, *rest = windows_
    friends = [w for w in rest if w.overlaps(first)]
    with_first = [first, *_most_mutual(friends)]
    if len(friends) == len(rest):
        return with_first
    return max(with_first, _most_mutual(rest), key=len)


def _active_at(own: Window, beginning: Window) -> bool:
    """Whether `own`, of known time, may be active when `beginning` begins."""
    if own.id == beginning.id:
        return True
    assert own.from_s is not None
    assert beginning.from_s is not None
    return own.overlaps(beginning) and own.from_s <= beginning.from_s + CLOSE_S


def _is_open(step: FaultSpec | ActionSpec) -> bool:
    return isinstance(step, FaultSpec) and step.duration_s is None


def _until(step: FaultSpec | ActionSpec, from_s: float, open_until_s: float) -> float:
    if isinstance(step, ActionSpec):
        return from_s
    if step.duration_s is None:
        return max(from_s, open_until_s)
    return from_s + step.duration_s
