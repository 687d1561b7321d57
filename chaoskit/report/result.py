"""The result of a run as users and CI read it: `chaoskit.run/v1`, written to result.json.

`RunResult` is the JSON object itself; the functions here read it, so that a stored run and a run
that has just ended are shown by the same code.
"""

import signal
from collections.abc import Mapping
from types import NoneType
from typing import Any

RESULT_SCHEMA = "chaoskit.run/v1"

RunResult = Mapping[str, Any]
"""A decoded result.json. Keys: docs/result.md."""

EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "held, stack clean"),
    (1, "bug in chaoskit"),
    (2, "usage or invalid file"),
    (3, "plan refused: blast radius, no match, no mechanism"),
    (4, "environment missing"),
    (5, "refused: not steady before anything was injected"),
    (10, "deviated"),
    (11, "inconclusive"),
    (12, "aborted by condition"),
    (20, "rollback incomplete (wins over all)"),
    (130, "interrupted (SIGINT), rolled back"),
    (143, "terminated (SIGTERM), rolled back"),
)
"""Exit codes and their meaning; `--help`, README and a test read this table."""


_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("run_id", "experiment", "stack", "profile", "folder"), (str,)),
    **dict.fromkeys(("status", "verdict"), (str,)),
    **dict.fromkeys(("seed", "exit_code"), (int,)),
    "valid": (bool,),
}
_MAY_BE_MISSING: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("residual_faults", "invalid_because", "artifacts", "assumed"), (list,)),
    **dict.fromkeys(("checks", "recovery", "faults", "fidelity", "canary"), (list, NoneType)),
    **dict.fromkeys(("listeners", "fresh_room", "first_word", "harness"), (dict, NoneType)),
    **dict.fromkeys(("title", "error", "hypothesis"), (str, NoneType)),
    "scale": (int, float, NoneType),
}
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_NAMES |= {list: "a list", dict: "an object", NoneType: "null"}


def checked_result(found: Any) -> RunResult:
    """Return `found`, a decoded result.json, when it can be one, as far as its outermost keys tell.

    Raises ValueError that says what is wrong.
    """
    if not isinstance(found, dict):
        raise ValueError(f"it is {_kind(found)}, not an object")
    if found.get("schema") != RESULT_SCHEMA:
        raise ValueError(f"its schema is {found.get('schema')!r}")
    missing = [key for key in _TYPES if key not in found]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    for key, types in (_TYPES | _MAY_BE_MISSING).items():
        # By identity: true is an int to Python, and to nobody else.
        if key in found and type(found[key]) not in types:
            wanted = " or ".join(_NAMES[t] for t in types)
            raise ValueError(f"{key} is {_kind(found[key])}, not {wanted}")
    if found["exit_code"] not in dict(EXIT_CODES):
        raise ValueError(f"there is no exit code {found['exit_code']}")
    return found


def _kind(value: Any) -> str:
    return _NAMES[type(value)]


def exit_code(result: RunResult) -> int:
    """Return the exit code of a run (STYLE B6): its signal's for one that was interrupted."""
    if result.get("residual_faults"):
        return 20
    status = result["status"]
    if status == "interrupted":
        return 128 + signal.Signals[result.get("signal") or "SIGINT"]
    if status == "refused":
        return 5
    if status == "aborted":
        return 12
    if status == "crashed":
        return 1
    if not result["valid"] or result["verdict"] == "inconclusive":
        return 11
    return 10 if result["verdict"] == "deviated" else 0
