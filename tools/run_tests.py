"""Runs the suite: unit tests on all cores, then everything else one at a time, then one total.

With arguments it is one plain pytest run with those arguments.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

_NOTHING_COLLECTED = 5
_INTERRUPTED = 2
_MOST_WORKERS = 8
_COUNTED = ("passed", "failed", "skipped")


def main(arguments: list[str]) -> int:
    """Run the tests; return pytest's exit code, the worst of both parts."""
    if arguments:
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])
    workers = str(min(_MOST_WORKERS, len(os.sched_getaffinity(0))))
    parts = []
    for chosen in (["-m", "unit", "-n", workers, "--dist", "worksteal"], ["-m", "not unit"]):
        parts.append(_run_part(chosen))
        if parts[-1][0] == _INTERRUPTED or parts[-1][0] < 0:
            break
    total = {name: sum(counts.get(name, 0) for _, counts in parts) for name in _COUNTED}
    print("total: " + ", ".join(f"{number} {name}" for name, number in total.items()))
    if all(status == _NOTHING_COLLECTED for status, _ in parts):
        return _NOTHING_COLLECTED
    return max(abs(status) for status, _ in parts if status != _NOTHING_COLLECTED)


def _run_part(arguments: list[str]) -> tuple[int, dict[str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        counts_file = Path(folder) / "counts.json"
        environ = os.environ | {"CHAOSKIT_TEST_COUNTS": str(counts_file)}
        command = [sys.executable, "-m", "pytest", *arguments]
        with subprocess.Popen(command, env=environ) as pytest:

            def pass_on(signum: int, frame: FrameType | None) -> None:
                # A terminal's Ctrl-C reaches pytest by itself. It ends in its own time: killed
                # early, it would leave behind what its tests had started.
                if signum == signal.SIGTERM:
                    pytest.send_signal(signal.SIGINT)

            before = [signal.signal(s, pass_on) for s in (signal.SIGINT, signal.SIGTERM)]
            status = pytest.wait()
            for signum, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
                signal.signal(signum, handler)
        counts = json.loads(counts_file.read_text()) if counts_file.is_file() else {}
        return status, counts


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
