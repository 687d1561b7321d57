"""How long a client waits before it tries again: the product's rule, as a pure function."""

import random

from chaoskit.wire.crowd import GroupPlan

_MOST_DOUBLINGS = 32  # beyond that every cap is reached, and 2.0**n would overflow some day


def delay_s(
    rule: GroupPlan, *, seed: int, participant: int, attempt: int, failures: int
) -> float | None:
    """Return the wait before the next attempt, in seconds; None: it gives up.

    failures: attempts that failed in a row, 0 after a connection that was lost. attempt: number of
    the last attempt of the run; with seed and participant it alone decides the jitter, so that a
    run can be repeated.
    Raises ValueError for an unknown rule.

    >>> rule = GroupPlan(name="g", role="r", api="", api_link="", signal={}, signal_links={},
    ...     media={}, media_links={}, reconnect="exponential", base_s=0.5, cap_s=3.0, attempts=5)
    >>> [delay_s(rule, seed=1, participant=0, attempt=1, failures=n) for n in range(6)]
    [0.5, 0.5, 1.0, 2.0, 3.0, None]
    """
    if rule.attempts is not None and failures >= rule.attempts:
        return None
    tries = min(max(failures - 1, 0), _MOST_DOUBLINGS)
    grown = min(rule.cap_s, rule.base_s * 2.0**tries)
    match rule.reconnect:
        case "none":
            return None
        case "fixed":
            return rule.base_s
        case "exponential":
            return grown
        case "full_jitter":
            return random.Random(f"{seed}/{participant}/{attempt}").uniform(0.0, grown)
        case _:
            raise ValueError(f"unknown reconnect rule {rule.reconnect!r}")
