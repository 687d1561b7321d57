"""What every service does when it starts: descriptors as far as they go, a ready file at once."""

import json
import os
import resource
from pathlib import Path

import pytest

from chaoskit.services.descriptors import DescriptorLimit, raise_descriptor_limit
from chaoskit.services.readiness import write_ready
from chaoskit.wire.descriptors import CROWD, FAULT_PROXY

pytestmark = pytest.mark.unit


def test_a_ready_file_names_the_process_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "ready" / "room-a.json"

    write_ready(path, name="room-a", port=20_001, host="127.0.0.1")
    write_ready(path, name="room-a", port=20_002)

    assert json.loads(path.read_text()) == {"name": "room-a", "pid": os.getpid(), "port": 20_002}
    assert list(path.parent.iterdir()) == [path]


def test_a_ready_file_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "room-a.json", list[str]()
    replace = Path.replace

    def watched(draft: Path, target: Path) -> Path:
        assert not path.exists()
        seen.append(draft.read_text())
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_ready(path, name="room-a", port=1)

    assert seen == [path.read_text()]


@pytest.mark.parametrize(("soft", "raised"), [(1_024, [(4_096, 4_096)]), (4_096, [])])
def test_the_soft_limit_is_raised_to_the_hard_one(
    monkeypatch: pytest.MonkeyPatch, soft: int, raised: list[tuple[int, int]]
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: asked.append(new))

    limit = raise_descriptor_limit()

    assert (limit, asked) == (DescriptorLimit(was=soft, allowed=4_096), raised)
    assert limit.allows(4_096)
    assert not limit.allows(4_097)


def test_no_limit_allows_everything() -> None:
    assert DescriptorLimit(was=1_024, allowed=resource.RLIM_INFINITY).allows(1 << 40)


def test_the_need_is_so_many_each_and_some_besides() -> None:
    assert (FAULT_PROXY.need(0), FAULT_PROXY.need(200)) == (256, 1_256)
    assert str(CROWD) == "4 a listener + 64"
