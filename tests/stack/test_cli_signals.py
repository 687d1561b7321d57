"""Ctrl-C and SIGTERM at every stage: what is injected is healed, nothing runs on, it says so."""

import json
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.stack.cli_rig import GONE_WITHIN_S, SHORT, Command, chaoskit, wait_until

pytestmark = pytest.mark.stack


def healed(run: Command) -> list[tuple[str, bool]]:
    return [
        (e["fault_id"], e["confirmed"]) for e in run.journal() if e.get("type") == "fault_healed"
    ]


def test_ctrl_c_while_the_stack_starts_leaves_no_run(tmp_path: Path) -> None:
    with chaoskit("run", str(SHORT), folder=tmp_path) as run:
        run.folder()
        run.press(signal.SIGINT)
        assert run.finish() == 130
        assert run.left() is None
        assert "Stopped while starting, nothing was injected · logs kept: " in run.stderr()
        assert run.stdout() == ""
        assert not run.folder().journal.exists()
        assert not run.folder().is_live()


def test_sigterm_at_the_gate_ends_the_run_with_143_and_a_result(tmp_path: Path) -> None:
    with chaoskit("run", str(SHORT), "--format", "json", "--quiet", folder=tmp_path) as run:
        run.wait_event("phase_entered", phase="gate")
        run.press(signal.SIGTERM)
        assert run.finish() == 143
        assert run.left() is None
        result = run.result()
        assert (result["status"], result["verdict"]) == ("interrupted", "inconclusive")
        assert (result["signal"], result["exit_code"]) == ("SIGTERM", 143)
        assert json.loads(run.stdout()) == result
        assert run.stderr().count("\n") == 1, "the last line is all that --quiet leaves"


def test_ctrl_c_heals_what_is_injected_and_says_how_long_it_took(tmp_path: Path) -> None:
    with chaoskit("run", str(SHORT), folder=tmp_path) as run:
        run.wait_event("fault_active")
        run.press(signal.SIGINT)
        assert run.finish() == 130
        assert run.left() is None
        assert healed(run) == [("drop-host", True)]
        assert run.result()["status"] == "interrupted"
        assert run.result()["faults"][0]["healed"] is True
        assert run.stdout() == ""
        lines = run.stderr().splitlines()
        assert "Stopping: healing 1 fault (drop-host) …" in lines
        last = lines[-1]
        assert last.startswith(" … done ")
        assert " s · stack down " in last
        assert last.endswith(f" · journal kept: {run.folder().path}   exit 130")


def test_a_signal_while_the_stack_goes_down_keeps_the_complete_result(tmp_path: Path) -> None:
    with chaoskit("run", str(SHORT), str(SHORT), folder=tmp_path) as run:
        run.wait_event("run_ended")
        run.press(signal.SIGTERM)
        assert run.finish() == 143
        assert run.left() is None
        assert run.result()["status"] == "completed"
        # The second experiment was not begun.
        assert [p.name for p in run.runs.iterdir() if p.name != "latest"] == [run.folder().id]


def test_a_second_signal_only_reports(tmp_path: Path) -> None:
    with chaoskit("run", str(SHORT), folder=tmp_path) as run:
        run.wait_event("fault_active")
        proxy = run.pid_of("fault-proxy")
        # A proxy that stands still makes healing last until it goes on.
        os.kill(proxy, signal.SIGSTOP)
        run.press(signal.SIGINT)
        wait_until(lambda: None if "Stopping" in run.stderr() else "not stopping", within_s=5)
        run.press(signal.SIGINT)
        wait_until(lambda: None if "Still healing" in run.stderr() else "no word", within_s=5)
        assert run.process.poll() is None
        os.kill(proxy, signal.SIGCONT)
        assert run.finish() == 130
        assert run.left() is None
        assert healed(run)[-1] == ("drop-host", True)
        assert run.result()["residual_faults"] == []


def test_a_third_signal_leaves_everything_to_the_guardian(tmp_path: Path) -> None:
    with chaoskit("run", str(SHORT), folder=tmp_path) as run:
        run.wait_event("fault_active")
        os.kill(run.pid_of("fault-proxy"), signal.SIGSTOP)
        run.press(signal.SIGINT)
        wait_until(lambda: None if "Stopping" in run.stderr() else "not stopping", within_s=5)
        run.press(signal.SIGINT)
        wait_until(lambda: None if "Still healing" in run.stderr() else "no word", within_s=5)
        run.press(signal.SIGINT)
        assert run.finish(within_s=2) == 130
        assert "Left to the guardian" in run.stderr()
        wait_until(run.left, within_s=GONE_WITHIN_S)
        wait_until(lambda: "live" if run.folder().is_live() else None, within_s=1)
        assert '"fault_id":"drop-host","confirmed":true' in run.folder().heal.read_text()


def test_signals_at_random_instants_leave_nothing(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    struck = [(rng.uniform(0.3, 12.0), rng.choice([2, 15])) for _ in range(4)]
    with ThreadPoolExecutor(len(struck)) as pool:
        outcomes = [
            pool.submit(_strike, tmp_path / str(i), after_s, signum)
            for i, (after_s, signum) in enumerate(struck)
        ]
    for (after_s, signum), outcome in zip(struck, outcomes, strict=True):
        assert outcome.result() is None, f"seed {seed}: {signum} after {after_s:.2f} s"


def _strike(folder: Path, after_s: float, signum: int) -> str | None:
    """Return what is wrong after a signal at that instant, None: nothing."""
    with chaoskit("run", str(SHORT), folder=folder) as run:
        time.sleep(after_s)
        ended_before = run.process.poll() is not None
        with suppress(ProcessLookupError):
            run.press(signum)
        code = run.finish()
        if run.left():
            return run.left()
        if ended_before:
            return None
        started = run.runs.exists()
        # A signal before chaoskit listens kills it (SIGTERM) while nothing is started.
        if code != 128 + signum and (started or code != -signum):
            return f"exit {code}: {run.stderr()}"
        if not started or not run.folder().journal.exists():
            return None
        faults = {e["fault_id"] for e in run.journal() if e.get("type") == "fault_injecting"}
        if faults != {fault for fault, confirmed in healed(run) if confirmed}:
            return f"not all healed: {run.journal()}"
        status = run.result()["status"]
        return None if status in ("interrupted", "completed") else f"status {status}"
