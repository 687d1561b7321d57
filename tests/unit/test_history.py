"""History, books, causes of silence and recovery clocks, on hand-made runs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.audio.listening import ABSENT, UNJUDGED
from chaoskit.checks.books import Ledger, keep_books
from chaoskit.checks.clocks import Cohort, clocks, cohorts, episode_of, episodes
from chaoskit.checks.history import History
from chaoskit.model import (
    ActionDone,
    FaultEffect,
    FaultFailed,
    FaultHealed,
    FaultSpec,
    Mic,
    MicCue,
    Observed,
    Phase,
    PhaseEntered,
    Segment,
    Target,
    TargetKind,
    When,
)
from chaoskit.wire.facts import Attempt, Found, Mark, MicChanged, Rejected, RoundTrip
from tests.unit.histories import FIRST, GUEST, HEARS_HOST, HOST, ORIGIN_S, HandMade, drop

pytestmark = pytest.mark.unit

ONE = FIRST


def seconds(slots: int) -> float:
    return round(slots * 0.02, 3)


def causes(ledger: Ledger, row: int = 0) -> dict[str, float]:
    """Return the seconds of silence of one listener by cause, zeros left out."""
    return {c.value: seconds(int(n[row])) for c, n in ledger.causes.items() if n[row]}


# --- codes and ends ---


def test_codes_hold_until_the_next_ear_fact_and_until_the_last_mark() -> None:
    run = HandMade(listeners=1, end_s=10.0)
    run.died_s["crowd-listeners-0"] = 4.0
    history = run.history()
    row = history.codes[history.row(ONE)]
    assert row[:25].tolist() == [ABSENT] * 25
    assert row[25:50].tolist() == [0] * 25
    assert set(row[50:200].tolist()) == {HEARS_HOST}
    assert set(row[200:].tolist()) == {UNJUDGED}


def test_the_end_is_the_last_mark_of_the_shards_that_stopped_as_planned() -> None:
    run = HandMade(listeners=1, end_s=10.0)
    history = run.history()
    assert (history.end_s, history.slots) == (10.0, 500)
    run.died_s = {"crowd-listeners-0": 4.0, "crowd-speakers": 4.0}
    assert run.history().end_s == 10.0  # nobody left to say: the engine's end


def test_a_history_can_be_built_while_the_run_goes_on() -> None:
    history = HandMade(listeners=1, end_s=10.0).history(until_s=3.0)
    assert (history.end_s, history.slots) == (3.0, 150)


def test_what_is_planned_at_the_microphone_is_due_an_ear_delay_later() -> None:
    on_air = Segment(from_s=2.0, until_s=3.0, speakers=("host", "guest"))
    history = HandMade(programme=[on_air], end_s=5.0, ear_delay_s=0.26).history()
    planned = np.flatnonzero(history.planned)
    assert (planned[0], planned[-1]) == (113, 162)
    assert set(history.planned[planned].tolist()) == {0b011}
    assert history.planned_for([HOST])[0, 113] == 0b010


# --- books ---


def test_books_of_a_quiet_night_are_all_heard() -> None:
    ledger = keep_books(HandMade(listeners=2).history())
    assert ledger.books.due.tolist() == [2950, 2950]
    assert ledger.books.heard.tolist() == [2950, 2950]
    assert ledger.books.silent.tolist() == [0, 0]


def test_frames_are_due_from_the_first_attempt_until_leaving() -> None:
    run = HandMade(listeners=1, end_s=20.0, quiet=True)
    run.try_in_vain([ONE], 3.0)
    run.join([ONE], 5.0)
    run.leave([ONE], 12.0, "command")
    ledger = keep_books(run.history())
    assert seconds(int(ledger.books.due[0])) == 9.0
    run.join([ONE], 15.0, why="rejoin")
    ledger = keep_books(run.history())
    assert seconds(int(ledger.books.due[0])) == 14.0


def test_a_listener_that_gave_up_is_still_owed_the_programme() -> None:
    run = HandMade(listeners=1, end_s=20.0)
    run.leave([ONE], 10.0, "gave_up")
    run.hear([ONE], 10.0, 20.0, 255)
    ledger = keep_books(run.history())
    assert seconds(int(ledger.books.due[0])) == 19.0
    assert causes(ledger) == {"gave_up": 10.0}


def test_frames_of_a_dead_shard_are_unjudged_and_not_silent() -> None:
    run = HandMade(listeners=3, end_s=20.0)
    run.died_s["crowd-listeners-0"] = 12.0
    ledger = keep_books(run.history())
    assert seconds(int(ledger.books.unjudged.sum())) == 24.0
    assert int(ledger.books.silent.sum()) == 0


# --- causes ---


def test_silence_before_the_first_room_is_waiting_or_what_the_directory_said() -> None:
    run = HandMade(listeners=3, end_s=20.0, quiet=True)
    run.join([HOST], 0.5)
    for k in run.listeners:
        run.try_in_vain([k], 2.0)
    run.fact(Rejected(t=ORIGIN_S + 4, p=FIRST + 1, by="directory", status=409, why="no_room"))
    run.fact(Rejected(t=ORIGIN_S + 5, p=FIRST + 2, by="directory", status=503, why="busy"))
    run.join(run.listeners, 10.0)
    run.hear(run.listeners, 10.0, 20.0, HEARS_HOST)
    ledger = keep_books(run.history())
    assert causes(ledger, 0) == {"waiting": 8.0}
    assert causes(ledger, 1) == {"waiting": 2.0, "no_room": 6.0}
    assert causes(ledger, 2) == {"waiting": 3.0, "rejected": 5.0}


def test_silence_while_the_speakers_link_is_cut_is_the_links() -> None:
    run = HandMade(listeners=1, faults=[drop()])
    run.inject("drop-host", 20.0, 30.0)
    run.hear([ONE], 20.0, 30.0, 0)
    assert causes(keep_books(run.history())) == {"link": 10.0}


def test_silence_while_the_listeners_own_link_is_cut_is_the_links() -> None:
    run = HandMade(listeners=1, faults=[drop("cut", "listeners.media.room-a")])
    run.inject("cut", 20.0, 30.0)
    run.hear([ONE], 20.0, 30.0, 0)
    assert causes(keep_books(run.history())) == {"link": 10.0}


def test_a_cut_link_of_somebody_else_is_no_cause() -> None:
    run = HandMade(listeners=1, faults=[drop("cut", "guest.*")])
    run.inject("cut", 20.0, 30.0)
    run.hear([ONE], 20.0, 30.0, 0)
    assert causes(keep_books(run.history())) == {"other": 10.0}


def test_out_of_the_room_because_of_a_link_is_the_links_until_it_is_back() -> None:
    run = HandMade(listeners=1, faults=[drop("cut", "listeners.*")])
    run.inject("cut", 20.0, 25.0)
    run.lose([ONE], 20.1, link="listeners.signal.room-a", why="reset")
    run.join([ONE], 32.0, why="lost")
    run.hear([ONE], 20.0, 32.0, 0)
    assert causes(keep_books(run.history())) == {"link": 12.0}


def test_a_node_that_stands_still_is_the_services_fault() -> None:
    pause = FaultSpec(
        id="pause",
        kind="pause",
        target=Target(kind=TargetKind.SERVICE, patterns=("room-a",)),
        trigger=When(fact="listeners.joined", at_least=1),
    )
    run = HandMade(listeners=1, faults=[pause])
    run.inject("pause", 20.0, 22.0)
    run.hear([ONE], 20.0, 22.0, 0)
    assert causes(keep_books(run.history())) == {"service": 2.0}


def test_silence_in_a_room_that_a_newer_one_followed_is_migration() -> None:
    run = HandMade(listeners=2)
    run.join([HOST], 30.0, generation=2, why="moved")
    run.join([ONE], 34.0, generation=2, why="moved")
    run.lose([FIRST + 1], 32.0, link="listeners.signal.room-a", why="destroyed")
    run.join([FIRST + 1], 36.0, generation=2, why="lost")
    run.hear([ONE], 30.0, 34.0, 0)
    run.hear([FIRST + 1], 30.0, 36.0, 0)
    ledger = keep_books(run.history())
    assert causes(ledger, 0) == {"migration": 4.0}
    assert causes(ledger, 1) == {"migration": 6.0}


def test_silence_without_a_planned_speaker_in_the_room_is_speaker_away() -> None:
    run = HandMade(listeners=1)
    run.leave([HOST], 20.0, "lost")
    run.join([HOST], 26.0, why="lost")
    run.hear([ONE], 20.0, 26.0, 0)
    assert causes(keep_books(run.history())) == {"speaker_away": 6.0}


def test_a_closed_microphone_comes_before_every_other_cause() -> None:
    script = [
        MicCue(at_s=0.0, group="host", mic=Mic.BEACON),
        MicCue(at_s=22.0, group="host", mic=Mic.SILENCE),
        MicCue(at_s=24.0, group="host", mic=Mic.BEACON),
    ]
    run = HandMade(listeners=1, script=script, faults=[drop()])
    run.inject("drop-host", 20.0, 30.0)
    run.hear([ONE], 20.0, 30.0, 0)
    assert causes(keep_books(run.history())) == {"link": 7.8, "microphone_closed": 2.2}


def test_what_the_microphone_really_did_beats_the_script() -> None:
    script = [MicCue(at_s=0.0, group="host", mic=Mic.BEACON)]
    run = HandMade(listeners=1, script=script)
    run.fact(MicChanged(t=ORIGIN_S + 20, p=HOST, mic="private", index=40000))
    run.fact(MicChanged(t=ORIGIN_S + 23, p=HOST, mic="beacon", index=400))
    run.hear([ONE], 20.0, 23.0, 8)
    assert causes(keep_books(run.history())) == {"microphone_closed": 3.0}


@settings(max_examples=60, deadline=None)
@given(
    codes=st.lists(
        st.tuples(st.integers(0, 299), st.sampled_from([0, 1, 2, 8, 64, 128, 192, 255])),
        max_size=12,
    ),
    happenings=st.lists(
        st.tuples(
            st.floats(0.0, 6.0),
            st.sampled_from(["join", "join2", "lose", "gave_up", "command", "try", "rejected"]),
        ),
        max_size=10,
    ),
)
def test_every_silent_frame_has_exactly_one_cause_and_books_balance(
    codes: list[tuple[int, int]], happenings: list[tuple[float, str]]
) -> None:
    run = HandMade(listeners=1, end_s=6.0, quiet=True, faults=[drop()])
    run.inject("drop-host", 2.0, 3.0)
    for at, code in codes:
        run.hear([ONE], at * 0.02, 6.0, code)
    for at_s, what in happenings:
        match what:
            case "join":
                run.join([ONE], at_s)
            case "join2":
                run.join([ONE], at_s, generation=2)
            case "lose":
                run.lose([ONE], at_s, link="listeners.signal.room-a", why="reset")
            case "try":
                run.try_in_vain([ONE], at_s)
            case "rejected":
                why = Rejected(t=ORIGIN_S + at_s, p=ONE, by="directory", status=503, why="busy")
                run.fact(why)
            case _:
                run.leave([ONE], at_s, what)
    ledger = keep_books(run.history())
    books = ledger.books
    assert (books.due == books.heard + books.silent + books.howl + books.unjudged).all()
    assert sum(int(n[0]) for n in ledger.causes.values()) == int(books.silent[0])


# --- rooms, windows ---


def test_the_directorys_own_stamp_of_a_room_beats_what_the_crowd_knew() -> None:
    run = HandMade(listeners=1)
    run.join([HOST], 33.0, generation=2, why="moved")
    run.fact(Found(t=ORIGIN_S + 31.0, p=ONE, generation=2, how="poll"))
    room = run.history().rooms[1]
    assert (room.opened_s, room.node, room.exact) == (31.0, "room-b", False)
    state = {
        "event": "e",
        "generation": 2,
        "status": "open",
        "room": 1002,
        "node": "room-b",
        "account": "host",
        "host": "",
        "stage": [],
        "opened_s": ORIGIN_S + 30.25,
    }
    run.events.append(ActionDone(at_s=30.4, action_id="fresh", kind="fresh_room", result=state))
    run.events.append(Observed(at_s=31.0, probe="state", value=None, error="timeout"))
    history = run.history()
    assert [(r.opened_s, r.account, r.exact) for r in history.rooms[1:]] == [(30.25, "host", True)]
    assert (history.generation_at(30.0), history.generation_at(30.3)) == (1, 2)


def test_steady_is_gate_and_closing_without_two_seconds_after_joins_and_publications() -> None:
    run = HandMade(listeners=2, gate_from_s=2.0, steady_again_s=10.0)
    run.events.append(PhaseEntered(at_s=45.0, phase=Phase.STEADY_AGAIN))
    run.join([ONE], 47.0, why="lost")
    run.fact(MicChanged(t=ORIGIN_S + 52.0, p=HOST, mic="beacon", index=0))
    mask = run.history().mask("steady", [ONE, FIRST + 1])
    spans = [np.flatnonzero(np.diff(row.astype(int), prepend=0, append=0)) * 0.02 for row in mask]
    assert spans[0].round(2).tolist() == [3.0, 12.0, 45.0, 47.0, 49.0, 52.0, 54.0, 60.0]
    assert spans[1].round(2).tolist() == [3.0, 12.0, 45.0, 52.0, 54.0, 60.0]


def test_windows_are_cut_to_the_scope_of_a_gate() -> None:
    run = HandMade(listeners=1, faults=[drop()])
    run.inject("drop-host", 20.0, 30.0)
    history = run.history()
    assert [(w.from_s, w.until_s) for w in history.windows("drop-host")] == [(20.0, 30.0)]
    part = history.within(5.0, 25.0)
    assert [(w.from_s, w.until_s) for w in part.windows("drop-host")] == [(20.0, 25.0)]
    assert [(w.from_s, w.until_s) for w in part.windows("steady")] == [(5.0, 25.0)]


def test_unknown_groups_and_faults_are_named() -> None:
    history = HandMade(listeners=1).history()
    with pytest.raises(ValueError, match="no such group or role: bystanders"):
        history.members(["bystanders"])
    with pytest.raises(ValueError, match="no fault 'drop-hosts'"):
        history.windows("drop-hosts")
    with pytest.raises(ValueError, match="no such group: bystanders"):
        history.group("bystanders")


# --- recovery clocks ---


def lost_and_found(run: HandMade, who: int, from_s: float, until_s: float) -> None:
    run.hear([who], from_s, until_s, 0)


def test_the_clock_names_every_stage() -> None:
    run = HandMade(listeners=2, faults=[drop("cut", "listeners.*")])
    run.inject("cut", 20.0, 25.0)
    run.lose([ONE], 20.4, link="listeners.signal.room-a", why="reset")
    run.join([ONE], 25.5, took_s=0.5, why="lost")
    run.first_frame([ONE], 26.2)
    lost_and_found(run, ONE, 20.1, 26.3)
    history = run.history()
    episode = episode_of(history, "cut")
    assert episode is not None
    hit, spared = clocks(history, episode, [ONE, FIRST + 1])
    stages = (hit.impact_s, hit.noticed_s, hit.signalling_s, hit.joined_s, hit.first_frame_s)
    assert [None if s is None else round(s, 2) for s in stages] == [20.1, 20.1, 26.0, 26.0, 26.2]
    assert round(hit.hears_after("effect"), 2) == 6.3
    assert round(hit.hears_after("heal"), 2) == 1.3
    assert (spared.affected, spared.hears_after("effect")) == (False, 0.0)


def test_who_never_hears_again_is_never_and_who_was_not_judged_too() -> None:
    run = HandMade(listeners=2, faults=[drop()])
    run.inject("drop-host", 20.0, 25.0)
    run.hear([ONE], 20.0, 60.0, 0)
    run.hear([FIRST + 1], 25.0, 60.0, 128)
    history = run.history()
    episode = episodes(history)[0]
    silent, unjudged = clocks(history, episode, run.listeners)
    assert (silent.affected, silent.hears_after("effect")) == (True, float("inf"))
    assert (unjudged.judged, unjudged.hears_after("heal")) == (False, float("inf"))


def test_a_participant_that_never_came_counts_as_never() -> None:
    run = HandMade(listeners=2, faults=[drop()], quiet=True)
    run.join([HOST, ONE], 0.5)
    run.hear([ONE], 1.0, 60.0, HEARS_HOST)
    run.inject("drop-host", 20.0, 25.0)
    history = run.history()
    absent = clocks(history, episodes(history)[0], [FIRST + 1])[0]
    assert (absent.cohort, absent.hears_after("effect")) == (Cohort.NEW, float("inf"))


def test_a_newcomers_clock_starts_when_it_first_tries() -> None:
    run = HandMade(listeners=2, faults=[drop()], quiet=True)
    run.join([HOST, ONE], 0.5)
    run.hear([ONE], 1.0, 60.0, HEARS_HOST)
    run.inject("drop-host", 20.0, 30.0)
    run.try_in_vain([FIRST + 1], 24.0)
    run.join([FIRST + 1], 31.0)
    run.hear([FIRST + 1], 31.0, 60.0, HEARS_HOST)
    history = run.history()
    newcomer = clocks(history, episodes(history)[0], [FIRST + 1])[0]
    assert newcomer.cohort is Cohort.NEW
    assert newcomer.hears_after("effect") == pytest.approx(7.0)
    assert newcomer.hears_after("heal") == pytest.approx(1.0)


def test_who_is_owed_nobody_elses_voice_is_clocked_by_its_room() -> None:
    run = HandMade(listeners=1, faults=[drop()])
    run.inject("drop-host", 20.0, 30.0)
    run.lose([HOST], 20.2, link="host.signal.room-a", why="reset")
    run.join([HOST], 31.0, why="lost")
    history = run.history()
    host, guest = clocks(history, episodes(history)[0], [HOST, GUEST])
    assert (host.by_ear, host.affected, host.hears_after("effect")) == (False, True, 11.0)
    # The guest is owed the host's voice, and has no ear that heard it.
    assert (guest.by_ear, guest.hears_after("effect")) == (True, float("inf"))


def test_what_the_script_keeps_silent_is_neither_missed_nor_waited_for() -> None:
    script = [
        MicCue(at_s=0.0, group="host", mic=Mic.BEACON),
        MicCue(at_s=28.0, group="host", mic=Mic.SILENCE),
        MicCue(at_s=40.0, group="host", mic=Mic.BEACON),
    ]
    run = HandMade(listeners=2, script=script, faults=[drop("cut", "listeners.*")])
    run.inject("cut", 20.0, 25.0)
    run.hear([ONE], 20.0, 25.0, 0)
    run.hear(run.listeners, 28.0, 40.0, 0)
    history = run.history()
    hit, spared = clocks(history, episodes(history)[0], run.listeners)
    # Three seconds before the silence and two after it make five steady ones.
    assert hit.hears_after("effect") == pytest.approx(5.0)
    assert not spared.affected


def test_a_room_lost_while_nobody_was_to_be_heard_is_clocked_by_the_room() -> None:
    script = [
        MicCue(at_s=0.0, group="host", mic=Mic.BEACON),
        MicCue(at_s=19.0, group="host", mic=Mic.SILENCE),
        MicCue(at_s=40.0, group="host", mic=Mic.BEACON),
    ]
    run = HandMade(listeners=1, script=script, faults=[drop("cut", "listeners.*")])
    run.inject("cut", 20.0, 25.0)
    run.lose([ONE], 20.4, link="listeners.signal.room-a", why="reset")
    run.join([ONE], 26.5, why="lost")
    run.hear([ONE], 19.0, 40.0, 0)
    history = run.history()
    clock = clocks(history, episodes(history)[0], [ONE])[0]
    assert (clock.by_ear, clock.affected, clock.hears_after("effect")) == (False, True, 6.5)


def test_after_the_programme_is_over_the_room_is_what_counts() -> None:
    on_air = Segment(from_s=1.0, until_s=15.0, speakers=("host",))
    run = HandMade(listeners=2, programme=[on_air], faults=[drop("cut", "listeners.*")])
    run.inject("cut", 20.0, 25.0)
    run.lose([ONE], 20.4, link="listeners.signal.room-a", why="reset")
    run.join([ONE], 27.0, why="lost")
    history = run.history()
    hit, spared = clocks(history, episodes(history)[0], run.listeners)
    assert (hit.by_ear, hit.hears_after("effect"), hit.hears_after("heal")) == (False, 7.0, 2.0)
    assert (spared.by_ear, spared.affected, spared.hears_after("heal")) == (False, False, 0.0)


def test_faults_that_overlap_have_one_joint_clock() -> None:
    run = HandMade(listeners=1, faults=[drop("a"), drop("b"), drop("c")])
    run.inject("a", 10.0, 20.0)
    run.inject("b", 15.0, 25.0)
    run.inject("c", 40.0, 45.0)
    found = episodes(run.history())
    assert [(e.faults, e.effect_s, e.heal_s, e.until_s) for e in found] == [
        (("a", "b"), 10.0, 25.0, 40.0),
        (("c",), 40.0, 45.0, 60.0),
    ]


def test_a_gap_long_after_healing_is_not_the_faults() -> None:
    run = HandMade(listeners=1, faults=[drop()])
    run.inject("drop-host", 20.0, 25.0)
    run.hear([ONE], 40.0, 41.0, 0)
    history = run.history()
    assert not clocks(history, episodes(history)[0], [ONE])[0].affected


def test_cohorts_are_told_apart() -> None:
    run = HandMade(listeners=4, faults=[drop("cut", "listeners.*")], quiet=True)
    stays, returns, late, never = run.listeners
    run.join([HOST, stays, returns], 0.5)
    run.inject("cut", 20.0, 30.0)
    run.lose([returns], 20.5, link="listeners.signal.room-a", why="reset")
    run.join([returns], 31.0, why="lost")
    run.join([late], 25.0)
    history = run.history()
    assert cohorts(history, episodes(history)[0], run.listeners) == {
        Cohort.PRESENT: (stays,),
        Cohort.RETURNING: (returns,),
        Cohort.NEW: (late, never),
    }


def test_a_canary_is_no_member_of_the_crowd() -> None:
    run = HandMade(listeners=1)
    run.fact(Attempt(t=ORIGIN_S + 3, p=15999, n=1, why="arrival"))
    history = run.history()
    assert history.participants == run.everyone
    assert history.listeners == run.listeners


# --- odds and ends ---


def test_a_room_lost_with_its_node_is_the_services_fault_until_it_is_back() -> None:
    kill = FaultSpec(
        id="kill",
        kind="kill",
        target=Target(kind=TargetKind.SERVICE, patterns=("room-a",)),
        trigger=When(fact="listeners.joined", at_least=1),
    )
    run = HandMade(listeners=1, faults=[kill])
    run.inject("kill", 20.0, 24.0)
    run.lose([ONE], 20.1, link="listeners.signal.room-a", why="eof")
    run.join([ONE], 26.0, why="lost")
    run.hear([ONE], 20.0, 26.0, 0)
    assert causes(keep_books(run.history())) == {"service": 6.0}


def test_a_muted_speaker_is_a_closed_microphone() -> None:
    mute = FaultSpec(
        id="mute",
        kind="mute",
        target=Target(kind=TargetKind.PARTICIPANTS, patterns=("host",)),
        trigger=When(fact="listeners.joined", at_least=1),
    )
    run = HandMade(listeners=1, faults=[mute])
    run.inject("mute", 20.0, 24.0)
    run.hear([ONE], 20.0, 24.0, 0)
    assert causes(keep_books(run.history())) == {"microphone_closed": 4.0}


def test_a_speakers_own_voice_is_nobody_it_hears() -> None:
    run = HandMade(listeners=1)
    run.hear([HOST], 10.0, 20.0, 0b011)
    run.hear([HOST], 20.0, 30.0, 0b001)
    hears = run.history().hears([HOST])[0]
    assert np.flatnonzero(hears)[[0, -1]].tolist() == [500, 999]


def test_a_speaker_hears_the_others_in_its_books() -> None:
    both = Segment(from_s=1.0, until_s=60.0, speakers=("host", "guest"))
    run = HandMade(listeners=1, programme=[both])
    run.hear([GUEST], 1.0, 60.0, HEARS_HOST)
    ledger = keep_books(run.history(), [GUEST, HOST])
    assert [seconds(int(n)) for n in ledger.books.heard] == [59.0, 0.0]


def test_only_the_first_word_of_the_directory_counts_and_a_closed_event_opens_nothing() -> None:
    run = HandMade(listeners=1)
    first = {"generation": 2, "room": 7, "node": "room-b", "opened_s": ORIGIN_S + 30.0}
    run.events += [
        Observed(at_s=29.0, probe="event", value=first | {"generation": 3, "status": "no_room"}),
        Observed(at_s=31.0, probe="event", value=first | {"status": "open"}),
        Observed(at_s=32.0, probe="event", value=first | {"opened_s": ORIGIN_S + 31.5}),
    ]
    rooms = run.history().rooms
    assert [(r.generation, r.opened_s) for r in rooms] == [(1, 0.5), (2, 30.0)]


def test_a_later_confirmed_heal_counts_and_strangers_faults_do_not() -> None:
    run = HandMade(listeners=1, faults=[drop()])
    run.inject("drop-host", 20.0, 25.0, confirmed=False)
    run.events.append(FaultHealed(at_s=27.0, fault_id="drop-host", confirmed=True))
    run.events.append(FaultHealed(at_s=29.0, fault_id="drop-host", confirmed=True))
    run.events.append(FaultFailed(at_s=28.0, fault_id="fresh-room", error="503"))
    fault = run.history().faults["drop-host"]
    assert (fault.healed_s, fault.confirmed, fault.error) == (27.0, True, "")


def test_a_proof_without_a_stamp_dates_from_the_injection() -> None:
    run = HandMade(listeners=1, faults=[drop()])
    run.inject("drop-host", 20.0, 25.0)
    run.events = [
        replace(e, effect=replace(e.effect, first_s=None)) if isinstance(e, FaultEffect) else e
        for e in run.events
    ]
    assert run.history().faults["drop-host"].effect_s == pytest.approx(19.9)


def test_a_run_without_an_end_ends_with_its_last_mark() -> None:
    run = HandMade(listeners=1, end_s=10.0)
    facts = [Mark(t=1.0, shard="s", s=400, lag_ms=0.0, unjudged=0, sentinel_missing=0)]
    history = History.build(run.experiment, facts, [], origin_s=ORIGIN_S, ear_delay_s=0.0)
    assert history.end_s == 8.0
    nothing = History.build(run.experiment, [], [], origin_s=ORIGIN_S, ear_delay_s=0.0)
    assert (nothing.end_s, set(nothing.codes[0].tolist())) == (10.0, {UNJUDGED})


def test_counters_and_round_trips_are_no_part_of_a_track() -> None:
    run = HandMade(listeners=1)
    run.fact(RoundTrip(t=ORIGIN_S + 3, p=ONE, link="listeners.api.directory", ms=2.0))
    assert not run.history().tracks[ONE].of(RoundTrip)
