"""The canary: participants that keep joining during and after every fault (DESIGN §5.8).

So new joiners and returning ones are judged apart. Canaries are a group of their own: they belong
to no population of a check unless it names them, and to no row of a fidelity table. A handful of
them come again and again: one attempt a second needs no participant of its own.
"""

from dataclasses import replace
from math import ceil, floor

from chaoskit.errors import PlanRefused
from chaoskit.model import (
    ClientRules,
    Crowd,
    Experiment,
    FindKind,
    Group,
    ReconnectKind,
    ReconnectRule,
)
from chaoskit.wire.identity import SENTINEL_EAR

CANARY = "canary"
"""Name and role of the group."""
RATE_A_SECOND = 1.0
STAY_S = 4.0
JOIN_TIMEOUT_S = 5.0
MOST = ceil((STAY_S + JOIN_TIMEOUT_S) * RATE_A_SECOND) + 1
"""So many take turns: when one comes again, all that it did before is over."""


def with_canary(experiment: Experiment) -> Experiment:
    """Return `experiment` with one canary a second from the method's zero to its end.

    They take turns: each tries once, stays for a few seconds when it got in, leaves, and comes
    again when all others had their turn. They come beside the planned arrivals (docs/decisions,
    0006). An experiment without faults gets none. Raises PlanRefused when their numbers would be
    those of sentinels.
    """
    from_s = experiment.method_zero_s
    until_s = experiment.end_s - STAY_S
    count = min(MOST, floor((until_s - from_s) * RATE_A_SECOND))
    if not experiment.method or count < 1:
        return experiment
    groups = experiment.crowd.groups
    first = max(g.first + g.count for g in groups)
    if first + count > SENTINEL_EAR:
        raise PlanRefused(
            f"the crowd is too large: with {count} canaries it needs participant numbers up to"
            f" {first + count - 1}, and those from {SENTINEL_EAR} on belong to the harness"
        )
    canary = Group(
        name=CANARY,
        role=CANARY,
        count=count,
        first=first,
        client=ClientRules(
            reconnect=ReconnectRule(kind=ReconnectKind.NONE),
            find=FindKind.POLL,
            poll_s=60.0,
            join_timeout_s=JOIN_TIMEOUT_S,
        ),
        arrive_from_s=from_s,
        arrive_over_s=count / RATE_A_SECOND,
        stay_s=STAY_S,
        every_s=MOST / RATE_A_SECOND,
    )
    return replace(experiment, crowd=Crowd(groups=(*groups, canary)))
