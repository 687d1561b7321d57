"""All kinds of checks by name. A kind not listed here cannot be written in a file."""

from chaoskit.checks.audio_age import AudioAge
from chaoskit.checks.audio_gap import AudioGap
from chaoskit.checks.dead_air import DeadAir
from chaoskit.checks.first_word import FirstWord
from chaoskit.checks.fresh_room import FreshRoom
from chaoskit.checks.heard_ratio import HeardRatio
from chaoskit.checks.join_success import JoinSuccess
from chaoskit.checks.join_time import JoinTime
from chaoskit.checks.no_ghosts import NoGhosts
from chaoskit.checks.protocol import Check
from chaoskit.checks.recovery import Recovery
from chaoskit.checks.retention import Retention

_CLASSES: tuple[type[Check], ...] = (
    JoinSuccess,
    JoinTime,
    AudioGap,
    AudioAge,
    DeadAir,
    HeardRatio,
    FreshRoom,
    Recovery,
    NoGhosts,
    Retention,
    FirstWord,
)

KINDS: dict[str, type[Check]] = {c.kind: c for c in _CLASSES}


def check_class(kind: str) -> type[Check]:
    """Return the class of a kind. Raises KeyError for an unknown one."""
    return KINDS[kind]
