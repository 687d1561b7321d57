"""The incident that comes with chaoskit, its loader, and a renamed copy with other figures."""

import re
import shutil
from pathlib import Path

import pytest

from chaoskit.data import fixtures_dir
from chaoskit.errors import InvalidInput
from chaoskit.replay.compiling import Replay, compile_replay
from chaoskit.replay.fidelity import compare_with_record, emergent, holds
from chaoskit.replay.record import Certainty, FigureKind
from chaoskit.spec.incident import find_incident, incident_names, load_incident
from tests.unit.nights import ideal_night

pytestmark = pytest.mark.unit

FOLDER = fixtures_dir() / "incidents" / "launch-night"


def test_the_launch_night_is_there_and_complete() -> None:
    assert "launch-night" in incident_names()
    incident = load_incident("launch-night")
    assert [e.id for e in incident.record.events] == [f"S{n:02d}" for n in range(1, 29)]
    assert {r.event for r in incident.map.rows} == {e.id for e in incident.record.events}
    assert len(incident.digest) == 64


def test_every_figure_has_a_kind_and_a_range_around_it() -> None:
    for event in load_incident("launch-night").record.events:
        if event.figure is not None:
            figure = event.figure
            assert figure.low < figure.high, event.id
            assert figure.kind in FigureKind
            if figure.unit.startswith("listeners") and figure.certainty is None:
                assert (figure.low, figure.high) == (0.95 * figure.value, 1.05 * figure.value)


def test_a_time_that_the_article_does_not_give_is_assumed() -> None:
    stated = [
        e.id
        for e in load_incident("launch-night").record.events
        if e.at is not None and e.at.certainty is Certainty.STATED
    ]
    assert stated == ["S03", "S04", "S11"]


def test_actors_are_roles_and_things() -> None:
    actors = {e.actor for e in load_incident("launch-night").record.events}
    people = {"host", "guest", "owner", "guest and owner", "listener"}
    assert actors <= people | {"platform", "audio", "room", "press"}


def test_the_whole_command_fits_its_budget() -> None:
    incident = load_incident("launch-night")
    replay = compile_replay(incident.record, incident.map)
    assert 90.0 <= replay.experiment.end_s <= 115.0
    assert (replay.listeners, replay.scale) == (200, 2500.0)


def test_rows_not_executed_here_are_those_of_later_versions() -> None:
    rows = load_incident("launch-night").map.rows
    not_yet = {r.event for r in rows if r.status.value == "not_yet"}
    assert not_yet == {"S03", "S04", "S05", "S10", "S18", "S21", "S26"}
    narrative = {r.event for r in rows if r.status.value == "narrative"}
    assert narrative == {"S01", "S22", "S27", "S28"}


# --- another night ---


def copy(tmp_path: Path, change_record: dict[str, str], change_map: dict[str, str]) -> Path:
    """Return a copy of the incident in which every key was replaced by its value."""
    folder = tmp_path / "other-night"
    shutil.copytree(FOLDER, folder)
    for name, changes in (("record.yaml", change_record), ("replay.yaml", change_map)):
        text = (folder / name).read_text()
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        (folder / name).write_text(text)
    return folder


def ten_minutes_earlier(folder: Path) -> None:
    """Move every moment from 20 minutes on ten minutes to the front."""
    for path in folder.glob("*.yaml"):
        text = re.sub(
            r"\b([2-9]\d)m(?=[\d.]*s?\b)",
            lambda m: f"{int(m.group(1)) - 10}m",
            path.read_text(),
        )
        path.write_text(text)


def other_night(tmp_path: Path) -> Replay:
    folder = copy(
        tmp_path,
        {
            "incident: launch-night": "incident: other-night",
            "value: 500000\n      range: [475000": "value: 300000\n      range: [285000",
            "525000]": "315000]",
            "value: 50000\n": "value: 25000\n",
            "range: [47500, 52500]": "range: [23750, 26250]",
            "half a million (claim)": "300 000 (claim)",
            "range: [54m, 66m]": "range: [3240000ms, 3960000ms]",
        },
        {"incident: launch-night": "incident: other-night"},
    )
    ten_minutes_earlier(folder)
    incident = load_incident(str(folder))
    return compile_replay(incident.record, incident.map)


def test_a_renamed_copy_with_other_figures_plays_and_its_figures_follow(tmp_path: Path) -> None:
    replay = other_night(tmp_path)
    assert (replay.experiment.id, replay.listeners, replay.scale) == ("other-night", 200, 1500.0)
    found = {r.title: r for r in compare_with_record(replay, ideal_night(replay))}
    assert {t: (r.replayed_text, r.reason) for t, r in found.items() if r.within is False} == {}
    assert holds(tuple(found.values()))
    assert emergent(tuple(found.values())) == (6, 6)
    size = found["half a million listeners when the first room failed"]
    assert (size.recorded, size.replayed) == ("300 000 (claim)", 300000.0)
    room = found["a fresh room is opened under the host's account"]
    assert room.replayed == pytest.approx(1200.0, abs=1.0)
    assert room.recorded == "T+17:00 to T+23:00"


def test_another_scale_of_the_other_night_follows_its_own_figure(tmp_path: Path) -> None:
    folder = copy(
        tmp_path, {"incident: launch-night": "incident: other-night"},
        {"incident: launch-night": "incident: other-night"},
    )  # fmt: skip
    incident = load_incident(str(folder))
    assert compile_replay(incident.record, incident.map, scale=1000).listeners == 500


# --- errors ---


def error_of(tmp_path: Path, record: dict[str, str], map_: dict[str, str]) -> str:
    folder = copy(tmp_path, record, map_)
    with pytest.raises(InvalidInput) as found:
        load_incident(str(folder))
    return str(found.value)


@pytest.mark.parametrize(
    ("record", "map_", "message"),
    [
        (
            {"telling: opinion": "telling: rumour"},
            {},
            r'record\.yaml:\d+:\d+: "rumour" is not one of .*opinion',
        ),
        ({"id: S28": "id: 28"}, {}, r"record\.yaml:\d+:\d+: text is expected here"),
        ({"value: 5s": "value: 5"}, {}, r"record\.yaml:\d+:\d+: a figure without a unit"),
        (
            {"unit: listeners/min": "unit: listeners/min\n      colour: red"},
            {},
            r'record\.yaml:\d+:\d+: unknown key "colour"',
        ),
        ({"after: [S24]": "after: [S27]"}, {}, r"record\.yaml:\d+:\d+: S26 follows S27"),
        (
            {"value: 890000": "value: 890s"},
            {},
            r"record\.yaml:\d+:\d+: a duration is not counted in listeners",
        ),
        ({"value: 1h": "value: true"}, {}, r"a number or a duration is expected here"),
        ({}, {"group: host, after: S13": "group: 3, after: S13"}, r"a name is expected here"),
        ({}, {"at_least: 0.99}": "at_least: 0.99, p95: 1s}"}, r'unknown key "p95"'),
        ({}, {"within: 60s}": "within: 60s, at_least: 0}"}, r"at_least 0 is heard by nobody"),
        ({}, {"fault: drop, link: host.*": "fault: loss, link: host.media.*"}, r"replay\.yaml"),
        ({}, {"run: 11s": "run: 11"}, r'replay\.yaml:\d+:\d+: duration "11" has no unit'),
        ({}, {"fault: drop": "fault: dropp"}, r'unknown fault kind "dropp"; did you mean "drop"'),
        (
            {},
            {"kind: vanished": "kind: vanish"},
            r'unknown measure "vanish"; did you mean "vanished"',
        ),
        ({}, {"times: 3": "tries: 3"}, r'replay\.yaml:\d+:\d+: unknown key "tries"'),
        ({}, {"by: 31m}": "by: soon}"}, r"replay\.yaml:\d+:\d+: no such moment: soon"),
        ({}, {"event: S28": "event: S29"}, r"replay\.yaml:\d+:\d+: the record has no entry S29"),
        ({}, {"profile: as-it-happened": "profile: soft"}, r'unknown profile "soft"'),
        ({}, {"  listeners:\n    find": "  listners:\n    find"}, r'unknown group "listners"'),
        ({}, {"speakers: [host, owner": "speakers: [hots, owner"}, r"hots is no speaker"),
        (
            {},
            {"value: 4s, from: 8s": "value: 4s, from: 18s"},
            r"replay\.yaml:\d+:\d+: the pace changes from 1x to 160x .* while the host's lease",
        ),
        ({}, {"at_least: 0.95, of": "at_least: 1.95, of"}, r"replay\.yaml:\d+:\d+: .*out of range"),
        ({}, {"speaker: guest, within: 60s": "speaker: guest"}, r'missing key "within"'),
        (
            {},
            {"groups: [guest], at: S19": "groups: [7], at: S19"},
            r"a group or a list of groups is expected",
        ),
    ],
)
def test_errors_name_file_line_and_what_was_meant(
    tmp_path: Path, record: dict[str, str], map_: dict[str, str], message: str
) -> None:
    assert re.search(message, error_of(tmp_path, record, map_))


def test_an_unknown_incident_has_a_suggestion_and_a_hint() -> None:
    with pytest.raises(InvalidInput) as found:
        find_incident("launch-nite")
    assert str(found.value) == 'unknown incident "launch-nite"; did you mean "launch-night"?'
    assert found.value.hint is not None
    with pytest.raises(InvalidInput, match="no folder with record"):
        find_incident("/nowhere/at-all")
