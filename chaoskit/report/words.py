"""Numbers, checks and thresholds in the words of people: `95 %`, `60 ms`, `34 min 34 s`."""

import re
from collections.abc import Mapping
from typing import Any

from chaoskit.model import CheckSpec

_STATISTIC = re.compile(r"(p\d+|max)_at_most_s$")
_FRACTION_S = re.compile(r"(?<![\d.])(0\.\d+) s\b")
_SHARE = re.compile(r"0|1|0?\.\d+")


def percent(share: float) -> str:
    """Return a share of 0..1 as a percentage.

    >>> percent(0.99), percent(0.023), percent(1.0)
    ('99 %', '2.3 %', '100 %')
    """
    return f"{round(100 * share, 2):g} %"


def duration(value_s: float) -> str:
    """Return a duration as a limit is written: without digits that say nothing.

    >>> duration(0.06), duration(12.0), duration(90.5)
    ('60 ms', '12 s', '90.5 s')
    """
    return f"{value_s * 1000:g} ms" if 0 < value_s < 1 else f"{value_s:g} s"


def seconds(value_s: float | None, unit: str = "") -> str:
    """Return a measured duration: `2.3 s`, `34 min 34 s`, `never` for None.

    >>> seconds(2.34, "run"), seconds(2074.0), seconds(None)
    ('2.3 s run', '34 min 34 s', 'never')
    """
    if value_s is None:
        return "never"
    minutes, rest = divmod(round(value_s), 60)
    text = f"{value_s:.1f} s" if value_s < 90 else f"{minutes} min {rest:02d} s"
    return f"{text} {unit}".rstrip()


def observed(value: float | None, unit: str) -> str:
    """Return what a check saw; a number without a unit is a share.

    >>> observed(0.06, "s"), observed(3.834, "s"), observed(0.985, ""), observed(None, "s")
    ('60 ms', '3.83 s', '98.5 %', '-')
    """
    if value is None:
        return "-"
    if unit == "s":
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
    return percent(value) if not unit else f"{value:.4g} {unit}"


def threshold(text: str, unit: str) -> str:
    """Return a threshold as a result has it, with percentages and milliseconds.

    >>> threshold("≥ 0.99", ""), threshold("≤ 60 s for 0.99", "s"), threshold("p99 ≤ 0.06 s", "s")
    ('≥ 99 %', '≤ 60 s for 99 %', 'p99 ≤ 60 ms')
    """
    text = _FRACTION_S.sub(lambda found: duration(float(found[1])), text)
    head, word, share = text.rpartition(" for " if unit else "≥ ")
    return f"{head}{word}{percent(float(share))}" if word and _SHARE.fullmatch(share) else text


def check_text(check: CheckSpec) -> str:
    """Return a check as one would say it: `recovery of drop-host p95 ≤ 12 s, never 0`."""
    head = [check.name if check.name == check.kind else f"{check.kind} ({check.name})"]
    params = dict(check.params)
    if "speaker" in params:
        head.append(f"of {params.pop('speaker')}")
    if check.of:
        head.append(f"of {check.of}" + ("'s heal" if check.from_ == "heal" else ""))
    bounds = [text for text in _bounds(params) if text]
    text = " ".join([*head, ", ".join(bounds)]).rstrip()
    if check.during not in ("run", "steady"):
        text += f" during {check.during}"
    return text


def _bounds(params: Mapping[str, Any]) -> list[str]:
    texts = []
    for name, value in params.items():
        statistic = _STATISTIC.match(name)
        match name:
            case "at_least":
                texts.append(f"≥ {percent(value)}")
            case "within_s":
                texts.append(f"within {duration(value)}")
            case "at_most_s":
                texts.append(f"≤ {duration(value)}")
            case "never_at_most":
                texts.append("never 0" if value == 0 else f"never ≤ {value}")
            case "after_s":
                texts.append(f"from {duration(value)} on")
            case "heard_by":
                texts.append(f"heard by {percent(value)}")
            case _ if statistic:
                texts.append(f"{statistic[1]} ≤ {duration(value)}")
            case _:
                texts.append(f"{name.replace('_', ' ')} {value}")
    return texts
