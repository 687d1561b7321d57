"""CPU seconds by part in a plain steady run at 200 and 890 listeners, share unjudged."""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from benchmarks.machine import say, table
from tests.oracle.live_run import LiveRun, chaoskit

EXPERIMENT = Path(__file__).parent / "steady.yaml"
CROWDS = (200, 890)
WINDOW_S = 20.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PARTS = {
    "services.fault_proxy": "fault proxy",
    "services.room_server": "room servers",
    "services.directory": "directory",
    "services.crowd": "crowd",
    "chaoskit.guardian": "guardian",
}
_ENGINE = "engine and command line"


def measure() -> str:
    runs = {listeners: _steady(listeners) for listeners in CROWDS}
    parts = [*_PARTS.values(), _ENGINE]
    rows = [[part, *(f"{cpu.get(part, 0.0):.2f}" for cpu, _ in runs.values())] for part in parts]
    rows.append(["all", *(f"{sum(cpu.values()):.2f}" for cpu, _ in runs.values())])
    rows.append(["frames unjudged", *(f"{result['unjudged']:.3%}" for _, result in runs.values())])
    rows.append(["largest lag of a shard", *(f"{r['lag_ms']:.0f} ms" for _, r in runs.values())])
    return (
        f"CPU seconds a second of the run (1.00 = one core busy), over {WINDOW_S:.0f} s in which"
        " everybody is in the room and three speak.\n\n"
        + table(["part", *(f"{n} listeners" for n in CROWDS)], rows)
    )


def _steady(listeners: int) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return cores used by part, and the harness's word on the run."""
    say(f"  {listeners} listeners")
    with (
        tempfile.TemporaryDirectory() as folder,
        chaoskit(
            "run", str(EXPERIMENT), "--listeners", str(listeners), "--quiet",
            folder=Path(folder) / "r",
        ) as run,
    ):  # fmt: skip
        run.wait_for("phase_entered", within_s=120.0, phase="gate")
        time.sleep(1.0)
        began, before = time.monotonic(), _cpu_s(run)
        time.sleep(WINDOW_S)
        took_s, after = time.monotonic() - began, _cpu_s(run)
        run.finish()
        harness = run.recorded().result["harness"]
    cores: dict[str, float] = defaultdict(float)
    for pid, (part, used_s) in after.items():
        cores[part] += (used_s - before.get(pid, (part, 0.0))[1]) / took_s
    return cores, {"unjudged": harness["unjudged_share"], "lag_ms": harness["max_lag_ms"] or 0.0}


def _cpu_s(run: LiveRun) -> dict[int, tuple[str, float]]:
    """Return part and CPU seconds so far of every process of the run."""
    found = {}
    for process in run.processes():
        words = " ".join(process.argv)
        part = next((part for word, part in _PARTS.items() if word in words), _ENGINE)
        try:
            stat = Path(f"/proc/{process.pid}/stat").read_text()
        except FileNotFoundError:
            continue
        columns = stat.rpartition(")")[2].split()
        found[process.pid] = (part, (int(columns[11]) + int(columns[12])) * _TICK_S)
    return found
