"""When things happen in a run: arrivals, gate, the method's zero, the end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from chaoskit.engine.schedule import last_end_s
from chaoskit.model import ActionSpec, FaultSpec, Group, Mic, MicCue, Segment

ARRIVALS_A_SECOND = 50.0
"""A full join costs 2.6 to 7.4 ms of CPU; at this rate a shard's loop stays awake (DESIGN §10)."""
SHORTEST_GATE_S = 10.0
"""Below it a steady state says little (DESIGN §5)."""
RECOVERY_S = 20.0
"""Recovery time unless a check looks further ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Run times of an experiment, as in model.Experiment."""

    gate_from_s: float
    gate_s: float
    method_zero_s: float
    recovery_s: float
    steady_again_s: float
    end_s: float


def spread_arrivals(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Return `groups` with their arrivals: speakers first, then everybody, at most 50 a second."""
    at_s: dict[str, float] = {}
    now_s = 0.0
    for group in sorted(groups, key=lambda g: g.speaker is None):
        at_s[group.name] = now_s
        now_s = _slots(now_s + group.count / ARRIVALS_A_SECOND)
    return tuple(
        replace(
            g,
            arrive_from_s=at_s[g.name],
            arrive_over_s=_slots((g.count - 1) / ARRIVALS_A_SECOND),
        )
        for g in groups
    )


def lay_out(
    groups: Sequence[Group],
    method: Sequence[FaultSpec],
    actions: Sequence[ActionSpec],
    *,
    settle_s: float,
    gate_s: float,
    recovery_s: float | None,
    longest_within_s: float,
    steady_again_s: float,
) -> Timeline:
    """Return the timeline. `groups` with their arrivals; `longest_within_s`: of all checks.

    Raises ValueError for steps that follow each other in a circle.
    """
    last_s = max(g.arrive_from_s + g.arrive_over_s for g in groups)
    # A tenth of a second is enough, and reads better in plans.
    gate_from_s = ceil((last_s + settle_s) * 10 - 1e-6) / 10
    zero_s = round(gate_from_s + gate_s, 6)
    recovery = max(RECOVERY_S, longest_within_s) if recovery_s is None else recovery_s
    healed_s = last_end_s(method, actions, zero_s=zero_s)
    return Timeline(
        gate_from_s=gate_from_s,
        gate_s=gate_s,
        method_zero_s=zero_s,
        recovery_s=recovery,
        steady_again_s=steady_again_s,
        end_s=round(healed_s + recovery + steady_again_s, 6),
    )


def default_programme(groups: Iterable[Group], end_s: float) -> tuple[Segment, ...]:
    """Return host and guest on air all the time; other speakers only when there is neither."""
    speakers = [g for g in groups if g.speaker is not None]
    usual = [g.name for g in speakers if g.role in ("host", "guest")]
    names = tuple(usual or [g.name for g in speakers])
    return (Segment(from_s=0.0, until_s=end_s, speakers=names),)


def script_of(
    groups: Iterable[Group],
    programme: Sequence[Segment],
    extra: Sequence[MicCue],
    *,
    end_s: float,
) -> tuple[MicCue, ...]:
    """Return what microphones do: the programme, unless `extra` says otherwise from its time on.

    A speaker that is not planned on air sends silence. A group with lines of its own in `extra`
    follows the programme until the first of them.
    """
    cues: list[MicCue] = []
    for group in groups:
        if group.speaker is None:
            continue
        own = sorted((c for c in extra if c.group == group.name), key=lambda c: c.at_s)
        until_s = own[0].at_s if own else float("inf")
        on_air = Mic.CLOSED
        for at_s in _changes(programme, end_s):
            planned = any(
                group.name in s.speakers and s.from_s <= at_s < s.until_s for s in programme
            )
            mic = Mic.BEACON if planned else Mic.SILENCE
            if mic is not on_air and at_s < until_s:
                cues.append(MicCue(at_s=at_s, group=group.name, mic=mic))
                on_air = mic
        cues += own
    return tuple(sorted(cues, key=lambda c: (c.at_s, c.group)))


def _changes(programme: Sequence[Segment], end_s: float) -> list[float]:
    moments = {0.0, *(s.from_s for s in programme), *(s.until_s for s in programme)}
    return sorted(m for m in moments if m < end_s)


def _slots(seconds: float) -> float:
    return round(round(seconds / 0.02) * 0.02, 6)
