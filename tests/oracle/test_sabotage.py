"""Oracle 2, sabotage: signals and liars that the product must see through, judged from outside."""

import os
import random
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from tests.oracle.conftest import STOP_S
from tests.oracle.decoder import SLOT_S
from tests.oracle.live_run import DATA, LiveRun, chaoskit, wait_until
from tests.oracle.observed import PAUSE_S, Observed, longest
from tests.oracle.processes import Socket, all_sockets, marked, sockets_of
from tests.oracle.recorded import UNJUDGED, Gap

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(180)]

INCONCLUSIVE, DEVIATED = 11, 10
GONE_WITHIN_S = 10.0
WITHIN_SLOTS = 3
"""±60 ms."""


# --- a shard is killed ---------------------------------------------------------------------------


@pytest.mark.needs("capture")
def test_a_killed_shard_makes_the_run_inconclusive(struck: Observed) -> None:
    assert struck.exit_code == INCONCLUSIVE
    assert struck.recorded.result["valid"] is False
    assert struck.recorded.result["verdict"] == "inconclusive"


@pytest.mark.needs("capture")
def test_the_listeners_of_a_killed_shard_are_unjudged_from_then_on(struck: Observed) -> None:
    recorded = struck.recorded
    assert struck.notes.killed is not None
    shard, at_s = struck.notes.killed
    assert recorded.facts[shard][-1]["k"] != "stopped"
    killed_slot = recorded.slot_from(recorded.run_s(at_s))
    books = recorded.books()
    listeners = [k for k in recorded.members("listener") if recorded.shard_of(k) == shard]
    assert listeners
    for k in listeners:
        after = int(recorded.due(k)[killed_slot:].sum())
        assert after > 0
        assert books[k]["unjudged"] >= after, f"listener {k}: {books[k]}, {after} due after it"
        assert (recorded.codes(k)[killed_slot:] == UNJUDGED).all()


# --- a room node stands still --------------------------------------------------------------------


@pytest.mark.needs("capture")
def test_a_stopped_room_node_is_a_gap_of_that_length_on_the_wire_and_in_the_product(
    struck: Observed,
) -> None:
    recorded = struck.recorded
    assert struck.notes.stopped is not None
    began, ended = (recorded.run_s(t) for t in struck.notes.stopped)
    assert ended - began >= PAUSE_S
    wanted = round((ended - began) / SLOT_S)
    for k in struck.chosen:
        seen = _around(struck.gaps(k), began, ended)
        assert abs(seen.end - seen.first - wanted) <= WITHIN_SLOTS, f"listener {k}: {seen}"
    for k in recorded.members("listener"):
        told = _around(recorded.told_gaps(k), began, ended)
        assert abs(told.end - told.first - wanted) <= WITHIN_SLOTS, f"listener {k}: {told}"


def _around(found: list[Gap], began_s: float, ended_s: float) -> Gap:
    """Return the longest of the gaps that the playout buffer puts beside a stretch of run time."""
    return longest(
        [gap for gap in found if gap.first * SLOT_S < ended_s + 0.2 and gap.end * SLOT_S > began_s]
    )


# --- the engine stands still ---------------------------------------------------------------------


@pytest.mark.needs("capture")
def test_the_crowd_goes_on_while_the_engine_is_stopped(engine_stopped: Observed) -> None:
    recorded = engine_stopped.recorded
    assert engine_stopped.notes.stopped is not None
    began, ended = engine_stopped.notes.stopped
    assert ended - began >= STOP_S
    for shard, facts in recorded.facts.items():
        marks = [f["t"] for f in facts if f["k"] == "mark" and began <= f["t"] <= ended]
        pauses = [b - a for a, b in pairwise([began, *marks, ended])]
        assert max(pauses) < 2.0, f"{shard} reported nothing for {max(pauses):.2f} s"


@pytest.mark.needs("capture")
def test_the_fresh_rooms_media_reaches_everybody_while_the_engine_is_stopped(
    engine_stopped: Observed,
) -> None:
    recorded = engine_stopped.recorded
    assert engine_stopped.notes.stopped is not None
    stop_s, go_s = (recorded.run_s(t) for t in engine_stopped.notes.stopped)
    for k in engine_stopped.chosen:
        moved_s = engine_stopped.moved_s(k)
        assert stop_s < moved_s < go_s - 1.0, f"listener {k} had it at {moved_s:.2f} s"
        # The programme went on there: a second of it, with the engine still stopped.
        last = recorded.slot_from(go_s - 0.5)
        heard = engine_stopped.heard[k].voices[last - 50 : last]
        assert (heard != 0).all(), f"listener {k} hears nobody there"


@pytest.mark.needs("capture")
def test_recovery_on_the_wire_is_as_without_the_stop(
    host_drop: Observed, engine_stopped: Observed
) -> None:
    plain, stopped = (_moved_after(run) for run in (host_drop, engine_stopped))
    shown = f"seconds from the cut to the fresh room: {plain} without, {stopped} with the stop"
    assert abs(statistics.median(plain) - statistics.median(stopped)) <= 1.0, shown
    assert abs(max(plain) - max(stopped)) <= 1.5, shown
    assert engine_stopped.exit_code == host_drop.exit_code


def _moved_after(run: Observed) -> list[float]:
    cut_s = run.recorded.event_s("fault_active", fault_id="drop-host")
    return sorted(round(run.moved_s(k) - cut_s, 2) for k in run.chosen)


# --- services that only pretend ------------------------------------------------------------------


def test_a_room_that_answers_joined_and_sends_nothing_heals_nobody(
    faked: dict[str, Observed],
) -> None:
    recorded = faked["room"].recorded
    joined = [
        k
        for k in recorded.members("listener")
        if any(f["node"] == "room-b" for f in recorded.of(k, "joined"))
    ]
    assert joined == recorded.members("listener"), "all of them were told that they are in"
    rows = [row for row in recorded.result["recovery"] if row["group"] == "listeners"]
    assert rows
    for row in rows:
        assert row["never"] == row["n"] == len(joined), row
    assert faked["room"].exit_code == DEVIATED


def test_a_proxy_that_accepts_a_toxic_and_does_nothing_proves_nothing(
    faked: dict[str, Observed],
) -> None:
    result = faked["proxy"].recorded.result
    assert faked["proxy"].exit_code == INCONCLUSIVE
    assert result["valid"] is False
    (fault,) = result["faults"]
    assert fault["affected"] == 0
    assert fault["targeted"] > 0
    assert any("hole" in reason for reason in result["invalid_because"])


# --- chaoskit is killed --------------------------------------------------------------------------


@pytest.mark.timeout(240)
def test_nothing_is_left_ten_seconds_after_chaoskit_is_killed(
    tmp_path_factory: pytest.TempPathFactory, rng: random.Random
) -> None:
    # Five instants, spread over a run: after this line of the journal (None: at once) so long.
    instants: list[tuple[str | None, float]] = [
        (None, rng.uniform(0.2, 1.2)),
        (None, rng.uniform(1.2, 4.0)),
        ("phase_entered", rng.uniform(0.0, 6.0)),
        ("fault_injecting", rng.uniform(0.0, 0.3)),
        ("fault_active", rng.uniform(0.0, 8.0)),
    ]
    # Two at a time: more of them would only slow each other's start.
    with ThreadPoolExecutor(2) as pool:
        killed = [
            pool.submit(_kill, tmp_path_factory.mktemp("kill"), *instant) for instant in instants
        ]
    for (event, after_s), left in zip(instants, killed, strict=True):
        assert left.result() is None, f"{after_s:.2f} s after {event or 'the start'}"


def _kill(folder: Path, event: str | None, after_s: float) -> str | None:
    """Kill chaoskit and its group; return what is left after GONE_WITHIN_S, None: nothing."""
    plan = str(DATA / "host-drop.yaml")
    with chaoskit("run", plan, "--listeners", "8", "--quiet", folder=folder) as run:
        if event is not None:
            run.wait_for(event)
        time.sleep(after_s)
        assert run.process.poll() is None, f"it ended by itself; {run.said()}"
        ports = _ports(run)
        os.killpg(run.process.pid, signal.SIGKILL)
        try:
            wait_until(lambda: _left(run, ports), within_s=GONE_WITHIN_S)
        except AssertionError as left:
            return str(left)
        return None


def _ports(run: LiveRun) -> set[int]:
    """Return the inodes of all ports on which processes of the run can be reached."""
    found: set[int] = set()
    for process in run.processes():
        with suppress(FileNotFoundError):
            held = sockets_of(process.pid)
            found |= {sock.inode for sock in held if _is_port(sock)}
    return found


def _is_port(sock: Socket) -> bool:
    return sock.listens or sock.transport == "udp"


def _left(run: LiveRun, ports: set[int]) -> str | None:
    run.process.poll()  # reaps it: a zombie is ours to bury
    processes = marked(run.mark)
    if processes:
        return f"processes are left: {', '.join(map(str, processes))}"
    open_ports = [sock for sock in all_sockets() if sock.inode in ports and _is_port(sock)]
    return f"ports are left: {open_ports}" if open_ports else None
