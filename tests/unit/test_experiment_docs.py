"""docs/experiments.md says what the code does: its tables, its keys, its examples."""

import re
from pathlib import Path

import pytest

from chaoskit.checks.registry import KINDS as CHECKS
from chaoskit.faults.loss import PROFILES
from chaoskit.faults.registry import KINDS as FAULTS
from chaoskit.model import Mic, ReconnectKind
from chaoskit.spec import doors
from chaoskit.spec.derive import Door
from chaoskit.spec.experiment import load_experiment
from chaoskit.spec.names import COUNTS
from chaoskit.spec.profile import profile_names
from tools import experiment_docs

pytestmark = pytest.mark.unit

TEXT = experiment_docs.PAGE.read_text(encoding="utf-8")
FILE = """\
format: chaoskit.experiment/v1
id: mine
title: Mine
crowd: {host: 1, guest: 1, owner: 1, listeners: 20}
hypothesis: {title: All is well, checks: [%s]}
method: [%s]
blast_radius: {roles: [host, guest, owner, listener], services: [room-a, directory], max_faults: 9}
"""
STEADY = "{check: join_success, at_least: 99%, name: all-in}"


def test_the_tables_are_those_of_the_code() -> None:
    assert experiment_docs.page_with_tables(TEXT) == TEXT, "run: python -m tools.experiment_docs"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table of faults"):
        experiment_docs.page_with_tables("# Nothing\n")


@pytest.mark.parametrize("kind", FAULTS)
def test_the_example_of_a_fault_is_a_good_step(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE % (STEADY, experiment_docs.FAULT_EXAMPLES[kind]))
    assert [fault.kind for fault in load_experiment(path).method] == [kind]


@pytest.mark.parametrize("kind", CHECKS)
def test_the_example_of_a_check_is_a_good_check(kind: str, tmp_path: Path) -> None:
    example = experiment_docs.CHECK_EXAMPLES[kind].replace("FAULT", "drop")
    path = tmp_path / "mine.yaml"
    path.write_text(FILE % (f"{STEADY}, {example}", experiment_docs.FAULT_EXAMPLES["drop"]))
    assert load_experiment(path).hypothesis.checks[-1].kind == kind


def test_every_key_and_word_of_a_file_is_named() -> None:
    named = set(re.findall(r"\w[\w-]*", " ".join(re.findall(r"`([^`]+)`", TEXT))))
    kinds: list[type[Door]] = [
        *(doors.ExperimentDoor, doors.GroupDoor, doors.ProfileDoor, doors.HypothesisDoor),
        *(doors.SegmentDoor, doors.MicDoor, doors.AbortDoor, doors.ControlDoor),
        *(doors.ReconnectDoor, doors.ClientDoor, doors.BlastRadiusDoor, doors.RemediesDoor),
        doors.TimersDoor,
        *doors.ACTION_DOORS.values(),
        *doors.FAULT_DOORS.values(),
        *doors.CHECK_DOORS.values(),
    ]
    keys = {key for door in kinds for key in door.keys()}  # noqa: SIM118  (a method of the door)
    words = {*doors.ROLES, *COUNTS, *PROFILES, *Mic, *ReconnectKind, *profile_names()}
    assert keys | words <= named, sorted((keys | words) - named)
