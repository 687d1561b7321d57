"""What a file says becomes: crowd, timeline, programme, method, checks, control."""

from pathlib import Path

import pytest

from chaoskit.model import (
    ActionSpec,
    After,
    At,
    ClientRules,
    Experiment,
    FindKind,
    Mic,
    MicCue,
    ReconnectKind,
    ReconnectRule,
    Segment,
    TargetKind,
    Verdict,
    When,
)
from chaoskit.spec.experiment import Overrides, load_experiment
from tests.unit.test_spec_errors import GOOD

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(
    *changes: tuple[str, str],
    more: str = "",
    overrides: Overrides | None = None,
    control: bool = False,
) -> Experiment:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = Path("mine.yaml")
    path.write_text(text + more, encoding="utf-8")
    return load_experiment(path, overrides=overrides, control=control)


def test_the_short_form_of_a_crowd_knows_roles_bands_and_candidates() -> None:
    groups = load().crowd.groups
    assert [(g.name, g.role, g.count, g.first, g.speaker, g.candidate) for g in groups] == [
        ("host", "host", 1, 0, 0, True),
        ("guest", "guest", 1, 1, 1, False),
        ("owner", "owner", 1, 2, 2, True),
        ("listeners", "listener", 20, 3, None, False),
    ]


def test_the_long_form_takes_any_groups() -> None:
    crowd = """
  - {name: audience, role: listener, count: 30, zone: far, client: {find: poll, poll: 2s}}
  - {name: voice, role: guest, count: 1, speaker: 2}
  - {name: host, role: host, count: 1, candidate: false}"""
    got = load(("{host: 1, guest: 1, owner: 1, listeners: 20}", crowd)).crowd
    audience, voice, host = got.groups
    assert (audience.first, voice.first, host.first) == (0, 30, 31)
    assert (voice.speaker, host.candidate, audience.zone) == (2, False, "far")
    assert audience.client == ClientRules(find=FindKind.POLL, poll_s=2.0)
    assert got.members(["listener"]) == tuple(range(30))


def test_speakers_arrive_first_and_nobody_faster_than_fifty_a_second() -> None:
    experiment = load(("listeners: 20", "listeners: 500"))
    arrivals = [
        g.arrive_from_s + (i * g.arrive_over_s / max(1, g.count - 1))
        for g in experiment.crowd.groups
        for i in range(g.count)
    ]
    assert arrivals == sorted(arrivals)
    busiest = max(sum(a <= b < a + 1.0 for b in arrivals) for a in arrivals)
    assert busiest <= 51
    assert experiment.gate_from_s == pytest.approx(arrivals[-1] + 3.0, abs=0.1)
    assert experiment.gate_from_s >= arrivals[-1] + 3.0 - 1e-6


def test_the_timeline_follows_from_arrivals_gate_and_method() -> None:
    experiment = load()
    assert experiment.gate_from_s == 3.5
    assert (experiment.gate_s, experiment.method_zero_s) == (10.0, 13.5)
    assert experiment.recovery_s == 20.0
    assert experiment.end_s == 13.5 + 5 + 5 + 20 + 10


def test_recovery_lasts_as_long_as_a_check_looks_ahead() -> None:
    ghosts = "{check: no_ghosts, of: drop-host, from: heal, within: 45s}"
    experiment = load(("{check: recovery, of: drop-host, never_at_most: 0}", ghosts))
    assert experiment.recovery_s == 45.0
    assert load(more="recovery: 7s\n").recovery_s == 7.0


def test_a_gate_may_be_short_only_when_the_file_says_so() -> None:
    more = "allow_short_gate: true\ngate: 2s\nsteady_again: 1s\nsettle: 500ms\n"
    experiment = load(more=more)
    assert (experiment.gate_from_s, experiment.gate_s, experiment.method_zero_s) == (1.0, 2.0, 3.0)
    assert experiment.end_s == 3 + 10 + 20 + 1


def test_host_and_guest_are_on_air_by_default_and_the_owner_is_silent() -> None:
    experiment = load()
    end_s = experiment.end_s
    assert experiment.programme == (Segment(from_s=0.0, until_s=end_s, speakers=("host", "guest")),)
    assert experiment.script == (
        MicCue(at_s=0.0, group="guest", mic=Mic.BEACON),
        MicCue(at_s=0.0, group="host", mic=Mic.BEACON),
        MicCue(at_s=0.0, group="owner", mic=Mic.SILENCE),
    )


def test_microphones_follow_the_programme_until_the_script_takes_over() -> None:
    more = """\
programme:
  - {until: 4s, speakers: host}
  - {from: 4s, until: 20s, speakers: [guest, owner]}
script:
  - {at: 6s, group: guest, mic: closed}
"""
    experiment = load(more=more)
    zero_s = experiment.method_zero_s
    assert [(s.from_s, s.until_s) for s in experiment.programme] == [
        (0.0, zero_s + 4),
        (zero_s + 4, zero_s + 20),
    ]
    told = [(c.at_s - zero_s, c.group, str(c.mic)) for c in experiment.script if c.at_s > 0]
    assert told == [
        (4.0, "guest", "beacon"),
        (4.0, "host", "silence"),
        (4.0, "owner", "beacon"),
        (6.0, "guest", "closed"),
        (20.0, "owner", "silence"),
    ]


def test_steps_keep_what_the_file_says() -> None:
    method = """method:
  - {at: 5s, id: drop-host, fault: drop, link: "host.*", for: 5s}
  - {after: drop-host, delay: 2s, fault: latency, link: [guest.signal.room-a, "guest.media.*"],
     latency: 200ms, jitter: 50ms, direction: downstream, share: 20%, for: 3s}
  - {when: listeners.joined >= 15, id: k, fault: kill, service: room-a, signal: TERM, for: 2s}
  - {after: k, action: fresh_room, account: standby, node: room-b}
  - {at: 1s, fault: mute, group: guest}
"""
    old = GOOD[GOOD.index("method:") : GOOD.index("blast_radius")]
    experiment = load(
        (old, method),
        (
            "roles: [host]",
            "roles: [host, guest], services: [room-a], max_faults: 4, max_duration: 2m",
        ),
    )
    drop, latency, kill, mute = experiment.method
    assert (drop.target.kind, drop.target.patterns) == (TargetKind.LINK, ("host.*",))
    assert latency.id == "latency"
    assert latency.trigger == After(step="drop-host", delay_s=2.0)
    assert latency.params == {"latency_ms": 200.0, "jitter_ms": 50.0, "direction": "downstream"}
    assert latency.share == 0.2
    assert kill.trigger == When(fact="listeners.joined", at_least=15.0)
    assert kill.params == {"signal": "TERM"}
    assert (mute.trigger, mute.duration_s) == (At(at_s=1.0), None)
    assert experiment.actions == (
        ActionSpec(
            id="fresh-room",
            kind="fresh_room",
            trigger=After(step="k"),
            params={"account": "standby", "node": "room-b"},
        ),
    )
    # A fact may be waited for up to a minute.
    assert experiment.end_s == experiment.method_zero_s + 60 + 2 + 20 + 10


def test_checks_get_names_and_the_defaults_of_their_kind() -> None:
    checks = """checks:
    - {check: join_success, at_least: 99%}
    - {check: join_success, at_least: 0.5, members: [host, listener]}
    - {check: audio_gap, name: calm, p99_at_most: 60ms}
    - {check: recovery, of: drop-host, from: heal, p95_at_most: {default: 8s, livekit: 15s}}
"""
    old = GOOD[GOOD.index("checks:") : GOOD.index("method:")]
    first, second, calm, recovery = load((old, checks)).hypothesis.checks
    assert [c.name for c in (first, second, calm, recovery)] == [
        "join_success",
        "join_success-2",
        "calm",
        "recovery",
    ]
    assert (first.members, second.members) == (("listener",), ("host", "listener"))
    assert (first.during, calm.during) == ("run", "steady")
    assert (recovery.of, recovery.from_) == ("drop-host", "heal")
    assert recovery.params == {"p95_at_most_s": 8.0}
    assert calm.params == {"p99_at_most_s": 0.06}


def test_client_rules_name_only_what_differs() -> None:
    more = "client: {host: {reconnect: none, join_timeout: 3s}, guest: {reconnect: {base: 2s}}}\n"
    host, guest, *_ = load(more=more).crowd.groups
    assert host.client == ClientRules(
        reconnect=ReconnectRule(kind=ReconnectKind.NONE), join_timeout_s=3.0
    )
    assert guest.client.reconnect == ReconnectRule(base_s=2.0)


def test_a_profile_is_a_name_or_a_change_to_one() -> None:
    assert load(more="profile: hardened\n").profile.settings["remedies"]["redirect"] is True
    changed = load(
        more="profile: {base: hardened, remedies: {redirect: false}, timers: {lease: 9s}}\n"
    ).profile
    assert changed.name == "hardened (changed)"
    assert changed.settings["remedies"]["redirect"] is False
    assert changed.settings["remedies"]["standby_host"] is True
    assert changed.settings["lease_s"] == 9.0


def test_abort_conditions_are_read() -> None:
    (condition,) = load(
        more="abort: [{check: join_success, below: 50%, window: 5s, for: 10s}]\n"
    ).abort
    assert (condition.below, condition.above) == (0.5, None)
    assert (condition.window_s, condition.for_s) == (5.0, 10.0)
    assert condition.check.members == ("listener",)


def test_a_control_that_ends_as_it_must_says_so() -> None:
    experiment, other = load(more=CONTROL), load(more=CONTROL, control=True)
    assert experiment.control_row(Verdict.DEVIATED) is None
    assert other.control_row(Verdict.DEVIATED) == {"expect": "deviated", "as_expected": True}
    assert other.control_row(Verdict.INCONCLUSIVE) == {"expect": "deviated", "as_expected": False}


CONTROL = "control: {title: Not so, set: {profile: hardened, method.drop-host.for: 9s}}\n"


def test_a_control_is_the_same_experiment_with_its_changes() -> None:
    experiment, other = load(more=CONTROL), load(more=CONTROL, control=True)
    assert experiment.control is not None
    assert experiment.control.expect is Verdict.DEVIATED
    assert (other.id, other.title, other.control) == ("mine-control", "Not so", None)
    assert (experiment.expect, other.expect) == (None, Verdict.DEVIATED)
    assert other.profile.name == "hardened"
    assert other.method[0].duration_s == 9.0
    assert other.hypothesis == experiment.hypothesis
    assert other.digest != experiment.digest


def test_a_control_may_add_what_the_file_leaves_out_and_name_items_by_number() -> None:
    control = "control: {title: x, set: {client.host.reconnect: none, method.0.for: 6s}}\n"
    other = load(more=control, control=True)
    assert other.crowd.groups[0].client.reconnect.kind is ReconnectKind.NONE
    assert other.method[0].duration_s == 6.0


def test_the_command_line_changes_a_file() -> None:
    experiment = load(overrides=Overrides(listeners=100, seed=9, profile="hardened"))
    assert experiment.crowd.groups[-1].count == 100
    assert (experiment.seed, experiment.profile.name) == (9, "hardened")


def test_the_number_of_listeners_can_be_changed_in_the_long_form_too() -> None:
    crowd = "[{name: h, role: host, count: 1}, {name: all, role: listener, count: 5}]"
    experiment = load(
        ("{host: 1, guest: 1, owner: 1, listeners: 20}", crowd),
        ('"host.*"', '"h.*"'),
        ("join_success, ", "join_success, members: all, "),
        ("recovery, ", "recovery, members: all, "),
        overrides=Overrides(listeners=50),
    )
    assert experiment.crowd.groups[1].count == 50


def test_the_digest_is_of_the_meaning_not_of_the_text() -> None:
    same = load(("title: A good one", 'title: "A good one"   # the same'))
    assert same.digest == load().digest
    assert load(more=CONTROL).digest == load().digest
    assert load(("for: 5s", "for: 6s")).digest != load().digest


def test_an_experiment_without_a_method_is_a_steady_run() -> None:
    old = GOOD[GOOD.index("method:") : GOOD.index("blast_radius")]
    experiment = load((old, ""), ("    - {check: recovery, of: drop-host, never_at_most: 0}\n", ""))
    assert experiment.method == ()
    assert experiment.end_s == experiment.method_zero_s + 30
