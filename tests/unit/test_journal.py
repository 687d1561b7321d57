"""What goes into a journal comes out of it, whatever happened to its writer."""

import collections.abc
import dataclasses
import errno
import json
import math
import os
import types
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.errors import EnvironmentMissing, InvalidInput
from chaoskit.journal.codec import decode_event, encode_event, event_types
from chaoskit.journal.reader import load_journal, pending_undos
from chaoskit.journal.redact import REDACTED, Redactor, redacted
from chaoskit.journal.writer import HEAL_FORMAT, JournalWriter, header
from chaoskit.model import (
    Effect,
    Event,
    FaultActive,
    FaultEffect,
    FaultHealed,
    FaultInjecting,
    HealBegun,
    HealEnded,
    Observed,
    Phase,
    PhaseEntered,
    RunEnded,
    RunStatus,
    Undo,
)

pytestmark = pytest.mark.unit

HEADER = header(
    run="7f3c",
    experiment="host-drop-fresh-room",
    digest="sha256:00",
    seed=7,
    started_s=99.0,
    origin_s=100.0,
    argv=("chaoskit", "run", "host-drop-fresh-room"),
)


def injecting(fault: str, at_s: float = 1.0, kind: str = "drop") -> FaultInjecting:
    undo = Undo(fault_id=fault, kind=kind, handle={"links": ["host.api.directory"], "was": [True]})
    return FaultInjecting(at_s=at_s, fault_id=fault, kind=kind, target="host.*", undo=undo)


def healed(
    fault: str, at_s: float = 2.0, *, confirmed: bool = True, by: str = "engine"
) -> FaultHealed:
    return FaultHealed(at_s=at_s, fault_id=fault, confirmed=confirmed, by=by)


EVENTS: tuple[Event, ...] = (
    PhaseEntered(at_s=-1.5, phase=Phase.PREPARE),
    injecting("drop-host"),
    FaultActive(at_s=1.1, fault_id="drop-host", active=True),
    FaultEffect(
        at_s=1.2,
        fault_id="drop-host",
        effect=Effect(
            measures={"connections_lost": 2.0, "worst": math.inf},
            witness="proxy",
            affected=2,
            targeted=2,
        ),
    ),
    Observed(at_s=1.3, probe="room-a", value={"p1": False, "höre": None}),
    healed("drop-host"),
    RunEnded(at_s=3.0, status=RunStatus.COMPLETED),
)


def write(path: Path, events: tuple[Event, ...] = EVENTS) -> None:
    writer = JournalWriter.create(path, HEADER)
    for event in events:
        writer.append(event)
    writer.close()


def write_heal(folder: Path, events: tuple[Event, ...]) -> None:
    writer = JournalWriter(folder / "heal.jsonl")
    writer.append_json({"format": HEAL_FORMAT, "run": "7f3c"})
    for event in events:
        writer.append(event)
    writer.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "journal.jsonl"
    write(path)
    return path.read_bytes()


def test_a_journal_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "journal.jsonl")

    journal = load_journal(tmp_path / "journal.jsonl")

    assert journal.header == HEADER
    assert journal.events == EVENTS
    assert not journal.cut
    assert journal.unreadable == 0
    assert journal.ended == EVENTS[-1]


def test_lines_are_json_objects_numbered_from_one(whole: bytes) -> None:
    lines = [json.loads(line) for line in whole.splitlines()]

    assert lines[0]["format"] == "chaoskit.journal/v1"
    assert [line["seq"] for line in lines[1:]] == list(range(1, len(EVENTS) + 1))
    assert lines[2]["type"] == "fault_injecting"


@given(data=st.data())
def test_a_journal_cut_at_any_byte_still_loads(
    data: st.DataObject, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cut_at = data.draw(st.integers(0, len(whole)), label="cut at byte")
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    path.write_bytes(whole[:cut_at])

    journal = load_journal(path)

    # A line is complete from its closing brace on; its newline may be missing.
    kept = sum(1 for line in whole[:cut_at].split(b"\n") if line.endswith(b"}") and _is_json(line))
    assert journal.events == EVENTS[: max(0, kept - 1)]
    assert (journal.header is not None) == (kept >= 1)
    assert journal.unreadable == 0
    torn = whole[:cut_at].rsplit(b"\n", 1)[-1]
    assert journal.cut == (torn != b"" and not _is_json(torn))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


NAMES = st.text(max_size=8)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    Any: JSON_VALUES,
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    int: st.integers(),
    str: NAMES,
    type(None): st.none(),
}


def values_of(tp: Any) -> st.SearchStrategy[Any]:
    """Return any value that the annotation of a field allows."""
    args = get_args(tp)
    origin = get_origin(tp)
    if tp in PLAIN:
        return PLAIN[tp]
    if origin is types.UnionType:
        return st.one_of([values_of(arg) for arg in args])
    if origin is tuple:
        return st.lists(values_of(args[0]), max_size=3).map(tuple)
    if origin is collections.abc.Mapping:
        return st.dictionaries(NAMES, values_of(args[1]), max_size=3)
    if issubclass(tp, StrEnum):
        return st.sampled_from(tp)
    hints = get_type_hints(tp)
    return st.builds(tp, **{f.name: values_of(hints[f.name]) for f in fields(tp)})


@pytest.mark.parametrize("cls", event_types().values(), ids=lambda cls: cls.type)
@given(data=st.data())
def test_every_event_survives_the_round_trip_through_json(
    cls: type[Event], data: st.DataObject
) -> None:
    event = data.draw(values_of(cls))

    line = json.dumps(encode_event(event), allow_nan=False)

    assert decode_event(json.loads(line)) == event


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "no_such_event", "at_s": 1.0},
        {"at_s": 1.0},
        {"type": "phase_entered", "at_s": 1.0},
        {"type": "phase_entered", "at_s": 1.0, "phase": "lunch"},
        {"type": "phase_entered", "at_s": "soon", "phase": "gate"},
        {"type": "run_ended", "at_s": 1.0, "status": "completed", "residual": "drop-host"},
        {
            "type": "fault_injecting",
            "at_s": 1,
            "fault_id": "f",
            "kind": "k",
            "target": "t",
            "undo": 1,
        },
    ],
)
def test_an_object_that_is_no_event_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"unknown event type|lacks|is no|is not a valid"):
        decode_event(broken)


def test_whole_lines_that_are_no_event_are_counted_not_fatal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path)
    with path.open("ab") as file:
        file.write(b'{"seq": 8, "type": "from_a_newer_version", "at_s": 4.0}\n[1]\n')

    journal = load_journal(path)

    assert journal.events == EVENTS
    assert journal.unreadable == 2


def test_a_journal_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"format": "chaoskit.journal/v9"}\n')

    with pytest.raises(InvalidInput, match=r"journal\.jsonl:1: format 'chaoskit\.journal/v9'"):
        load_journal(path)


def test_a_run_without_a_journal_reads_as_empty(tmp_path: Path) -> None:
    journal = load_journal(tmp_path / "journal.jsonl")

    assert journal.header is None
    assert journal.events == ()
    assert journal.ended is None


def test_what_the_guardian_wrote_is_merged_in_by_run_time(tmp_path: Path) -> None:
    before = (injecting("cut", 1.0), PhaseEntered(at_s=5.0, phase=Phase.RECOVER))
    after = (
        HealBegun(at_s=3.0, by="guardian", why="the engine is gone"),
        healed("cut", 4.0, by="guardian"),
        HealEnded(at_s=6.0, by="guardian"),
    )
    write(tmp_path / "journal.jsonl", before)
    write_heal(tmp_path, after)

    merged = load_journal(tmp_path / "journal.jsonl").events

    assert [event.at_s for event in merged] == [1.0, 3.0, 4.0, 5.0, 6.0]
    assert pending_undos(merged) == ()


def test_undos_are_pending_newest_first_until_a_heal_is_confirmed() -> None:
    events = [
        injecting("first", 1.0),
        injecting("second", 2.0),
        injecting("third", 3.0),
        healed("second", 4.0),
        healed("third", 5.0, confirmed=False),
    ]

    assert [undo.fault_id for undo in pending_undos(events)] == ["third", "first"]


def test_a_fault_injected_again_after_its_heal_is_pending_again() -> None:
    events = [injecting("flap", 1.0), healed("flap", 2.0), injecting("flap", 3.0)]

    assert [undo.fault_id for undo in pending_undos(events)] == ["flap"]


def test_a_durable_event_is_synced_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter.create(tmp_path / "journal.jsonl", HEADER)
    synced: list[int] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append((tmp_path / "journal.jsonl").stat().st_size)
    )

    writer.append(PhaseEntered(at_s=0.0, phase=Phase.INJECT))
    assert synced == []
    writer.append(injecting("cut"), durable=True)

    assert synced == [(tmp_path / "journal.jsonl").stat().st_size]


def test_a_write_that_fails_half_way_leaves_no_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    writer = JournalWriter.create(path, HEADER)
    real_write = os.write
    room = [10]

    def full_disk(fd: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(fd, data[: room.pop()])

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(EnvironmentMissing, match=r"No space left on device"):
        writer.append(injecting("cut"), durable=True)
    monkeypatch.setattr(os, "write", real_write)
    writer.append(healed("cut"))

    journal = load_journal(path)
    assert journal.events == (healed("cut"),)
    assert not journal.cut
    assert journal.unreadable == 0


def test_a_folder_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EnvironmentMissing, match=r"cannot write the journal") as caught:
        JournalWriter.create(tmp_path / "file" / "journal.jsonl", HEADER)

    assert caught.value.hint


def test_tokens_do_not_reach_the_journal(tmp_path: Path) -> None:
    secret, jwt = "s3cret-s3cret", "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl"
    redactor = Redactor({"LIVEKIT_API_SECRET": secret, "PATH": "/usr/bin"})
    path = tmp_path / "journal.jsonl"
    writer = JournalWriter.create(path, HEADER, redactor)
    value = {
        "token": "t0ps3cret",
        "nested": [{"api_key": ["k3y-k3y-k3y"]}, f"mentions {secret} in passing"],
        "header": "Authorization: Bearer abcdefgh12345678",
        "url": f"wss://user:pa55@host/rtc?access_token={jwt}&room=7",
        "tokens_issued": 5,
    }

    writer.append(Observed(at_s=1.0, probe="join", value=value, error=f"refused {jwt}"))

    text = path.read_text()
    for leak in ("t0ps3cret", "k3y-k3y", secret, "abcdefgh", "pa55", jwt, "eyJ"):
        assert leak not in text
    (event,) = load_journal(path).events
    assert isinstance(event, Observed)
    assert event.value["token"] == REDACTED
    assert event.value["tokens_issued"] == 5
    assert event.value["url"].startswith("wss://user:")
    assert event.value["url"].endswith("&room=7")


def test_secrets_of_the_environment_reach_no_file_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "s3cret-s3cret"
    monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", secret)
    argv = ["chaoskit", "run", f"x-{secret}.yaml"]
    first_line = dataclasses.replace(HEADER, argv=tuple(argv))
    path = tmp_path / "journal.jsonl"

    writer = JournalWriter.create(path, first_line)
    writer.append(Observed(at_s=1.0, probe="join", value=None, error=f"refused {secret}"))
    writer.close()

    assert secret not in path.read_text()
    assert path.read_text().count(REDACTED) == 2
    plan = {"experiment": {"title": f"with {secret}", "password": "pw", "seed": 7, "gate": None}}
    assert redacted(plan) == {
        "experiment": {
            "title": f"with {REDACTED}",
            "password": REDACTED,
            "seed": 7,
            "gate": None,
        }
    }
    assert redacted({"argv": (secret, 1), 7: secret}) == {"argv": [REDACTED, 1], 7: REDACTED}


def test_secrets_are_taken_off_a_command_line() -> None:
    argv = ["chaoskit", "listen", "--token", "abc", "--api-key=def", "--password", "--seed", "7"]

    kept = Redactor().command_line(argv)

    assert " ".join(kept) == (
        f"chaoskit listen --token {REDACTED} --api-key={REDACTED} --password --seed 7"
    )
