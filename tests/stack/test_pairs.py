"""Each experiment holds, and the other half of its pair deviates: a check that cannot fail is none.

Both halves run at once, for real, with 40 listeners.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaoskit.spec.experiment import experiment_names

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

QUICK = "packet-loss-listeners"
"""The shortest pair runs in every suite, the others in `make full`."""


def start(experiment: str, runs: Path, *options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "chaoskit", "run", experiment, *options]
    command += ["--listeners", "40", "--format", "json", "-q", "--runs-dir", str(runs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def outcome(run: "subprocess.Popen[bytes]") -> tuple[int, dict[str, Any]]:
    out, err = run.communicate(timeout=280.0)
    assert out, err.decode()
    return run.returncode, json.loads(out)


@pytest.mark.parametrize(
    "experiment",
    [
        name if name == QUICK else pytest.param(name, marks=pytest.mark.full)
        for name in experiment_names()
    ],
)
def test_an_experiment_holds_and_its_control_deviates(experiment: str, tmp_path: Path) -> None:
    halves = start(experiment, tmp_path), start(experiment, tmp_path, "--control")
    try:
        code, result = outcome(halves[0])
        assert (code, result["verdict"]) == (0, "held"), result["invalid_because"]
        code, result = outcome(halves[1])
        assert (code, result["verdict"]) == (10, "deviated"), result["invalid_because"]
        assert result["control"] == {"expect": "deviated", "as_expected": True}
    finally:
        for run in halves:
            run.kill()
