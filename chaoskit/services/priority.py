"""CPU priority of a run's processes: the instrument first, then the services, then other work.

Relay and ears must stay awake while services are overloaded; and what else the machine does must
not pass for a fault of the services.
"""

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

INSTRUMENT_NICE = -10
SERVICE_NICE = -5
_AUTOGROUP = Path("/proc/self/autogroup")


def ask_for_priority(nice: int) -> bool:
    """Ask for the share of the CPU that `nice` stands for; return whether it was given.

    It takes privileges; without them everything runs as it is, on equal terms.

    Each process of a run has a session of its own, and where the kernel groups tasks by session
    (sched_autogroup) only the group's nice value counts between them, so both are set. Source:
    sched(7), "The autogroup feature".
    """
    given = True
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError:
        given = False
    with contextlib.suppress(OSError):
        _AUTOGROUP.write_text(str(nice))
    log.info("CPU priority: %s", f"nice {nice}" if given else "as given, more needs privileges")
    return given
