"""Numbers as files write them: durations and percentages with their unit, counts without.

Durations and levels carry a unit (`30s`, `500ms`, `2m`, `1h`, `1m30s`); a bare number is refused,
since nobody can tell 30 seconds from 30 milliseconds.
"""

import re
from typing import Any

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h)")
_DURATION = re.compile(rf"([-+]?)((?:{_PART.pattern}\s*)+)$")
_BARE = re.compile(r"[-+]?\d+(?:\.\d+)?$")
_PERCENT = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*%$")


def parse_duration_s(value: Any, *, signed: bool = False) -> float:
    """Return seconds of a duration as written. Raises ValueError with a message for the user.

    >>> parse_duration_s("1m30s")
    90.0
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"a duration is expected here, not {_what(value)}; write 30s or 500ms")
    text = str(value).strip()
    if _BARE.match(text):
        raise ValueError(f'duration "{text}" has no unit; write {_with_unit(text)}')
    found = _DURATION.match(text)
    if not found:
        raise ValueError(f'"{text}" is not a duration; write 30s, 500ms, 2m or 1m30s')
    seconds = sum(float(n) * _UNIT_S[unit] for n, unit in _PART.findall(found.group(2)))
    if found.group(1) == "-":
        if not signed:
            raise ValueError(f'duration "{text}" must not be negative')
        seconds = -seconds
    return round(seconds, 6)


def is_duration(value: Any) -> bool:
    """Return whether `value` is text that reads as a duration with its unit."""
    return isinstance(value, str) and bool(_DURATION.match(value.strip()))


def parse_fraction(value: Any) -> float:
    """Return 0..1 of `20%`, `0.2` or `1`. Raises ValueError with a message for the user.

    >>> parse_fraction("2%")
    0.02
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"a share is expected here, not {_what(value)}; write 20% or 0.2")
    if isinstance(value, str):
        found = _PERCENT.match(value.strip())
        if not found:
            raise ValueError(f'"{value}" is not a share; write 20% or 0.2')
        fraction = round(float(found.group(1)) / 100, 9)
    else:
        fraction = float(value)
    if not 0.0 <= fraction <= 1.0:
        wanted = (
            "between 0% and 100%"
            if isinstance(value, str)
            else "between 0 and 1, or written as a percentage"
        )
        raise ValueError(f"{value} is out of range; a share is {wanted}")
    return fraction


def parse_count(value: Any, *, least: int = 0, most: int | None = None) -> int:
    """Return a whole number of `least`..`most`. Raises ValueError with a message for the user."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a whole number is expected here, not {_what(value)}")
    if value < least or (most is not None and value > most):
        span = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{value} is out of range; it must be {span}")
    return value


def _with_unit(text: str) -> str:
    return f"{text}s" if "." in text else f"{text}s or 500ms"


def _what(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return {"dict": "a mapping", "list": "a list"}.get(type(value).__name__, f'"{value}"')
