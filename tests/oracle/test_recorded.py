"""The oracle's reading of a run folder, on folders made by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracle.recorded import ABSENT, HOWL, UNJUDGED, Gap, Recorded, gaps, sort_codes

pytestmark = pytest.mark.oracle

ORIGIN_S = 500.0


def fact(kind: str, slot: int = 0, **fields: Any) -> dict[str, Any]:
    return {"k": kind, "t": ORIGIN_S + slot * 0.02, **fields}


def mark(slot: int) -> dict[str, Any]:
    return fact("mark", slot, shard="crowd-listeners-0", s=slot)


def recorded(folder: Path, *facts: dict[str, Any], tail: str = "") -> Recorded:
    """A run of 4 s (200 slots): host and guest on air by turns, listeners 2 and 3, no delay."""
    groups = [
        {"name": "host", "role": "host", "first": 0, "count": 1, "speaker": 0},
        {"name": "guest", "role": "guest", "first": 1, "count": 1, "speaker": 1},
        {"name": "listeners", "role": "listener", "first": 2, "count": 2, "speaker": None},
    ]
    programme = [
        {"from_s": 0.0, "until_s": 2.0, "speakers": ["host"]},
        {"from_s": 3.0, "until_s": "inf", "speakers": ["host", "guest"]},
    ]
    plan = {"crowd": {"groups": groups}, "programme": programme}
    opened = fact("shard", origin_s=ORIGIN_S, participants=[2, 3])
    (folder / "plan.json").write_text(json.dumps({"experiment": plan}))
    (folder / "result.json").write_text(json.dumps({"harness": {"ear_delay_s": 0.1}}))
    (folder / "journal.jsonl").write_text(json.dumps({"type": "run_ended", "at_s": 4.0}) + "\n")
    lines = [json.dumps(line) + "\n" for line in (opened, *facts)]
    (folder / "facts-crowd-listeners-0.jsonl").write_text("".join(lines) + tail)
    return Recorded(folder)


def test_gaps_are_the_long_runs() -> None:
    missed = np.array([True] * 8 + [False] + [True] * 7 + [False] * 2 + [True] * 9)
    assert gaps(missed) == [Gap(0, 8), Gap(18, 27)]
    assert Gap(18, 27).seconds == pytest.approx(0.18)


def test_ear_codes_hold_until_the_next_fact(tmp_path: Path) -> None:
    run = recorded(
        tmp_path,
        fact("ear", p=2, s=10, c=1), fact("ear", p=3, s=5, c=2), fact("ear", p=2, s=60, c=0),
        mark(220), fact("stopped", 220, shard="crowd-listeners-0"),
    )  # fmt: skip
    assert run.slots == 200
    codes = run.codes(2)
    assert codes[[0, 9, 10, 59, 60, 199]].tolist() == [ABSENT, ABSENT, 1, 1, 0, 0]


def test_what_a_shard_did_not_come_to_judge_is_unjudged(tmp_path: Path) -> None:
    # It was killed: no last word, half a line, and nothing after its last mark counts.
    run = recorded(tmp_path, fact("ear", p=2, s=10, c=1), mark(80), tail='{"k":"ear","p":2,"s":9')
    (tmp_path / "facts-crowd-speakers.jsonl").write_text(
        "".join(
            json.dumps(line) + "\n"
            for line in (
                fact("shard", origin_s=ORIGIN_S, participants=[0, 1]),
                fact("mark", 200, shard="crowd-speakers", s=200),
                fact("stopped", 200, shard="crowd-speakers"),
            )
        )
    )
    codes = run.codes(2)
    assert len(codes) == 200
    assert codes[[79, 80, 199]].tolist() == [1, UNJUDGED, UNJUDGED]


def test_due_is_what_is_planned_at_the_ear_from_the_first_attempt_on(tmp_path: Path) -> None:
    run = recorded(
        tmp_path,
        fact("attempt", 20, p=2, n=1), fact("attempt", 50, p=2, n=2),
        fact("left", 190, p=2, why="end"), fact("left", 40, p=2, why="moved"), mark(200),
    )  # fmt: skip
    # At the ear 0.1 s after the microphone: slots 5 to 104 and from 155 on.
    assert run.planned[[4, 5, 104, 105, 154, 155, 199]].tolist() == [0, 1, 1, 0, 0, 3, 3]
    due = np.flatnonzero(run.due(2)).tolist()
    assert due == [*range(20, 105), *range(155, 190)]
    assert not run.due(3).any(), "it never tried"


def test_gaps_told_are_due_slots_without_a_planned_voice(tmp_path: Path) -> None:
    run = recorded(
        tmp_path,
        fact("attempt", 0, p=2, n=1),
        fact("ear", p=2, s=0, c=1),
        fact("ear", p=2, s=20, c=2),  # the guest, who is not planned yet
        fact("ear", p=2, s=40, c=1),
        fact("ear", p=2, s=50, c=UNJUDGED),
        fact("ear", p=2, s=60, c=8),  # the host's private source
        fact("ear", p=2, s=80, c=1),
        mark(200),
    )
    assert run.told_gaps(2) == [Gap(20, 40), Gap(60, 80)]


def test_codes_are_sorted_into_books(tmp_path: Path) -> None:
    codes = np.array([1, 2, 3, 0, 64, 9, 8, UNJUDGED, HOWL, ABSENT, 1], dtype=np.uint8)
    planned = np.full(len(codes), 1, dtype=np.uint8)
    due = np.array([True] * (len(codes) - 1) + [False])
    assert sort_codes(codes, planned, due) == {"heard": 3, "silent": 5, "howl": 1, "unjudged": 1}
