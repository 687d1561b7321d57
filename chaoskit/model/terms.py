"""Words that everything else uses: verdicts, statuses, phases, planes."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

Json = Any
"""A JSON value: null, bool, number, string, list or object with string keys."""
SLOT_S = 0.020
"""One frame slot: 20 ms (DESIGN §6)."""


class Verdict(StrEnum):
    """What a check or a run showed; ordered from good to bad by `worst`."""

    HELD = "held"
    INCONCLUSIVE = "inconclusive"
    DEVIATED = "deviated"


_RANK = {Verdict.HELD: 0, Verdict.INCONCLUSIVE: 1, Verdict.DEVIATED: 2}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst verdict; nothing judged is inconclusive, not a pass."""
    return max(verdicts, key=_RANK.__getitem__, default=Verdict.INCONCLUSIVE)


class RunStatus(StrEnum):
    """How a run went, apart from what it showed."""

    COMPLETED = "completed"
    REFUSED = "refused"
    ABORTED = "aborted"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"


class Phase(StrEnum):
    """Phases of a run, in order (DESIGN §5)."""

    PREPARE = "prepare"
    GATE = "gate"
    INJECT = "inject"
    RECOVER = "recover"
    STEADY_AGAIN = "steady_again"
    JUDGE = "judge"
    SEAL = "seal"


class Plane(StrEnum):
    """Which hop of a group a link carries."""

    API = "api"
    SIGNAL = "signal"
    MEDIA = "media"
