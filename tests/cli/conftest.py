"""Golden screens: a command, its exit code and both streams in one text file.

Commands run in this process, in an empty folder, 80 columns wide, without colour: nothing of a
screen is replaced afterwards. `pytest tests/cli --snapshot-update` writes the files anew.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from chaoskit.cli.app import main

DATA = Path(__file__).parent / "data"
Command = Callable[..., str]


class Screen(SingleFileSnapshotExtension):
    """One text file a screen."""

    file_extension = "txt"
    _write_mode = WriteMode.TEXT


@pytest.fixture
def golden(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """The stored screen of this test."""
    return snapshot.use_extension(Screen)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the commands of a test run in."""
    for name in list(os.environ):
        if name.startswith(("CHAOSKIT_", "FORCE_COLOR", "NO_COLOR", "LINES")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `chaoskit ARGUMENTS`; returns the screen."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        said = capsys.readouterr()
        return screen(end.value.code, said.out, said.err)

    return run


@pytest.fixture
def stored(place: Path) -> Callable[[str], str]:
    """Puts a result of data/ into a run folder; returns the run's id."""

    def store(name: str) -> str:
        text = (DATA / f"{name}.json").read_text()
        run_id = text.partition('"run_id": "')[2][:4]
        folder = place / "runs" / run_id
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        (folder / "result.json").write_text(text)
        return run_id

    return store


def screen(code: object, out: str, err: str) -> str:
    """Return exit code and streams as one text."""
    return f"exit {code}\n--- stdout\n{out}--- stderr\n{err}"
