"""Runs whose files are damaged or foreign: one clear word about each, and never a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.journal.folder import RunFolder, child_environment
from tests.cli.conftest import DATA, Command

pytestmark = pytest.mark.cli

Stored = Callable[[str], str]
DAMAGED = {
    "random bytes": bytes(range(256)) * 4,
    "no header": b'{"seq": 1, "at_s": 0.5, "kind": "nonsense"}\n',
    "another program's": b'{"format": "somebody.else/v1"}\n',
    "a torn header": b'{"format": "chaoskit.jour',
}


@pytest.fixture(params=DAMAGED)
def damaged(request: pytest.FixtureRequest, stored: Stored, place: Path) -> str:
    """A run with a result and a journal that nobody can read."""
    run_id = stored("held")
    (place / "runs" / run_id / "journal.jsonl").write_bytes(DAMAGED[request.param])
    return run_id


def test_heal_says_that_it_could_not_read_the_journal(damaged: str, command: Command) -> None:
    for arguments in ([damaged], ["--all"]):
        seen = command("heal", *arguments)
        assert seen.startswith(
            f"exit 0\n--- stdout\n{damaged}: the journal cannot be read; "
            "nothing of the run is left to stop\n"
        )
        assert "journal.jsonl" in seen
        assert "looked at instead: processes that carry the run's mark in their environment" in seen


def test_heal_stops_what_is_left_of_a_run_without_a_journal(
    damaged: str, command: Command, place: Path
) -> None:
    folder = RunFolder((place / "runs" / damaged).resolve())
    environ = {**os.environ, **child_environment(folder)}
    sleeper = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    with subprocess.Popen(sleeper, env=environ, stdout=subprocess.PIPE) as left:
        assert left.stdout is not None
        left.stdout.readline()
        seen = command("heal", damaged)
        assert left.wait() == -9
    assert seen.startswith(f"exit 0\n--- stdout\n{damaged}: killed ")
    assert "looked at instead" in seen


def test_the_list_calls_it_unreadable_and_tells_its_verdict(damaged: str, command: Command) -> None:
    assert command("list", "runs") == (
        f"exit 0\n--- stdout\n{damaged}\t\t\tunreadable\theld\t0\t?\n--- stderr\n"
    )


def test_a_run_that_ended_before_its_first_line_is_not_unreadable(
    stored: Stored, command: Command, place: Path
) -> None:
    run_id = stored("held")
    (place / "runs" / run_id / "journal.jsonl").touch()
    (place / "runs" / run_id / "result.json").write_text('["torn"')
    assert f"{run_id}\t\t\tdied\t\t\t0\n" in command("list", "runs")
    assert f"{run_id}: nothing to heal\n" in command("heal", run_id)


def result_with(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "held.json").read_text())
    return found | changes


def result_without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in result_with().items() if key not in keys}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "it is a list, not an object"),
        (None, "it is null, not an object"),
        (7, "it is a whole number, not an object"),
        ("text", "it is text, not an object"),
        ({}, "its schema is None"),
        (result_with(schema="chaoskit.run/v9"), "its schema is 'chaoskit.run/v9'"),
        (result_with(schema=[1]), "its schema is [1]"),
        (result_without("verdict", "folder"), "it has no folder, verdict"),
        (result_with(exit_code="0"), "exit_code is text, not a whole number"),
        (result_with(exit_code=True), "exit_code is true or false, not a whole number"),
        (result_with(exit_code=99), "there is no exit code 99"),
        (result_with(checks={}), "checks is an object, not a list or null"),
        (result_with(scale="big"), "scale is text, not a whole number or a number or null"),
        (result_with(listeners={"joined": "all"}), "no planned_listener_seconds"),
        (result_with(checks=[1]), ""),
        (result_with(checks=[{}]), "no "),
        (result_with(faults=[[]]), ""),
        (result_with(recovery=["x"]), ""),
        (result_with(harness={"unjudged_share": None}), ""),
        (result_with(artifacts=[1]), ""),
        (result_with(valid=False, invalid_because=[None]), ""),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(
    content: object, why: str, command: Command, stored: Stored, place: Path
) -> None:
    run_id = stored("held")
    (place / "runs" / run_id / "result.json").write_text(json.dumps(content))
    code, out, err = command("report", run_id).split("\n--- ")
    assert (code, out) == ("exit 2", "stdout")
    start = f"stderr\nresult.json of run {run_id} is not a chaoskit.run/v1 result: {why}"
    assert err.startswith(start)
    assert len(err.splitlines()) == 2
    assert "bug" not in err


@pytest.mark.parametrize("arguments", [["list", "runs"], ["report"], ["heal", "--all"]])
def test_a_runs_dir_that_is_a_file(arguments: list[str], command: Command, place: Path) -> None:
    (place / "runs").touch()
    seen = command(*arguments)
    assert seen.startswith("exit 2\n--- stdout\n--- stderr\nruns is a file, not a folder of runs\n")


def test_an_empty_list_says_so_beside_the_data(command: Command) -> None:
    assert command("list", "runs") == (
        "exit 0\n--- stdout\n--- stderr\nThere are no runs in runs.\n"
    )


@pytest.mark.parametrize("arguments", [["run", "room-node-kill"], ["report"], ["list", "runs"]])
def test_a_runs_dir_without_a_name_is_refused(
    arguments: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = "--- stdout\n--- stderr\n--runs-dir is empty\n"
    assert command(*arguments, "--runs-dir", "").startswith(f"exit 2\n{refused}")
