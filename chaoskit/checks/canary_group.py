"""The canary: participants that keep joining during and after every fault (DESIGN §5.8).

So new joiners and returning ones are judged apart. Canaries are a group of their own: they belong
to no population of a check unless it names them, and to no row of a fidelity table.
"""

from dataclasses import replace
from math import floor

from chaoskit.model import (
    ClientRules,
    Crowd,
    Experiment,
    FindKind,
    Group,
    ReconnectKind,
    ReconnectRule,
)

CANARY = "canary"
"""Name and role of the group."""
RATE_A_SECOND = 1.0
STAY_S = 4.0
JOIN_TIMEOUT_S = 5.0


def with_canary(experiment: Experiment) -> Experiment:
    """Return `experiment` with one canary a second from the method's zero to its end.

    Each tries once, stays for a few seconds when it got in, and leaves. An experiment without
    faults gets none.
    """
    from_s = experiment.method_zero_s
    until_s = experiment.end_s - STAY_S
    count = floor((until_s - from_s) * RATE_A_SECOND)
    if not experiment.method or count < 1:
        return experiment
    groups = experiment.crowd.groups
    canary = Group(
        name=CANARY,
        role=CANARY,
        count=count,
        first=max(g.first + g.count for g in groups),
        client=ClientRules(
            reconnect=ReconnectRule(kind=ReconnectKind.NONE),
            find=FindKind.POLL,
            poll_s=60.0,
            join_timeout_s=JOIN_TIMEOUT_S,
        ),
        arrive_from_s=from_s,
        arrive_over_s=count / RATE_A_SECOND,
        stay_s=STAY_S,
    )
    return replace(experiment, crowd=Crowd(groups=(*groups, canary)))
