"""What a file that cannot be used is answered: every error at once, each at its place."""

import os
from pathlib import Path

import pytest

from chaoskit.checks.registry import check_class
from chaoskit.engine.live import population
from chaoskit.errors import InvalidInput, PlanRefused
from chaoskit.spec.experiment import Overrides, find_experiment, load_experiment

pytestmark = pytest.mark.unit

GOOD = """\
format: chaoskit.experiment/v1
id: mine
title: A good one
crowd: {host: 1, guest: 1, owner: 1, listeners: 20}
hypothesis:
  title: All is well
  checks:
    - {check: join_success, at_least: 99%}
    - {check: recovery, of: drop-host, never_at_most: 0}
method:
  - {at: 5s, id: drop-host, fault: drop, link: "host.*", for: 5s}
blast_radius: {roles: [host]}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def errors(text: str, kind: type[InvalidInput] | type[PlanRefused] = InvalidInput) -> str:
    """Return the message for `text` in a file called mine.yaml."""
    path = Path("mine.yaml")
    path.write_text(text, encoding="utf-8")
    with pytest.raises((InvalidInput, PlanRefused)) as caught:
        load_experiment(path)
    assert type(caught.value) is kind, caught.value.message
    return caught.value.message


def changed(*changes: tuple[str, str]) -> str:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_good_file_is_good() -> None:
    Path("mine.yaml").write_text(GOOD, encoding="utf-8")
    assert load_experiment(Path("mine.yaml")).id == "mine"


def test_all_errors_come_at_once_in_the_order_of_the_file() -> None:
    text = changed(
        ("fault: drop,", "fault: packetloss,"),
        ("for: 5s", "for: 30"),
        ("of: drop-host", "of: drop-hosts"),
        ("roles: [host]", "roles: [hsot]"),
        ("title: A good one", "titel: A good one"),
        ("listeners: 20", "listeners: 0"),
    )
    assert errors(text) == (
        'mine.yaml:1:1: missing key "title"\n'
        'mine.yaml:3:1: unknown key "titel"; did you mean "title"?\n'
        "mine.yaml:4:49: 0 is out of range; it must be 1 to 16000\n"
        'mine.yaml:9:29: check recovery names fault "drop-hosts", which the method does not have;'
        ' did you mean "drop-host"?\n'
        'mine.yaml:11:36: unknown fault kind "packetloss"; did you mean "loss"?\n'
        'mine.yaml:12:23: unknown role "hsot"; did you mean "host"?\n'
        "6 errors, nothing was started."
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("for: 5s", "for: 30", '11:63: duration "30" has no unit; write 30s or 500ms'),
        ("at: 5s", "at: 5", '11:10: duration "5" has no unit; write 5s or 500ms'),
        ("for: 5s", "for: 5 lightyears", '11:63: "5 lightyears" is not a duration'),
        ("for: 5s", "for: 0s", '11:63: "0s" is nothing; it must be longer than 0s'),
        ("for: 5s", "fro: 5s", '11:58: unknown key "fro"; did you mean "for"?'),
        ('"host.*"', '"hots.*"', '11:48: no link matches "hots.*": a fault must hit something'),
        (
            '"host.*"',
            "host.signal.room-c",
            '11:48: unknown link "host.signal.room-c"; did you mean "host.signal.room-b"?',
        ),
        ('"host.*"', "[]", "11:48: nothing is named here; at least one name is expected"),
        ('"host.*"', "3", '11:48: a name or a list of names is expected here, not "3"'),
        ("id: mine", "id: Mine", '2:5: "Mine" is no name; use small letters, digits and hyphens'),
        ("guest: 1", "gest: 1", '4:18: unknown group "gest"; did you mean "guest"?'),
        ("guest: 1", "band: 1", '4:18: unknown group "band"; other groups need the long form'),
        ("guest: 1", "guest: 2", '4:25: group "guest" speaks, so it has 1 participant, not 2'),
        ("guest: 1", "guest: 1.5", '4:25: a whole number is expected here, not "1.5"'),
        ("listeners: 20", "listeners: 16001", "4:49: 16001 is out of range; it must be 1 to 16000"),
        ("listeners: 20", "listeners: 16000", "4:8: 16003 participants; at most 16000 fit"),
        (", listeners: 20", "", "4:8: 0 listeners; a crowd needs somebody who listens"),
        ("host: 1, guest: 1, owner: 1, ", "", "4:8: nobody speaks; a crowd needs a host"),
        (
            "at_least: 99%",
            "at_least: 99",
            "8:39: 99 is out of range; a share is between 0 and 1, or written as a percentage",
        ),
        ("at_least: 99%", "at_most: 99%", '8:7: missing key "at_least"'),
        (
            "at_least: 99%",
            "at_least: 99%, members: [publik]",
            '8:53: unknown group or role "publik"',
        ),
        ("at_least: 99%", "at_least: 99%, during: storm", "8:52: check join_success has an unkn"),
        (
            "check: recovery, of: drop-host",
            "check: recovery",
            "9:7: check recovery needs the fault that it is about",
        ),
        (
            "never_at_most: 0",
            "p95_at_most: 8",
            '9:53: duration "8" has no unit; write 8s or 500ms',
        ),
        ("never_at_most: 0", "from: effect", "9:7: check recovery needs a bound: one of"),
        (
            "at: 5s, id",
            "at: 5s, after: nothing, id",
            '11:5: a step needs exactly one of "at", "when" and "after"',
        ),
        ("at: 5s, id", "id", '11:5: a step needs exactly one of "at", "when" and "after"'),
        ("at: 5s, id", "after: nothing, id", '11:13: unknown step "nothing"'),
        ("at: 5s, id", "after: drop-host, id", "11:3: steps follow each other in a circle"),
        ("at: 5s, id", "at: 5s, delay: 2s, id", '11:14: "delay" goes with "after"'),
        ("at: 5s, id", "when: listeners.joined > 3, id", "11:12: "),
        (
            "at: 5s, id",
            "when: listener.joined >= 3, id",
            '11:12: unknown count "listener.joined"; did you mean "listeners.joined"?',
        ),
        ("roles: [host]", "roles: [host], max_fault: 2", '12:31: unknown key "max_fault"; did you'),
        (
            "roles: [host]",
            "services: [room-c]",
            '12:26: unknown service "room-c"; did you mean "room-b"?',
        ),
        (
            "{host: 1, guest: 1, owner: 1, listeners: 20}",
            "3",
            "4:8: a mapping of groups and counts",
        ),
        ("{host: 1, guest: 1, owner: 1, listeners: 20}", "[3]", "4:9: a mapping is expected here"),
        (
            "{host: 1, guest: 1, owner: 1, listeners: 20}",
            "[{name: a, role: host, count: 1}, {name: a, role: listener, count: 3}]",
            '4:49: group "a" stands here twice',
        ),
        (
            "{host: 1, guest: 1, owner: 1, listeners: 20}",
            "[{name: observer, role: host, count: 1}, {name: b, role: listener, count: 3}]",
            '4:16: "observer" is taken by chaoskit itself',
        ),
        (
            "{host: 1, guest: 1, owner: 1, listeners: 20}",
            "[{name: host, role: host, count: 1, speaker: 3}, {name: b, role: listener, count: 3}]",
            "4:53: a beacon has bands 0, 1 and 2",
        ),
        (
            "{host: 1, guest: 1, owner: 1, listeners: 20}",
            "[{name: host, role: host, count: 1}, {name: c, role: host, count: 1},"
            " {name: b, role: listener, count: 3}]",
            '4:45: band 0 of "c" is taken by "host"; set "speaker"',
        ),
        (
            "{host: 1, guest: 1, owner: 1, listeners: 20}",
            "[{name: host, role: hots, count: 1}, {name: b, role: listener, count: 3}]",
            '4:28: "hots" is not one of host, guest, owner, listener; did you mean "host"?',
        ),
        (
            "    - {check: join_success, at_least: 99%}\n",
            "",
            "8:5: no check can be judged before the fault; add join_success or audio_gap",
        ),
        (
            "check: join_success, at_least: 99%",
            "check: first_word, within: 5s, speaker: listeners",
            '8:48: group "listeners" does not speak; speakers are host, guest, owner',
        ),
        (
            "for: 5s}",
            "for: 5s}\n  - {at: 9s, id: drop-host, fault: pause, service: room-a, for: 1s}",
            '12:18: step "drop-host" stands here twice',
        ),
        ("fault: drop,", "action: drop,", '11:37: unknown action "drop"'),
        (
            'fault: drop, link: "host.*", for: 5s',
            "action: end_room, account: x",
            "11:47: unknown key",
        ),
        ("fault: drop,", "fault: [drop],", "11:36: unknown fault kind"),
        ("blast_radius:", "profile: 3\nblast_radius:", "12:10: the name of a profile is expected"),
        ("blast_radius:", "stack: 3\nblast_radius:", '12:8: text is expected here, not "3"'),
        ("blast_radius:", "allow_short_gate: 1\nblast_radius:", "12:19: true or false is expected"),
        (
            "blast_radius:",
            "script: [{at: -3, group: host, mic: closed}]\nblast_radius:",
            "12:15: dur",
        ),
        (
            "blast_radius:",
            "script: [{at: 1s, group: host, mic: open}]\nblast_radius:",
            '12:37: "op',
        ),
        (
            "blast_radius:",
            "control: {title: x, set: {title.sub: 3}}\nblast_radius:",
            '12:27: control changes "title.sub", but "title" has no parts',
        ),
        (
            "blast_radius:",
            "control: {title: x, set: {method.7: 3}}\nblast_radius:",
            '12:27: control changes "method.7", which does not exist',
        ),
        ("blast_radius:", "? [a]\n: b\nblast_radius:", "12:3: a key must be plain text"),
        ("title: All is well", "title: [1]", "6:10: text is expected here, not a list"),
        ("blast_radius:", "stack: livkit\nblast_radius:", '12:8: unknown stack "livkit"'),
        ("blast_radius:", "stack: livekit\nblast_radius:", '12:8: unknown stack "livekit" (not in'),
        ("blast_radius:", "profile: hard\nblast_radius:", '12:10: unknown profile "hard"; did you'),
        ("blast_radius:", "gate: 5s\nblast_radius:", "12:7: shorter than 10s; a steady state"),
        (
            "blast_radius:",
            "profile: {timers: {lease: 0s}}\nblast_radius:",
            "12:10: lease_s: must be above 0",
        ),
        (
            "blast_radius:",
            "client: {hosts: {find: poll}}\nblast_radius:",
            '12:10: unknown group "hosts"; did you mean "host"?',
        ),
        (
            "blast_radius:",
            "client: {host: {reconnect: {kind: fixed, base: 1}}}\nblast_radius:",
            '12:48: duration "1" has no unit; write 1s or 500ms',
        ),
        (
            "blast_radius:",
            "programme: [{speakers: [listeners]}]\nblast_radius:",
            '12:24: group "listeners" does not speak; speakers are host, guest, owner',
        ),
        (
            "blast_radius:",
            "programme: [{from: 9s, until: 3s, speakers: host}]\nblast_radius:",
            '12:13: "from" must be earlier than "until"',
        ),
        (
            "blast_radius:",
            "abort: [{check: join_success}]\nblast_radius:",
            '12:9: an abort condition needs either "below" or "above"',
        ),
        (
            "blast_radius:",
            "control: {title: x, set: {method.drap.for: 3s}}\nblast_radius:",
            '12:27: control changes "method.drap", which does not exist; did you mean "drop"?',
        ),
        (
            "blast_radius:",
            "control: {title: x, set: {method.drop-host.for: 3}}\nblast_radius:",
            '12:49: duration "3" has no unit; write 3s or 500ms',
        ),
        (
            "blast_radius:",
            "control: {title: x, set: {seed: 1}}\nblast_radius:",
            "12:26: the control changes nothing",
        ),
        ("at: 5s", "at: {default: 5s, livkit: 6s}", '11:24: unknown stack "livkit"; did you mean'),
    ],
)
def test_each_error_names_its_place_and_what_is_meant(old: str, new: str, message: str) -> None:
    text = changed((old, new))
    kind = PlanRefused if "no link matches" in message else InvalidInput
    told = errors(text, kind).splitlines()
    assert any(line.startswith(f"mine.yaml:{message}") for line in told), "\n".join(told)
    assert told[-1] == ("1 error" if len(told) == 2 else f"{len(told) - 1} errors") + (
        ", nothing was started."
    )


def test_what_is_well_formed_but_not_allowed_is_refused_with_another_exit_code() -> None:
    text = changed(("roles: [host]", "roles: [guest], max_duration: 3s"))
    assert errors(text, PlanRefused) == (
        "mine.yaml:11:5: drop-host lasts 5 s; the blast radius allows 3 s\n"
        "mine.yaml:11:5: drop-host touches role host; the blast radius allows guest\n"
        "2 errors, nothing was started."
    )


def test_a_file_without_a_blast_radius_may_touch_nothing() -> None:
    text = changed(("blast_radius: {roles: [host]}\n", ""))
    assert "the blast radius allows no role" in errors(text, PlanRefused)


def test_what_the_stack_does_not_allow_is_refused() -> None:
    text = changed(
        ('fault: drop, link: "host.*"', "fault: kill, service: fault-proxy"),
        ("roles: [host]", "services: [fault-proxy]"),
    )
    assert errors(text, PlanRefused) == (
        "mine.yaml:11:51: fault-proxy belongs to chaoskit itself: no fault acts on it\n"
        "1 error, nothing was started."
    )
    text = changed(
        ('fault: drop, link: "host.*"', "fault: loss, loss_rate: 2%, link: host.api.directory")
    )
    assert (
        "the stack does not allow loss on host.api.directory; it allows drop, blackhole, latency\n"
        in errors(text, PlanRefused)
    )


@pytest.mark.parametrize(
    ("step", "roles", "own"),
    [
        ("fault: drop, link: observer.signal.room-a", "roles: [host]", "observer.signal.room-a"),
        ("fault: drop, link: canary.media.room-b", "roles: [host]", "canary.media.room-b"),
        ("fault: drop, link: directory.signal.room-a", "roles: [host]", "directory.signal.room-a"),
        ("fault: leave, group: canary", "roles: [host]", "canary"),
    ],
)
def test_what_belongs_to_chaoskit_itself_is_no_target(step: str, roles: str, own: str) -> None:
    text = changed(('fault: drop, link: "host.*"', step), ("roles: [host]", roles))
    assert f"{own} belongs to chaoskit itself: no fault acts on it\n" in errors(text, PlanRefused)


@pytest.mark.parametrize(
    "step",
    [
        'fault: blackhole, link: "*.media.*"',
        'fault: pause, service: "*"',
        'fault: leave, group: "*"',
    ],
)
def test_a_glob_passes_over_what_belongs_to_chaoskit_itself(step: str) -> None:
    everything = "roles: [host, guest, owner, listener], services: [room-a, room-b, directory]"
    text = changed(('fault: drop, link: "host.*"', step), ("roles: [host]", everything))
    Path("mine.yaml").write_text(text, encoding="utf-8")
    assert load_experiment(Path("mine.yaml")).method


LONG = """[{name: host, role: host, count: 1}, {name: early, role: listener, count: 3},
  {name: late, role: listener, count: 4}]"""
ABORT = "abort: [{check: join_success, below: 50%, window: 5s, for: 10s}]\n"


def test_listeners_may_be_in_groups_of_any_name() -> None:
    text = changed(("{host: 1, guest: 1, owner: 1, listeners: 20}", LONG)) + ABORT
    Path("mine.yaml").write_text(text, encoding="utf-8")
    loaded = load_experiment(Path("mine.yaml"))
    judged = [*loaded.hypothesis.checks, *(a.check for a in loaded.abort)]
    assert {population(loaded.crowd, check.members) for check in judged} == {tuple(range(1, 8))}


def test_a_check_about_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_class("join_success"), "population", ("owner",))
    text = changed(("guest: 1, owner: 1, ", "guest: 1, ")) + ABORT
    assert errors(text) == (
        "mine.yaml:8:7: join_success is about owner, and the crowd has none; set members\n"
        "mine.yaml:13:9: join_success is about owner, and the crowd has none; set members\n"
        "2 errors, nothing was started."
    )


def test_more_faults_at_once_than_the_blast_radius_allows_are_refused() -> None:
    second = "\n  - {at: 7s, id: again, fault: pause, service: room-a, for: 5s}"
    text = changed(
        ("for: 5s}", "for: 5s}" + second),
        ("roles: [host]", "roles: [host], services: [room-a]"),
    )
    assert errors(text, PlanRefused).startswith(
        "mine.yaml:13:15: 2 faults may be active at one time (drop-host, again)"
    )


def test_a_refusal_beside_an_error_is_an_error() -> None:
    text = changed(('"host.*"', '"hots.*"'), ("5s, id", "5, id"))
    message = errors(text)
    assert "no link matches" in message
    assert "has no unit" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.yaml:1:1: the file is empty"),
        ("# nothing\n", "mine.yaml:1:1: the file is empty"),
        ("- 1\n", "mine.yaml:1:1: a mapping is expected here, not a list"),
        ("id: [1,\n", "mine.yaml:2:1: not YAML: "),
        ("id: a\nid: b\n", 'mine.yaml:2:1: key "id" stands here twice'),
        ("id: &a [*a]\n", "mine.yaml:1:5: an anchor that contains itself"),
        ("id: !!python/object:os.system x\n", "mine.yaml:1:5: a tag is not allowed here"),
        ("id: a\n---\nid: b\n", "mine.yaml:3:1: a second document"),
        ("[" * 5000, "mine.yaml:1:1: not YAML: nested too deep"),
        ("id: \x07\n", "mine.yaml:1:1: not YAML: "),
    ],
)
def test_text_that_is_no_experiment_at_all(text: str, message: str) -> None:
    assert errors(text).startswith(message)


def test_bytes_that_are_no_text() -> None:
    Path("mine.yaml").write_bytes(b"id: \xff\xfe\n")
    with pytest.raises(InvalidInput, match=r"mine\.yaml: not UTF-8 text"):
        load_experiment(Path("mine.yaml"))


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_experiment(Path("none.yaml"))


def test_unknown_experiments_are_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match='did you mean "room-node-kill"') as caught:
        find_experiment("room-node-kil")
    assert caught.value.hint is not None
    with pytest.raises(InvalidInput, match="there is no such file"):
        find_experiment("./mine.yml")


def test_errors_of_a_control_stand_at_the_control() -> None:
    control = "control:\n  title: x\n  set:\n    method.drop-host.fault: dorp\nblast_radius:"
    message = errors(changed(("blast_radius:", control)))
    assert message.startswith('mine.yaml:15:29: unknown fault kind "dorp"; did you mean "drop"?\n')


def test_a_control_may_not_leave_the_blast_radius_either() -> None:
    control = 'control: {title: x, set: {method.drop-host.link: "guest.*"}}\nblast_radius:'
    message = errors(changed(("blast_radius:", control)), PlanRefused)
    assert "touches role guest" in message


def test_asking_for_a_control_that_is_not_there() -> None:
    Path("mine.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"mine\.yaml: the experiment has no control"):
        load_experiment(Path("mine.yaml"), control=True)


def test_a_path_is_an_experiment_too() -> None:
    Path("mine.yaml").write_text(GOOD, encoding="utf-8")
    assert find_experiment("mine.yaml") == Path("mine.yaml")
    assert find_experiment("room-node-kill").name == "room-node-kill.yaml"


def test_an_override_out_of_range_is_an_error_of_the_file() -> None:
    Path("mine.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(InvalidInput, match="0 is out of range"):
        load_experiment(Path("mine.yaml"), overrides=Overrides(listeners=0))


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("listener.media.*", '; did you mean "listeners.media.*"?'),
        ("hosts.*", '; did you mean "host.*"?'),
        ("host.meda.*", '; did you mean "host.media.*"?'),
        ("*.meda.*", '; did you mean "*.media.*"?'),
        ("zzzzzz.*", ""),
    ],
)
def test_a_glob_that_hits_nothing_is_answered_with_the_nearest(pattern: str, near: str) -> None:
    found = errors(changed(('link: "host.*"', f'link: "{pattern}"')), PlanRefused)
    assert f'no link matches "{pattern}": a fault must hit something{near}\n' in found


def test_what_is_there_but_no_file_is_called_by_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, words in (
        (str(tmp_path), f"{tmp_path}: is a directory, not an experiment file"),
        ("/dev/null", "/dev/null: is not a regular file"),
        ("pipe.yaml", "pipe.yaml: is not a regular file"),
        ("none.yaml", "none.yaml: there is no such file"),
    ):
        with pytest.raises(InvalidInput) as caught:
            find_experiment(name)
        assert caught.value.message == words


def test_a_folder_does_not_hide_an_experiment_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "room-node-kill").mkdir()
    assert find_experiment("room-node-kill").name == "room-node-kill.yaml"
