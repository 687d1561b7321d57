"""What people see who ask for help, a list, a plan or a check of their files."""

import shutil
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from chaoskit.data import experiments_dir
from chaoskit.spec.experiment import experiment_names
from tests.cli.conftest import Command

pytestmark = pytest.mark.cli

COMMANDS = ("run", "replay", "plan", "validate", "heal", "list", "report")


def test_help(command: Command, golden: SnapshotAssertion) -> None:
    assert command("--help") == golden


def test_no_arguments_show_the_help_and_fail(command: Command) -> None:
    text = command("--help").removeprefix("exit 0\n--- stdout\n").removesuffix("--- stderr\n")
    assert command() == f"exit 2\n--- stdout\n--- stderr\n{text}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of(name: str, command: Command, golden: SnapshotAssertion) -> None:
    assert command(name, "--help") == golden


def test_version(command: Command, golden: SnapshotAssertion) -> None:
    assert command("--version") == golden


@pytest.mark.parametrize("what", ["faults", "checks", "experiments", "incidents", "runs"])
def test_list_of(what: str, command: Command, golden: SnapshotAssertion) -> None:
    assert command("list", what) == golden


def test_list_of_what_there_is_no_list_of(command: Command, golden: SnapshotAssertion) -> None:
    assert command("list", "toxics") == golden


@pytest.mark.parametrize("name", experiment_names())
def test_plan_of(name: str, command: Command, golden: SnapshotAssertion) -> None:
    assert command("plan", name) == golden


def test_plan_of_the_other_half_of_a_pair(command: Command, golden: SnapshotAssertion) -> None:
    assert command("plan", "packet-loss-listeners", "--control", "--listeners", "40") == golden


def test_plan_of_an_incident(command: Command, golden: SnapshotAssertion) -> None:
    assert command("plan", "launch-night") == golden


def test_plan_of_an_incident_at_a_scale(command: Command, golden: SnapshotAssertion) -> None:
    assert command("plan", "launch-night", "--scale", "1:1000") == golden


def test_plan_of_steps_that_wait(command: Command, place: Path, golden: SnapshotAssertion) -> None:
    text = (experiments_dir() / "host-drop-same-room.yaml").read_text()
    text = text.replace("{at: 5s, id: drop-host", '{when: "listeners.joined >= 100", id: drop-host')
    (place / "mine.yaml").write_text(text)
    assert command("plan", "mine.yaml") == golden


def test_validate_good_files(command: Command, place: Path, golden: SnapshotAssertion) -> None:
    shutil.copy(experiments_dir() / "room-node-kill.yaml", place / "mine.yaml")
    assert command("validate", "mine.yaml", "launch-night") == golden
