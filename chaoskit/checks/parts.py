"""Names of the services that play a part in every stack that chaoskit comes with.

A stack file may call them otherwise (model.Stack), but the judge has the plan and the facts alone:
this is the one place where it takes names for granted.
"""

DIRECTORY = "directory"
PROXY = "fault-proxy"
CROWD_PREFIX = "crowd-"
"""What the names of all crowd shards begin with."""
RELAY_LAG_PROBE = "relay_lag"
"""Probe of the relay's loop lag: its largest value of the last second, in ms."""
RELAY_LAG_NOTED_MS = 20.0
"""One frame; less is not worth a line in the journal."""


def is_harness(service: str) -> bool:
    """Return whether `service` is a part of the instrument, not of what is under test."""
    return service == PROXY or service.startswith(CROWD_PREFIX)
