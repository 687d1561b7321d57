"""The end screen of stored runs: wide and narrow, in ASCII, in colour or not, as JSON."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.cli.conftest import DATA, Command, screen

pytestmark = pytest.mark.cli

ROOT = Path(__file__).resolve().parents[2]
Stored = Callable[[str], str]
# Python itself takes the C locale for UTF-8 unless it is told not to.
NOT_UTF8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("name", ["held", "night", "refused", "residue"])
def test_report(
    name: str,
    columns: str,
    command: Command,
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
    golden: SnapshotAssertion,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    seen = command("report", stored(name))
    assert seen == golden
    assert max(map(len, seen.splitlines())) <= int(columns)
    assert seen.startswith(f"exit {json.loads((DATA / f'{name}.json').read_text())['exit_code']}\n")


def test_report_as_json_is_the_stored_object(command: Command, stored: Stored) -> None:
    seen = command("report", stored("night"), "--format", "json")
    code, out, *_ = seen.split("\n--- ")
    assert code == "exit 10"
    assert json.loads(out.removeprefix("stdout\n")) == json.loads((DATA / "night.json").read_text())


@pytest.mark.parametrize(
    ("as_expected", "told"), [(True, "deviated, and did."), (False, "deviated, but ended held.")]
)
def test_a_control_says_whether_its_pair_differs(
    as_expected: bool, told: str, command: Command, stored: Stored, place: Path
) -> None:
    file = place / "runs" / stored("held") / "result.json"
    result = json.loads(file.read_text())
    result["control"] = {"expect": "deviated", "as_expected": as_expected}
    file.write_text(json.dumps(result))
    assert f" Control of the pair: it had to end {told}\n" in command("report", "7f3c")


def test_the_latest_run_is_meant_when_none_is_named(
    command: Command, stored: Stored, place: Path
) -> None:
    run_id = stored("refused")
    (place / "runs/latest").symlink_to(run_id)
    assert command("report") == command("report", run_id)


def test_a_result_of_another_version_is_not_read(
    command: Command, stored: Stored, place: Path, golden: SnapshotAssertion
) -> None:
    stored("held")
    file = place / "runs/7f3c/result.json"
    file.write_text(file.read_text().replace("chaoskit.run/v1", "chaoskit.run/v9"))
    assert command("report", "7f3c") == golden


def test_a_torn_result_is_not_read(command: Command, stored: Stored, place: Path) -> None:
    stored("held")
    (place / "runs/7f3c/result.json").write_text('{"schema": ')
    seen = command("report", "7f3c")
    assert seen.startswith("exit 2\n")
    assert "result.json: cannot be read: " in seen


def test_a_run_that_ended_while_starting_has_no_result(
    command: Command, stored: Stored, place: Path, golden: SnapshotAssertion
) -> None:
    stored("held")
    (place / "runs/7f3c/result.json").unlink()
    assert command("report", "7f3c") == golden


def chaoskit(*arguments: str, place: Path, env: Mapping[str, str]) -> str:
    """Run a command of its own, without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "chaoskit", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        check=False,
    )
    return screen(done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii"))


def test_without_utf8_everything_is_ascii(
    place: Path, stored: Stored, golden: SnapshotAssertion
) -> None:
    stored("night")
    shown = [
        chaoskit(*arguments, place=place, env=NOT_UTF8)
        for arguments in (
            ("report", "0908"),
            ("plan", "host-drop-fresh-room"),
            ("replay", "launch-night", "--scale", "½"),
        )
    ]
    assert "\n".join(shown) == golden


def on_a_terminal(*arguments: str, place: Path, env: Mapping[str, str]) -> str:
    """Run a command on a terminal of 80x24; return what the terminal was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST  # as it was written, no carriage returns
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    without = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-m", "chaoskit", *arguments],
        cwd=place,
        env={**without, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        sent = b""
        try:
            while data := os.read(ours, 65536):
                sent += data
        except OSError:
            pass  # the terminal's other end is closed
        os.close(ours)
    return f"exit {process.returncode}\n--- terminal\n{sent.decode()}"


def test_on_a_terminal_marks_have_a_colour(
    place: Path, stored: Stored, golden: SnapshotAssertion
) -> None:
    assert on_a_terminal("report", stored("night"), place=place, env={}) == golden


def test_no_color_leaves_no_colour(place: Path, stored: Stored, golden: SnapshotAssertion) -> None:
    seen = on_a_terminal("report", stored("night"), place=place, env={"NO_COLOR": "1"})
    assert seen == golden
    assert not any(f"\x1b[{code}m" in seen for code in (31, 32, 33, "1;31"))


def test_a_list_is_a_table_on_a_terminal(place: Path, golden: SnapshotAssertion) -> None:
    assert on_a_terminal("list", "faults", place=place, env={"NO_COLOR": "1"}) == golden


@pytest.mark.parametrize("arguments", [("--help",), ("plan", "launch-night"), ("list", "checks")])
def test_a_reader_that_stops_early_is_no_error(place: Path, arguments: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "chaoskit", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert (process.returncode, said) == (0, b"")
