"""Bad input: one screen that says where and what, with the nearest right word, and exit code."""

import re
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from chaoskit.cli import commands
from chaoskit.data import experiments_dir
from tests.cli.conftest import Command

pytestmark = pytest.mark.cli

GOOD = (experiments_dir() / "host-drop-fresh-room.yaml").read_text()


def changed(*changes: tuple[str, str]) -> str:
    text = GOOD
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


FILES = {
    "does-not-parse": "format: chaoskit.experiment/v1\nid: [mine\ntitle: Mine\n",
    "is-empty": "",
    "unknown-key": changed(("\nseed: 7", "\nsede: 7")),
    "unknown-fault-kind": changed(("fault: drop,", "fault: packetloss,")),
    "missing-unit": changed(("for: 30s}", "for: 30}"), ("{at: 5s,", "{at: 5,")),
    "unknown-link": changed(('link: "host.*"', "link: host.media.room-z")),
    "nothing-matches": changed(('link: "host.*"', 'link: "hosts.*"')),
    "unknown-role": changed(("roles: [host]", "roles: [moderator]")),
    "outside-the-blast-radius": changed(("roles: [host]", "roles: [guest]")),
    "too-long-for-the-blast-radius": changed(("max_duration: 60s", "max_duration: 10s")),
    "no-listeners": changed((", listeners: 200}", "}")),
    "zero-listeners": changed(("listeners: 200}", "listeners: 0}")),
    "too-many-listeners": changed(("listeners: 200}", "listeners: 20000}")),
    "unknown-stack": changed(("stack: embedded", "stack: embeded")),
    "a-check-of-no-fault": changed(("{check: fresh_room, within: 15s, of: drop-host,",
                                    "{check: fresh_room, within: 15s, of: drop-hosts,")),
}  # fmt: skip
REFUSED = {"nothing-matches", "outside-the-blast-radius", "too-long-for-the-blast-radius"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that(name: str, command: Command, place: Path, golden: SnapshotAssertion) -> None:
    (place / "mine.yaml").write_text(FILES[name])
    seen = command("run", "mine.yaml")
    assert seen == golden
    assert seen.startswith("exit 3\n" if name in REFUSED else "exit 2\n")
    # The same words whoever asks, and nothing was started.
    assert command("plan", "mine.yaml") == command("validate", "mine.yaml") == seen
    assert not (place / "runs").exists()


def test_many_errors_of_many_files_come_at_once(
    command: Command, place: Path, golden: SnapshotAssertion
) -> None:
    (place / "a.yaml").write_text(
        changed(("fault: drop,", "fault: packetloss,"), ("from: heal,", "from: heel,"))
    )
    (place / "b.yaml").write_text(FILES["outside-the-blast-radius"])
    (place / "c.yaml").write_text(GOOD)
    assert command("validate", "a.yaml", "b.yaml", "c.yaml", "nowhere.yaml") == golden


def test_a_file_that_is_not_text(command: Command, place: Path, golden: SnapshotAssertion) -> None:
    (place / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    assert command("validate", "mine.yaml") == golden


def test_what_is_told_again_does_not_steer_the_terminal(command: Command) -> None:
    seen = command("run", "\x1b[2Jzzz")
    assert 'unknown experiment "[2Jzzz"' in seen
    assert "\x1b" not in seen


LINES = {
    "run-unknown": ["run", "host-drop-fresh-rom"],
    "run-unlike-any": ["run", "zzz"],
    "run-nowhere": ["run", "there/is-none.yaml"],
    "run-no-listeners": ["run", "room-node-kill", "--listeners", "0"],
    "run-too-many-listeners": ["run", "room-node-kill", "--listeners", "99999"],
    "run-negative-seed": ["run", "room-node-kill", "--seed", "-1"],
    "run-unknown-profile": ["run", "room-node-kill", "--profile", "hardend"],
    "run-format": ["run", "room-node-kill", "--format", "xml"],
    "run-without-files": ["run"],
    "run-unknown-option": ["run", "room-node-kill", "--listener", "3"],
    "replay-unknown": ["replay", "lunch-night"],
    "replay-no-listeners": ["replay", "launch-night", "--listeners", "0"],
    "replay-scale-too-small": ["replay", "launch-night", "--scale", "3"],
    "replay-scale-below-one": ["replay", "launch-night", "--scale", "0.5"],
    "replay-scale-too-large": ["replay", "launch-night", "--scale", "2000000"],
    "replay-scale-is-no-number": ["replay", "launch-night", "--scale", "1:many"],
    "replay-scale-and-listeners": ["replay", "launch-night", "--scale", "9", "--listeners", "9"],
    "plan-neither": ["plan", "launch-nite"],
    "plan-scale-of-an-experiment": ["plan", "room-node-kill", "--scale", "100"],
    "plan-control-of-an-incident": ["plan", "launch-night", "--control"],
    "unknown-command": ["rerun"],
    "heal-nothing-named": ["heal"],
    "heal-unknown": ["heal", "7f3c"],
    "heal-all-of-nothing": ["heal", "--all"],
    "report-without-runs": ["report"],
}


@pytest.mark.parametrize("name", LINES)
def test_line(name: str, command: Command, place: Path, golden: SnapshotAssertion) -> None:
    seen = command(*LINES[name])
    assert seen == golden
    assert len(seen.splitlines()) <= 24
    assert not (place / "runs").exists()


def test_a_bug_is_told_in_two_lines(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "show_plan", broken)
    seen = command("plan", "launch-night").splitlines()
    assert seen[:3] == ["exit 1", "--- stdout", "--- stderr"]
    assert re.fullmatch(
        r"chaoskit has a bug: ZeroDivisionError: no listener a room \(cli/app.py:\d+\)", seen[3]
    )
    assert seen[4:] == ["", "hint: CHAOSKIT_DEBUG=1 shows the traceback   exit 1"]


def test_the_traceback_of_a_bug_is_shown_on_demand(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "show_plan", broken)
    monkeypatch.setenv("CHAOSKIT_DEBUG", "1")
    seen = command("plan", "launch-night")
    assert "Traceback (most recent call last)" in seen
    assert seen.startswith("exit 1\n")


def broken(*_: object, **__: object) -> int:
    raise ZeroDivisionError("no listener a room")
