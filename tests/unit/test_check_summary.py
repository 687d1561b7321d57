"""The judge's part of result.json."""

import json
from dataclasses import replace

import pytest

from chaoskit.checks.summary import listener_books, summarise
from chaoskit.model import Hypothesis
from tests.unit.histories import GUEST, HEARS_HOST, HOST, HandMade, check, drop, near

pytestmark = pytest.mark.unit


def night() -> HandMade:
    """The host is cut at 20 s; a fresh room at 25 s; 19 of 20 listeners hear the host there."""
    run = HandMade(faults=[drop()])
    run.experiment = replace(
        run.experiment,
        hypothesis=Hypothesis(
            title="Everyone hears again",
            checks=(
                check("join_success", {"at_least": 0.9}),
                check("recovery", {"never_at_most": 1}, of="drop-host"),
            ),
        ),
    )
    run.inject("drop-host", 20.0, 25.0)
    run.lose([HOST], 20.3, link="host.signal.room-a", why="reset")
    run.join([GUEST], 25.0, generation=2, why="moved")
    run.join([HOST], 25.2, generation=2, why="lost")
    found = run.listeners[:19]
    run.join(found, 26.0, generation=2, why="moved")
    run.first_frame(found, 27.0, generation=2)
    run.hear(run.listeners, 20.0, 60.0, 0)
    run.hear(found, 27.0, 60.0, HEARS_HOST)
    return run


def test_the_summary_is_json_and_has_what_the_result_needs() -> None:
    found = summarise(night().history())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == [
        "verdict",
        "valid",
        "invalid_because",
        "checks",
        "listeners",
        "recovery",
        "fresh_room",
        "faults",
        "canary",
        "harness",
    ]
    assert (found["verdict"], found["valid"], found["invalid_because"]) == ("held", True, [])
    assert [c["name"] for c in found["checks"]] == ["join_success", "recovery"]


def test_listener_seconds_add_up_and_silence_is_split() -> None:
    found = summarise(night().history())["listeners"]
    assert {k: v for k, v in found.items() if not k.endswith(("seconds", "cause"))} == {
        "planned": 20,
        "joined": 20,
        "peak": 20,
        "peak_hearing": 20,
        "never_heard": 0,
    }
    parts = ("heard", "silent", "howl", "unjudged")
    total = sum(found[f"{part}_listener_seconds"] for part in parts)
    assert found["planned_listener_seconds"] == near(total) == near(1180.0)
    silent = {c: s for c, s in found["silent_by_cause"].items() if s}
    assert silent == {"link": 100.0, "migration": 19.0 * 1.0 + 35.0, "other": 19.0}
    assert sum(silent.values()) == near(found["silent_listener_seconds"])


def test_books_of_each_listener_leave_no_remainder() -> None:
    rows = listener_books(night().history())
    assert len(rows) == 20
    for row in rows:
        parts = row["heard"] + row["silent"] + row["howl"] + row["unjudged"]
        assert row["due"] == parts
        assert sum(row["silent_by_cause"].values()) == row["silent"]


def test_recovery_rows_tell_effect_from_healing_and_never_from_late() -> None:
    rows = summarise(night().history())["recovery"]
    of = {(r["group"], r["from"]): r for r in rows}
    listeners = of["listeners", "effect"]
    assert listeners["fault"] == "drop-host"
    assert (listeners["p50_s"], listeners["p95_s"], listeners["max_s"]) == (7.0, None, None)
    assert (listeners["never"], listeners["n"], listeners["affected"]) == (1, 20, 20)
    assert (listeners["noticed_p50_s"], listeners["joined_p50_s"]) == (0.0, 6.0)
    assert {name: of["n"] for name, of in listeners["cohorts"].items()} == {
        "present": 20,
        "returning": 0,
        "new": 0,
    }
    assert listeners["cohorts"]["new"] == {
        "p50_s": None,
        "p95_s": None,
        "max_s": None,
        "never": 0,
        "n": 0,
    }
    assert of["listeners", "heal"]["p50_s"] == 2.0
    # Nobody else was on air for the host: it counts when it is in a room again.
    assert of["host", "effect"]["p50_s"] == near(5.2)


def test_cohorts_have_figures_of_their_own() -> None:
    run = HandMade(listeners=3, faults=[drop("cut", "listeners.*")], quiet=True)
    stays, returns, late = run.listeners
    run.join([0, stays, returns], 0.5)
    run.hear([stays], 0.5, 60.0, 1)
    run.hear([returns], 0.5, 20.0, 1)
    run.inject("cut", 20.0, 30.0)
    run.lose([returns], 20.0, link="listeners.signal.room-a", why="reset")
    run.hear([returns], 20.0, 32.0, 0)
    run.join([returns], 31.0, why="lost")
    run.hear([returns], 32.0, 60.0, 1)
    run.join([late], 25.0)
    run.hear([late], 25.0, 60.0, 0)
    row = next(
        r
        for r in summarise(run.history(), results=())["recovery"]
        if (r["group"], r["from"]) == ("listeners", "effect")
    )
    figures = {
        name: (of["n"], of["p50_s"], of["p95_s"], of["never"])
        for name, of in row["cohorts"].items()
    }
    assert figures == {
        "present": (1, 0.0, 0.0, 0),
        "returning": (1, 12.0, 12.0, 0),
        "new": (1, None, None, 1),
    }
    assert (row["effect_s"], row["heal_s"], row["n"], row["never"]) == (20.0, 30.0, 3, 1)


def test_the_fresh_room_row_counts_from_its_opening() -> None:
    found = summarise(night().history())["fresh_room"]
    assert (found["n"], found["share"], found["never"]) == (20, 0.95, 1)
    assert (found["opened_s"], found["first_s"], found["p95_s"]) == (25.0, 2.0, None)
    assert summarise(HandMade().history())["fresh_room"] is None


def test_a_fault_that_was_never_healed_has_no_clock_from_healing() -> None:
    run = HandMade(listeners=2, faults=[drop()])
    run.inject("drop-host", 20.0, None)
    found = summarise(run.history(), results=())
    assert {r["from"] for r in found["recovery"]} == {"effect"}
    assert (found["verdict"], found["faults"][0]["healed"]) == ("inconclusive", False)


def test_faults_show_proof_and_healing() -> None:
    (row,) = summarise(night().history())["faults"]
    assert row == {
        "id": "drop-host",
        "kind": "drop",
        "target": "host.*",
        "injected_s": 19.9,
        "effect_s": 20.0,
        "healed_s": 25.0,
        "effect": {"connections_lost": 2.0},
        "witness": "the crowd",
        "affected": 3,
        "targeted": 3,
        "unit": "links",
        "healed": True,
    }


def test_an_invalid_run_keeps_its_checks_and_says_why() -> None:
    run = night()
    run.died_s["crowd-listeners-0"] = 40.0
    found = summarise(run.history())
    assert (found["verdict"], found["valid"]) == ("inconclusive", False)
    assert any("crowd shards died" in why for why in found["invalid_because"])
    assert found["harness"]["dead_shards"] == ["crowd-listeners-0"]
    assert [c["name"] for c in found["checks"]] == ["join_success", "recovery"]
