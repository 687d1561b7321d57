"""Who a participant is on the wire: number, identity string, source address, AudioBridge id.

A participant has one number k in a run. Everything that another process needs in order to
recognise it follows from k alone (DESIGN §10, "Identity on the wire"), so nothing is looked up.
"""

PARTICIPANTS = 1 << 14
"""Numbers run from 0 to PARTICIPANTS - 1: 127.64.0.0/18 on the wire."""
SENTINEL_EAR = 16_000
"""Number of the sentinel ear of crowd shard 0; shard n has SENTINEL_EAR + n (n < 100)."""
SENTINEL_SPEAKER = 16_100
"""Number of the sentinel speaker of crowd shard 0; shard n has SENTINEL_SPEAKER + n."""

_PREFIX = "127.64."


def source_address(k: int) -> str:
    """Return the IPv4 address from which participant `k` sends on every plane.

    Raises ValueError when `k` is not a participant number.

    >>> source_address(0), source_address(515)
    ('127.64.0.0', '127.64.2.3')
    """
    _check(k)
    return f"{_PREFIX}{k >> 8}.{k & 0xFF}"


def participant_at(address: str) -> int | None:
    """Return the number of the participant with this source address, None when it is nobody's.

    >>> participant_at("127.64.2.3"), participant_at("127.0.0.1")
    (515, None)
    """
    if not address.startswith(_PREFIX):
        return None
    try:
        high, low = (int(part) for part in address.removeprefix(_PREFIX).split("."))
    except ValueError:
        return None
    k = (high << 8) | low
    return k if 0 <= low <= 0xFF and 0 <= k < PARTICIPANTS else None


def identity(k: int) -> str:
    """Return the identity string of participant `k`: what rooms display and the directory knows.

    >>> identity(7)
    'p7'
    """
    _check(k)
    return f"p{k}"


def participant_named(name: str) -> int | None:
    """Return the number behind an identity string, None when it is not one of ours.

    >>> participant_named("p7"), participant_named("p07"), participant_named("owner")
    (7, None, None)
    """
    digits = name[1:]
    if name[:1] != "p" or not (digits.isascii() and digits.isdecimal()):
        return None
    k = int(digits)
    return k if k < PARTICIPANTS and str(k) == digits else None


def audiobridge_id(k: int) -> int:
    """Return the AudioBridge participant id of `k`. Ids are positive: 0 asks for a random one.

    >>> audiobridge_id(0)
    1
    """
    _check(k)
    return k + 1


def participant_with_id(audiobridge_id: int) -> int | None:
    """Return the number behind an AudioBridge participant id, None when it is not one of ours."""
    k = audiobridge_id - 1
    return k if 0 <= k < PARTICIPANTS else None


def _check(k: int) -> None:
    if not 0 <= k < PARTICIPANTS:
        raise ValueError(f"participant number {k} is not in 0..{PARTICIPANTS - 1}")
