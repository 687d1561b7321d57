"""Bad luck on the command line: a clear error of one screen, the exit code, nothing left."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from chaoskit.cli.app import main
from chaoskit.cli.live import PlainView
from chaoskit.guardian.strays import find_strays
from tests.stack.cli_rig import GONE_WITHIN_S, ROOT, SHORT, Command, chaoskit, wait_until

pytestmark = pytest.mark.stack

ENVIRONMENT = 4
VERDICTS = {0, 10, 11}
"""What a run to its end may come to; on a busy machine its ears may be late."""


class Said(NamedTuple):
    """What a command printed."""

    out: str
    err: str


Here = Callable[..., tuple[int, Said]]


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    """Runs a command in this process: its exit code, and what it printed."""
    monkeypatch.setenv("CHAOSKIT_RUNS", str(tmp_path / "runs"))

    def run(*arguments: str) -> tuple[int, Said]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert isinstance(end.value.code, int)
        return end.value.code, Said(*capsys.readouterr())

    return run


def one_screen(text: str) -> bool:
    return len(text.splitlines()) <= 24


def test_a_child_that_dies_at_the_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    own = f"{shutil.which('sh')} -c 'echo no such codec >&2; exit 3'"
    env = {"CHAOSKIT_SERVICE_ROOM_A": own}
    with chaoskit("run", str(SHORT), "--quiet", folder=tmp_path, env=env) as run:
        assert run.finish() == ENVIRONMENT
        assert run.left() is None
        log = run.folder().log("room-a")
        assert run.stderr() == (
            "room-a died while starting: exit 3\n"
            "  no such codec\n"
            "\n"
            f"hint: the whole log is {log}   exit 4\n"
        )
        assert not run.folder().is_live()


def test_a_child_that_says_nothing_is_told_of_as_well(tmp_path: Path) -> None:
    env = {"CHAOSKIT_SERVICE_DIRECTORY": "false"}
    with chaoskit("run", str(SHORT), "--quiet", folder=tmp_path, env=env) as run:
        assert run.finish() == ENVIRONMENT
        assert run.left() is None
        assert "directory died while starting: exit 1\n  (nothing in directory.log)" in run.stderr()
        assert one_screen(run.stderr())


def test_a_taken_port_is_named_with_who_holds_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = (ROOT / "fixtures/stacks/embedded.yaml").read_text()
        before, found, after = stack.partition("ports: {main: 0}")
        assert found
        own_stack = tmp_path / "fixed.yaml"
        own_stack.write_text(f"{before}ports: {{main: {port}}}{after}")
        experiment = tmp_path / "mine.yaml"
        experiment.write_text(SHORT.read_text().replace("stack: embedded", f"stack: {own_stack}"))
        with chaoskit("run", str(experiment), "--quiet", folder=tmp_path) as run:
            assert run.finish() == ENVIRONMENT
            assert run.left() is None
            name = Path("/proc/self/comm").read_text().strip()
            assert run.stderr() == (
                f"fault-proxy: port {port} is taken by {name} (pid {os.getpid()})\n"
                "\n"
                "hint: end that process, or give the stack another port (0 = any)   exit 4\n"
            )


def test_too_few_open_files_print_the_need_of_each_process(tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))

    done = subprocess.run(
        [sys.executable, "-m", "chaoskit", "run", str(SHORT), "--listeners", "200"],
        cwd=ROOT,
        env={**os.environ, "CHAOSKIT_RUNS": str(runs)},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ENVIRONMENT
    lines = done.stderr.splitlines()
    assert lines[0].endswith("need more open files than the 300 this shell allows a process:")
    assert [line.split()[0] for line in lines[1:5]] == [
        "fault-proxy",
        "room-*",
        "directory",
        "crowd-*",
    ]
    assert all("too many" in line for line in lines[1:5])
    assert lines[6].startswith("hint: ulimit -Hn ")
    assert not runs.exists(), "nothing was made either"


@pytest.mark.parametrize("place", ["/proc/runs", "file/runs"])
def test_a_place_where_no_run_folder_can_be_made_is_an_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    runs = tmp_path / place
    with chaoskit("run", str(SHORT), "--runs-dir", str(runs), folder=tmp_path) as run:
        assert run.finish() == ENVIRONMENT
        assert run.stderr().startswith(f"cannot make a run folder in {runs}: ")
        assert "\n\nhint: name a folder that can be written with --runs-dir" in run.stderr()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_run_folder_of_somebody_else_is_an_error(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    # Everything is imported and read as root; only the run folder meets the other one.
    code = (
        "import os; from chaoskit.cli.app import main; from chaoskit.cli import commands, session\n"
        "def drop(*_): os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "session.require_descriptors = lambda *_, **__: drop()\n"
        f"main(['run', {str(SHORT)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "CHAOSKIT_RUNS": str(runs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ENVIRONMENT
    assert f"cannot make a run folder in {runs}: Permission denied" in done.stderr
    assert list(runs.iterdir()) == []


def test_two_runs_side_by_side_both_end_well(tmp_path: Path) -> None:
    with (
        chaoskit("run", str(SHORT), folder=tmp_path, name="a") as first,
        chaoskit("run", str(SHORT), folder=tmp_path, name="b") as second,
    ):
        assert {first.finish(), second.finish()} <= VERDICTS
        assert first.left() is None
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/result.json")]
    ids = {result["run_id"] for result in results}
    assert len(ids) == 2
    assert (tmp_path / "runs/latest").resolve().name in ids


def test_a_reader_that_goes_away_changes_neither_run_nor_verdict(tmp_path: Path) -> None:
    def low_soft_limit() -> None:  # which is raised to the hard one
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))

    process = subprocess.Popen(
        [sys.executable, "-m", "chaoskit", "run", str(SHORT), "--runs-dir", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=low_soft_limit,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.readline().startswith(b"starting ")
    process.stderr.close()
    assert process.wait(60) in VERDICTS
    folder = (tmp_path / "latest").resolve()
    assert json.loads((folder / "result.json").read_text())["status"] == "completed"
    assert find_strays(folder) == []


def test_a_bug_in_chaoskit_is_told_in_short_and_the_stack_is_taken_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: PlainView, now_s: float, facts: object) -> None:
        if now_s > 0.5:
            raise KeyError("no such lane")

    monkeypatch.setattr(PlainView, "tick", broken)
    with pytest.raises(SystemExit) as end:
        main(["run", str(SHORT), "--runs-dir", str(tmp_path)])
    assert end.value.code == 1
    folder = (tmp_path / "latest").resolve()
    assert find_strays(folder) == []
    said = capsys.readouterr()
    lines = said.err.splitlines()[-4:]
    assert lines[0].startswith("chaoskit has a bug: KeyError: 'no such lane' (cli/running.py:")
    assert lines[1] == f"the stack is down; the traceback is in {folder / 'crash.txt'}"
    assert lines[3] == "hint: please report it with that file   exit 1"
    assert "Traceback" not in said.err
    assert "KeyError: 'no such lane'" in (folder / "crash.txt").read_text()
    result = json.loads((folder / "result.json").read_text())
    assert (result["status"], result["exit_code"]) == ("crashed", 1)


def test_heal_and_report_leave_a_live_run_alone(tmp_path: Path, here: Here) -> None:
    with chaoskit("run", str(SHORT), folder=tmp_path) as run:
        run.wait_event("fault_active")
        name = run.folder().id
        run.press(signal.SIGSTOP)  # so that it cannot end before the others have looked
        code, said = here("heal", name)
        assert (code, said.err.splitlines()[0]) == (
            2,
            f"run {name} is alive; it heals when it ends",
        )
        code, said = here("report", name)
        assert (code, said.err.splitlines()[0]) == (2, f"run {name} is still alive")
        code, said = here("heal", "--all")
        assert (code, said.out) == (0, f"{name}: is alive, left alone\n")
        code, said = here("list", "runs")
        run_id, experiment, _, status, *_ = said.out.split("\t")
        assert (run_id, experiment, status) == (name, "short", "live")
        run.press(signal.SIGCONT)
        assert run.finish() in VERDICTS
        assert run.result()["faults"][0]["healed"] is True


def test_heal_and_report_after_chaoskit_was_killed(tmp_path: Path, here: Here) -> None:
    with chaoskit("run", str(SHORT), folder=tmp_path) as run:
        run.wait_event("fault_active")
        run.press(signal.SIGKILL)
        run.finish()
        wait_until(run.left, within_s=GONE_WITHIN_S)
        wait_until(lambda: "live" if run.folder().is_live() else None, within_s=1)
        name = run.folder().id
        code, said = here("report", name)
        why = "chaoskit was killed before it was judged; healed by the guardian"
        assert (code, said.err.splitlines()[0]) == (2, f"run {name} has no result: {why}")
        code, said = here("heal", name)
        assert (code, said.out) == (0, f"{name}: nothing to heal\n")


def test_a_guardian_that_dies_ends_the_run_at_once(tmp_path: Path) -> None:
    with chaoskit("run", str(SHORT), folder=tmp_path) as run:
        run.wait_event("fault_active")
        os.kill(guardian_of(run), signal.SIGKILL)
        assert run.finish(within_s=10) == ENVIRONMENT
        assert run.left() is None
        assert "\nthe guardian died, and with it the stack\n" in run.stderr()
        result = run.result()
        assert (result["status"], result["exit_code"]) == ("crashed", ENVIRONMENT)
        # Its faults were the dead proxy's: there is nothing left that could be healed.
        assert result["residual_faults"] == []


def guardian_of(run: Command) -> int:
    strays = find_strays(run.folder().path)
    return next(stray.pid for stray in strays if "chaoskit.guardian" in stray.command)


def test_heal_after_the_guardian_was_killed_too(tmp_path: Path, here: Here) -> None:
    with chaoskit("run", str(SHORT), folder=tmp_path) as run:
        run.wait_event("fault_active")
        run.press(signal.SIGSTOP)  # it would end in good order
        os.kill(guardian_of(run), signal.SIGKILL)
        run.press(signal.SIGKILL)
        run.finish()
        wait_until(run.left, within_s=GONE_WITHIN_S)
        name = run.folder().id
        code, said = here("report", name)
        assert code == 2
        assert said.err.splitlines()[0].endswith("before it was judged; 1 to heal")
        code, said = here("heal", name)
        assert code == 0
        assert said.out.startswith(f"{name}: healed drop-host\n")
        code, said = here("heal", "--all")
        assert (code, said.out) == (0, "Nothing to heal.\n")
