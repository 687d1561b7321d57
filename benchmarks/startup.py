"""How long the stack takes to serve, and `chaoskit --help` to answer."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import say, spread, table
from tests.oracle.live_run import ROOT, chaoskit, wait_until

HELP_ROUNDS = 20
STACK_ROUNDS = 7
STEADY = Path(__file__).parent / "steady.yaml"


def measure() -> str:
    helps = [_help_ms() for _ in range(HELP_ROUNDS + 1)][1:]
    starts = [_start_ms(number) for number in range(STACK_ROUNDS)]
    rows = [
        ["`chaoskit --help`", spread(helps, unit="ms"), str(len(helps)), "≤ 150 ms"],
        [
            "stack: from the first process's start until all services serve",
            spread([stack for stack, _ in starts], unit="ms"), str(len(starts)), "≤ 1500 ms",
        ],
        [
            "command: from Enter until the crowd of 200 is started too",
            spread([whole for _, whole in starts], unit="ms"), str(len(starts)), "",
        ],
    ]  # fmt: skip
    return table(["what", "median (range)", "n", "target"], rows)


def _help_ms() -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "chaoskit", "--help"], cwd=ROOT, capture_output=True, check=True
    )
    return (time.perf_counter() - began) * 1000


def _start_ms(number: int) -> tuple[float, float]:
    """Return the time to a serving stack and to a started crowd, read off the files' own times."""
    say(f"  stack start {number + 1} of {STACK_ROUNDS}")
    with tempfile.TemporaryDirectory() as folder:
        entered = time.time()
        with chaoskit("run", str(STEADY), "--quiet", folder=Path(folder) / "r") as run:
            run.wait_for("phase_entered")
            wait_until(lambda: None if _ready(run.folder, "crowd-*") else "no crowd", within_s=20.0)
            services = run.services()
            born = min(_born_s(service["pid"]) for service in services.values())
            ready = _ready(run.folder, "*")
            crowd = _ready(run.folder, "crowd-*")
            stack = max(at for name, at in ready.items() if name not in crowd)
            run.process.send_signal(signal.SIGTERM)
            run.finish()
    return (stack - born) * 1000, (max(crowd.values()) - entered) * 1000


def _born_s(pid: int) -> float:
    """Return the wall clock's time at which a living process was started, to 10 ms."""
    columns = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    since_boot_s = int(columns[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot_s


def _ready(folder: Path, pattern: str) -> dict[str, float]:
    files = (folder / "ready").glob(f"{pattern}.json")
    return {file.stem: file.stat().st_mtime for file in files}
