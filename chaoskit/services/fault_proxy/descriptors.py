"""File descriptors: the relay's own need, and as many as this user may have."""

import logging
import resource

log = logging.getLogger(__name__)

PER_LISTENER = 5
"""Two for its connection to the directory, two for its signalling, one server-side media socket."""
OWN = 256
"""Links, the control API and its clients, logs."""


def raise_limit(listeners: int) -> tuple[int, int]:
    """Raise the soft limit to the hard one; say so when that is too low for `listeners`.

    Returns the need and the limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    need = PER_LISTENER * listeners + OWN
    if hard != resource.RLIM_INFINITY and hard < need:
        log.warning(
            "descriptors: %d listeners need %d (%d each and %d besides), the limit is %d; "
            "raise it with: ulimit -Hn %d",
            *(listeners, need, PER_LISTENER, OWN, hard, need),
        )
    return need, hard
