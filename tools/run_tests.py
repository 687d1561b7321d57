"""Runs the suite: unit tests on all cores, then everything else one at a time, then one total.

With arguments it is one plain pytest run with those arguments.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_NOTHING_COLLECTED = 5
_MOST_WORKERS = 8


def main(arguments: list[str]) -> int:
    """Run the tests; return pytest's exit code, the worst of both parts."""
    if arguments:
        return _run_part(arguments)[0]
    workers = str(min(_MOST_WORKERS, len(os.sched_getaffinity(0))))
    parts = [
        _run_part(["-m", "unit", "-n", workers, "--dist", "worksteal"]),
        _run_part(["-m", "not unit"]),
    ]
    total = {name: sum(counts.get(name, 0) for _, counts in parts) for name in _COUNTED}
    print("total: " + ", ".join(f"{number} {name}" for name, number in total.items()))
    if all(status == _NOTHING_COLLECTED for status, _ in parts):
        return _NOTHING_COLLECTED
    return max(status for status, _ in parts if status != _NOTHING_COLLECTED)


_COUNTED = ("passed", "failed", "skipped")


def _run_part(arguments: list[str]) -> tuple[int, dict[str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        counts_file = Path(folder) / "counts.json"
        environ = os.environ | {"CHAOSKIT_TEST_COUNTS": str(counts_file)}
        command = [sys.executable, "-m", "pytest", *arguments]
        status = subprocess.run(command, env=environ, check=False).returncode
        counts = json.loads(counts_file.read_text()) if counts_file.is_file() else {}
        return status, counts


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
