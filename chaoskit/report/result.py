"""The result of a run as users and CI read it: `chaoskit.run/v1`, written to result.json.

`RunResult` is the JSON object itself; the functions here read it, so that a stored run and a run
that has just ended are shown by the same code.
"""

import signal
from collections.abc import Mapping
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
