"""`python -m tools.experiment_docs`: writes the tables of faults and checks in docs/experiments.md.

They are made from the classes, their parameters and docstrings, between markers in the page.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from chaoskit.checks.registry import KINDS as CHECKS
from chaoskit.faults.registry import KINDS as FAULTS
from chaoskit.faults.registry import fault_class
from chaoskit.spec.derive import file_key
from chaoskit.spec.doors import TARGET_KEYS

PAGE = Path(__file__).resolve().parent.parent / "docs/experiments.md"
FAULT_EXAMPLES: Mapping[str, str] = {
    "drop": '{at: 5s, fault: drop, link: "host.*", for: 30s}',
    "blackhole": '{at: 5s, fault: blackhole, link: "listeners.signal.*", share: 20%, for: 10s}',
    "latency": '{at: 5s, fault: latency, link: "*.media.room-a", latency: 200ms, for: 20s}',
    "loss": '{at: 5s, fault: loss, link: "listeners.media.*", loss_rate: 2%, for: 20s}',
    "kill": "{at: 5s, fault: kill, service: room-a, for: 20s}",
    "pause": "{at: 5s, fault: pause, service: directory, for: 10s}",
    "mute": "{at: 5s, fault: mute, group: guest, for: 10s}",
    "leave": "{at: 5s, fault: leave, group: host, for: 30s}",
}
CHECK_EXAMPLES: Mapping[str, str] = {
    "join_success": "{check: join_success, at_least: 99%}",
    "join_time": "{check: join_time, p95_at_most: 2s}",
    "audio_gap": "{check: audio_gap, p99_at_most: 60ms, during: steady}",
    "audio_age": "{check: audio_age, p95_at_most: 400ms}",
    "dead_air": "{check: dead_air, at_most: 20s}",
    "heard_ratio": "{check: heard_ratio, at_least: 93%, during: FAULT}",
    "fresh_room": "{check: fresh_room, of: FAULT, within: 15s, at_least: 99%}",
    "recovery": "{check: recovery, of: FAULT, from: heal, p95_at_most: 8s, never_at_most: 0}",
    "no_ghosts": "{check: no_ghosts, of: FAULT, from: heal, within: 25s}",
    "retention": "{check: retention, of: FAULT, at_least: 99%}",
    "first_word": "{check: first_word, speaker: guest, within: 5s}",
}
_UNITS = {"_s": "duration", "_ms": "duration"}


def page_with_tables(text: str) -> str:
    """Return the page with fresh tables. Raises ValueError when a pair of markers is missing."""
    for name, table in (("faults", fault_table()), ("checks", check_table())):
        begin, end = f"<!-- {name}: python -m tools.experiment_docs -->", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"{PAGE.name} has no place for the table of {name}")
        text = f"{before}{begin}\n{table}{end}{after}"
    return text


def fault_table() -> str:
    """Return every kind of fault as a Markdown table."""
    lines = ["| fault | target | what it does | parameters | example |", "|---|---|---|---|---|"]
    for kind in FAULTS:
        cls = fault_class(kind)
        target = f"`{TARGET_KEYS[cls.acts_on]}`" + (", `share`" if cls.divisible else "")
        cells = (f"`{kind}`", target, _text(cls), _params(cls.params), f"`{FAULT_EXAMPLES[kind]}`")
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def check_table() -> str:
    """Return every kind of check as a Markdown table."""
    lines = [
        "| check | what it asks | parameters | defaults | at the gate | example |",
        "|---|---|---|---|---|---|",
    ]
    for kind, cls in CHECKS.items():
        usual = f"`members: {', '.join(cls.population)}`, `during: {cls.during}`"
        usual += "; needs `of`" if cls.of_fault else ""
        gate = "yes" if cls.at_gate else "no"
        example = f"`{CHECK_EXAMPLES[kind]}`"
        lines.append(_row((f"`{kind}`", _text(cls), _params(cls.params), usual, gate, example)))
    return "\n".join(lines) + "\n"


def _params(params: type) -> str:
    known = fields(params)
    if not known:
        return "none"
    hints = get_type_hints(params, include_extras=True)
    told = "; ".join(_param(field, hints[field.name]) for field in known)
    return f"{told}. {_text(params)}"


def _param(field: Field[Any], hint: Any) -> str:
    found = f"`{file_key(field.name)}` ({_kind(field.name, hint)}"
    if field.default is MISSING:
        return f"{found}, required)"
    return f"{found})" if field.default is None else f"{found}, default {_value(field)})"


def _value(field: Field[Any]) -> str:
    for suffix in _UNITS:
        if field.name.endswith(suffix):
            return f"{field.default:g}{suffix[1:]}"
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def _kind(name: str, hint: Any) -> str:
    options = [o for o in get_args(hint) if o is not type(None)]
    plain = hint if get_origin(hint) is None or hasattr(hint, "__metadata__") else options[0]
    if "fraction" in getattr(plain, "__metadata__", ()):
        return "share"
    plain = get_args(plain)[0] if hasattr(plain, "__metadata__") else plain
    if plain is float:
        return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "number")
    if isinstance(plain, type) and issubclass(plain, StrEnum):
        return " or ".join(plain)
    return {int: "count", str: "name", bool: "true or false"}[plain]


def _text(cls: type) -> str:
    """Return the docstring on one line, with the names of fields as files write them."""
    words = " ".join((cls.__doc__ or "").split())
    return re.sub(r"`(\w+)`", lambda found: f"`{file_key(found[1])}`", words)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
