"""Run folders: fresh ids, who holds a run, and what a list of runs says of each."""

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from chaoskit.errors import EnvironmentMissing, InvalidInput
from chaoskit.journal.folder import (
    ProxyAddress,
    RunFolder,
    child_environment,
    create_run,
    find_run,
    run_folders,
)
from chaoskit.journal.runs import list_runs
from chaoskit.journal.writer import JournalWriter, header
from chaoskit.model import Event, FaultHealed, FaultInjecting, HealEnded, RunEnded, RunStatus, Undo

pytestmark = pytest.mark.unit

CUT = FaultInjecting(
    at_s=1.0,
    fault_id="cut",
    kind="drop",
    target="host.*",
    undo=Undo(fault_id="cut", kind="drop", handle={}),
)
COMPLETED = RunEnded(at_s=9.0, status=RunStatus.COMPLETED)


def ids(*given: str) -> Callable[[int], str]:
    left = iter(given)
    return lambda _n: next(left)


def ended_run(runs_dir: Path, events: Iterable[Event]) -> RunFolder:
    folder, lock = create_run(runs_dir)
    first_line = header(
        run=folder.id,
        experiment="room-node-kill",
        digest="",
        seed=3,
        started_s=0.0,
        origin_s=0.0,
        argv=(),
    )
    writer = JournalWriter.create(folder.journal, first_line)
    for event in events:
        writer.append(event)
    writer.close()
    lock.release()
    return folder


def test_a_fresh_run_has_a_short_id_and_its_subfolders(tmp_path: Path) -> None:
    folder, lock = create_run(tmp_path / "runs")

    assert len(folder.id) == 4
    int(folder.id, 16)
    assert folder.path == tmp_path / "runs" / folder.id
    assert {p.name for p in folder.path.iterdir()} == {"lock", "crowd", "ctl", "ready", "logs"}
    lock.release()


def test_an_id_that_is_taken_is_not_used_again(tmp_path: Path) -> None:
    create_run(tmp_path, new_id=ids("aaaa"))[1].release()

    folder, lock = create_run(tmp_path, new_id=ids("aaaa", "aaaa", "bbbb"))

    assert folder.id == "bbbb"
    lock.release()


def test_ids_grow_when_the_short_ones_run_out(tmp_path: Path) -> None:
    (tmp_path / "aaaa").mkdir()

    folder, lock = create_run(tmp_path, new_id=lambda n: "aa" * n)

    assert folder.id == "aaaaaa"
    lock.release()


def test_latest_points_at_the_newest_run(tmp_path: Path) -> None:
    _, first = create_run(tmp_path)
    folder, second = create_run(tmp_path)

    assert (tmp_path / "latest").readlink() == Path(folder.id)
    assert find_run(tmp_path, "latest") == folder
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    first.release()
    second.release()


def test_a_run_has_one_path_however_its_place_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, link = tmp_path / "disk", tmp_path / "runs"
    place.mkdir()
    link.symlink_to(place)
    folder, lock = create_run(link)
    lock.release()

    assert folder.path == place / folder.id
    assert [*run_folders(link), find_run(link, folder.id), find_run(link, "latest")] == [folder] * 3
    monkeypatch.chdir(tmp_path)
    assert list(run_folders(Path("runs"))) == [folder]
    assert child_environment(folder)["CHAOSKIT_RUN_FOLDER"] == str(place / folder.id)


def test_a_place_that_is_no_folder_is_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()

    with pytest.raises(EnvironmentMissing, match=r"cannot make a run folder in .*runs") as caught:
        create_run(tmp_path / "runs")

    assert "--runs-dir" in (caught.value.hint or "")


def test_a_read_only_place_is_refused_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)

    with pytest.raises(EnvironmentMissing, match=r"Read-only file system") as caught:
        create_run(tmp_path)

    assert "--runs-dir" in (caught.value.hint or "")


def test_a_run_is_live_while_its_lock_is_held_and_cannot_be_locked_twice(tmp_path: Path) -> None:
    folder, lock = create_run(tmp_path)

    assert folder.is_live()
    assert folder.try_lock(patience_s=0.0) is None
    lock.release()
    assert not folder.is_live()
    again = folder.try_lock()
    assert again is not None
    again.release()


def test_the_lock_lives_as_long_as_any_holder_of_its_open_file(tmp_path: Path) -> None:
    folder, lock = create_run(tmp_path)
    shared = os.dup(lock.fd)

    lock.release()

    assert folder.is_live()
    os.close(shared)
    assert not folder.is_live()


def test_runs_are_found_by_id_path_or_latest_and_others_are_named(tmp_path: Path) -> None:
    folder, lock = create_run(tmp_path, new_id=ids("7f3c"))
    lock.release()

    assert find_run(tmp_path, "7f3c") == folder
    assert find_run(tmp_path / "elsewhere", str(folder.path)) == folder
    with pytest.raises(InvalidInput, match=r"no run 'beef' in .*; there are 7f3c") as caught:
        find_run(tmp_path, "beef")
    assert caught.value.hint == "chaoskit list runs"
    with pytest.raises(InvalidInput, match=r"there are none"):
        find_run(tmp_path / "empty", "latest")


def test_only_run_folders_are_listed_oldest_first(tmp_path: Path) -> None:
    for number, name in enumerate(("cccc", "aaaa", "bbbb")):
        folder, lock = create_run(tmp_path, new_id=ids(name))
        lock.release()
        os.utime(folder.lock, (number, number))
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").touch()

    assert [folder.id for folder in run_folders(tmp_path)] == ["cccc", "aaaa", "bbbb"]
    assert list(run_folders(tmp_path / "not-there")) == []


def test_the_list_says_how_each_run_went(tmp_path: Path) -> None:
    completed = ended_run(
        tmp_path, [CUT, FaultHealed(at_s=2, fault_id="cut", confirmed=True), COMPLETED]
    )
    died = ended_run(tmp_path, [CUT])
    live, lock = create_run(tmp_path)
    broken = ended_run(tmp_path, [])
    broken.journal.write_text('{"format": "somebody.else/v1"}\n')
    saved = ended_run(tmp_path, [CUT])
    healer = JournalWriter(saved.heal)
    healer.append(FaultHealed(at_s=3, fault_id="cut", confirmed=True, by="guardian"))
    healer.append(HealEnded(at_s=4, by="guardian"))
    healer.close()

    seen = {s.folder.id: (s.status, s.pending, s.healed_by) for s in list_runs(tmp_path)}

    assert seen == {
        completed.id: ("completed", 0, ""),
        died.id: ("died", 1, ""),
        live.id: ("live", 0, ""),
        broken.id: ("unreadable", 0, ""),
        saved.id: ("died", 0, "guardian"),
    }
    lock.release()


def test_the_proxy_address_is_kept_and_a_damaged_note_reads_as_none(tmp_path: Path) -> None:
    folder, lock = create_run(tmp_path)
    address = ProxyAddress(url="http://127.0.0.1:20000", epoch=folder.id)

    assert folder.proxy() is None
    folder.note_proxy(address)
    assert folder.proxy() == address
    (folder.path / "proxy.json").write_text('{"url": ')
    assert folder.proxy() is None
    lock.release()


def test_a_socket_path_is_short_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 90)
    folder, lock = create_run(deep)

    monkeypatch.chdir(deep)
    assert folder.control_socket("crowd-a") == Path(folder.id, "ctl", "crowd-a.sock")
    monkeypatch.chdir("/")
    with pytest.raises(EnvironmentMissing, match=r"too long"):
        folder.control_socket("crowd-a")
    lock.release()


def test_children_are_marked_with_the_run_and_its_folder(tmp_path: Path) -> None:
    folder, lock = create_run(tmp_path)

    assert child_environment(folder) == {
        "CHAOSKIT_RUN": folder.id,
        "CHAOSKIT_RUN_FOLDER": str(folder.path),
    }
    lock.release()
