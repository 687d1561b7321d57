"""CPU priority of what measures: relay and ears must stay awake while services are overloaded."""

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

NICE = -10
_AUTOGROUP = Path("/proc/self/autogroup")


def ask_for_priority() -> bool:
    """Ask for a larger share of the CPU; return whether it was given (it takes privileges).

    Each process of a run has a session of its own, and where the kernel groups tasks by session
    (sched_autogroup) only the group's nice value counts between them, so both are set. Source:
    sched(7), "The autogroup feature".
    """
    given = True
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    except OSError:
        given = False
    with contextlib.suppress(OSError):
        _AUTOGROUP.write_text(str(NICE))
    log.info("CPU priority: %s", f"nice {NICE}" if given else "as given, more needs privileges")
    return given
