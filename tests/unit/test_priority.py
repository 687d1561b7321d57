"""Asking for CPU priority: given or refused, it never stops a service."""

import os
from pathlib import Path

import pytest

from chaoskit.services import priority

pytestmark = pytest.mark.unit


def test_a_refusal_is_told_and_harmless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr(priority, "_AUTOGROUP", tmp_path / "absent" / "autogroup")
    assert priority.ask_for_priority(priority.SERVICE_NICE) is False


def test_both_the_process_and_its_session_are_raised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "setpriority", lambda *a: asked.append(a))
    monkeypatch.setattr(priority, "_AUTOGROUP", tmp_path / "autogroup")
    assert priority.ask_for_priority(priority.SERVICE_NICE) is True
    assert asked == [(os.PRIO_PROCESS, 0, priority.SERVICE_NICE)]
    assert (tmp_path / "autogroup").read_text() == str(priority.SERVICE_NICE)
