"""Recovery clock against a capture: blackholes of 0.1, 0.5, 2 and 8 s at 200 listeners."""

import random
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.machine import say, table
from tests.oracle.decoder import SLOT_S
from tests.oracle.live_run import LiveRun
from tests.oracle.observed import FIRST_LISTENER, Notes, Observed, observe
from tests.oracle.recorded import Gap

EXPERIMENT = Path(__file__).parent / "blackholes.yaml"
LISTENERS = 200
CAPTURED = 40
AUDIBLE_SLOTS = 3
"""60 ms: the shortest gap that a listener would notice."""


@dataclass(frozen=True)
class Pair:
    """One listener's gap of one fault: as the product reports it and as the wire has it."""

    told: Gap
    seen: Gap


def measure() -> str:
    chosen = sorted(random.Random(5).sample(range(LISTENERS), CAPTURED))
    with tempfile.TemporaryDirectory() as folder:
        run = observe(
            ["run", str(EXPERIMENT)],
            Path(folder),
            [FIRST_LISTENER + k for k in chosen],
            during=_watch,
        )
        rows, unpaired = _rows(run)
        result = run.recorded.result
    unjudged = result["harness"]["unjudged_share"]
    because = "; ".join(result["invalid_because"])
    head = [
        "blackhole", "pairs", "gap on the wire, median", "gap reported, median",
        "error of length p50, max", "error of begin max", "error of end max",
    ]  # fmt: skip
    return (
        f"{CAPTURED} of {LISTENERS} listeners captured; a downlink blackhole on all of them.\n"
        f"Error = reported minus captured; one frame is 20 ms. Gaps that only one side has:"
        f" {unpaired}. Frames unjudged: {unjudged:.2%}. Exit code"
        f" {run.exit_code}{f' ({because})' if because else ''}.\n\n" + table(head, rows)
    )


def _watch(run: LiveRun, notes: Notes) -> None:
    run.wait_for("phase_entered", phase="inject")
    say("  all are in; the blackholes begin")


def _rows(run: Observed) -> tuple[list[list[str]], int]:
    faults = sorted(run.recorded.result["faults"], key=lambda fault: float(fault["injected_s"]))
    begins = [float(fault["injected_s"]) for fault in faults]
    rows, unpaired = [], 0
    for fault, (begin_s, next_s) in zip(faults, pairwise([*begins, float("inf")]), strict=True):
        pairs = []
        for k in run.chosen:
            told = _within(run.recorded.told_gaps(k, at_least=AUDIBLE_SLOTS), begin_s, next_s)
            seen = _within(run.gaps(k, at_least=AUDIBLE_SLOTS), begin_s, next_s)
            unpaired += abs(len(told) - len(seen))
            pairs += [Pair(t, s) for t, s in zip(told, seen, strict=False)]
        rows.append([fault["id"], *_row(pairs)])
    return rows, unpaired


def _within(found: list[Gap], begin_s: float, next_s: float) -> list[Gap]:
    return [gap for gap in found if begin_s <= gap.first * SLOT_S < next_s]


def _row(pairs: list[Pair]) -> list[str]:
    if not pairs:
        return ["0", *["–"] * 5]
    told = np.array([[p.told.first, p.told.end] for p in pairs]) * SLOT_S * 1000
    seen = np.array([[p.seen.first, p.seen.end] for p in pairs]) * SLOT_S * 1000
    begin, end = np.abs(told - seen).T
    length = np.abs(np.diff(told - seen, axis=1)[:, 0])
    return [
        str(len(pairs)),
        f"{np.median(np.diff(seen, axis=1)):.0f} ms",
        f"{np.median(np.diff(told, axis=1)):.0f} ms",
        f"{np.median(length):.0f} ms, {length.max():.0f} ms",
        f"{begin.max():.0f} ms",
        f"{end.max():.0f} ms",
    ]
