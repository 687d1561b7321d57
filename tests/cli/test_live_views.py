"""The live view on a terminal and the plain lines elsewhere, drawn from facts and events."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from chaoskit.audio.listening import SILENT
from chaoskit.cli.lanes import LiveTexts, TerminalView
from chaoskit.cli.live import PlainView, SilentView
from chaoskit.data import experiments_dir
from chaoskit.journal.facts import FactTail
from chaoskit.model import (
    Aborted,
    ActionDone,
    CheckResult,
    CueReached,
    Effect,
    Event,
    Experiment,
    FaultActive,
    FaultEffect,
    FaultFailed,
    FaultHealed,
    FaultInjecting,
    GateJudged,
    Phase,
    PhaseEntered,
    ServiceExited,
    Undo,
    Verdict,
)
from chaoskit.spec.experiment import Overrides, load_experiment
from chaoskit.wire.facts import Attempt, Ear, Fact, Joined, Left, Mark, ShardStarted, encode_fact

pytestmark = pytest.mark.cli

ORIGIN_S = 1000.0
HOST, GUEST, FIRST_LISTENER, LISTENERS = 0, 1, 3, 10
HOST_HEARD = 1


@pytest.fixture
def experiment() -> Experiment:
    path = experiments_dir() / "host-drop-fresh-room.yaml"
    return load_experiment(path, overrides=Overrides(listeners=LISTENERS))


@pytest.fixture
def facts(experiment: Experiment, tmp_path: Path) -> Iterator[FactTail]:
    tail = FactTail(tmp_path, experiment.crowd, origin_s=ORIGIN_S)
    yield tail
    tail.close()


Report = Callable[..., None]


@pytest.fixture
def report(facts: FactTail, tmp_path: Path) -> Report:
    """Lets the crowd report facts, which are read at once."""

    def write(*found: Fact) -> None:
        with (tmp_path / "facts-a.jsonl").open("a") as file:
            file.writelines(encode_fact(fact) for fact in found)
        facts.poll()

    write(
        ShardStarted(
            t=ORIGIN_S, version=1, shard="a", pid=1, origin_s=ORIGIN_S, participants=[HOST]
        )
    )
    return write


def joined(p: int) -> Joined:
    return Joined(t=ORIGIN_S, p=p, room=1, node="room-a", generation=1, rtp_port=4000)


def trying(p: int, n: int) -> Attempt:
    return Attempt(t=ORIGIN_S, p=p, n=n, why="lost")


def hears(p: int, code: int) -> Ear:
    return Ear(t=ORIGIN_S, p=p, s=0, c=code)


def listeners() -> range:
    return range(FIRST_LISTENER, FIRST_LISTENER + LISTENERS)


def injecting(at_s: float) -> FaultInjecting:
    undo = Undo(fault_id="drop-host", kind="drop", handle={})
    return FaultInjecting(at_s=at_s, fault_id="drop-host", kind="drop", target="host.*", undo=undo)


def proof(at_s: float, affected: int) -> FaultEffect:
    effect = Effect(
        measures={}, witness="peers", affected=affected, targeted=3, unit="participant links"
    )
    return FaultEffect(at_s=at_s, fault_id="drop-host", effect=effect)


def gate(verdict: Verdict) -> GateJudged:
    result = CheckResult(
        name="audio_gap",
        kind="audio_gap",
        verdict=verdict,
        observed=0.5,
        threshold="",
        unit="s",
        population="",
        n=10,
    )
    return GateJudged(at_s=13.5, when="gate", results=(result,))


class Watched:
    """A terminal view, never started: what it scrolled by, and what it would draw now."""

    def __init__(self, experiment: Experiment, *, width: int, ascii_only: bool = False) -> None:
        self._shown = io.StringIO()
        self._console = Console(
            file=self._shown, width=width, force_terminal=True, color_system=None
        )
        texts = LiveTexts(
            title="launch-night · record seed · chaoskit's own small room server · 1:2500",
            run_id="7f3c",
            planned_end_s=100.0,
            incident_time=lambda run_s: f"T+{run_s / 60:05.2f}",
        )
        self.view = TerminalView(self._console, experiment, texts, ascii_only=ascii_only)

    def frame(self) -> str:
        """Return all that scrolled by since the last frame, and the live part."""
        self._console.print("----------")
        self._console.print(self.view.render())
        text = self._shown.getvalue()
        self._shown.seek(0)
        self._shown.truncate()
        return text


def play(watched: Watched, facts: FactTail, report: Report) -> Iterator[str]:
    """Play a night; yield a frame at each turn of it."""
    view = watched.view
    yield watched.frame()
    view.consume(PhaseEntered(at_s=0.0, phase=Phase.PREPARE))
    report(joined(HOST), *(trying(k, 1) for k in listeners()), *map(joined, listeners()[:6]))
    view.tick(1.0, facts)
    yield watched.frame()
    report(*map(joined, listeners()), *(hears(k, HOST_HEARD) for k in listeners()[1:]))
    for second in range(2, 18):
        view.tick(float(second), facts)
    view.consume(gate(Verdict.HELD))
    text = "the public waits patiently, and for so long that this line cannot fit a terminal"
    view.consume(
        CueReached(at_s=15.0, event="S02", text=text, status="executed", basis="scheduled")
    )
    yield watched.frame()
    view.consume(injecting(18.5))
    report(
        trying(HOST, 4),
        Left(t=ORIGIN_S, p=GUEST, why="end"),
        *(hears(k, SILENT) for k in listeners()),
        Mark(t=ORIGIN_S, shard="a", s=900, lag_ms=41.4, unjudged=12, sentinel_missing=3),
    )
    for second in range(18, 30):
        view.tick(float(second), facts)
    yield watched.frame()
    view.consume(proof(30.0, affected=3))
    view.consume(FaultHealed(at_s=30.5, fault_id="drop-host", confirmed=True))
    view.consume(PhaseEntered(at_s=30.5, phase=Phase.STEADY_AGAIN))
    view.tick(99.9, facts)
    yield watched.frame()
    report(*(Left(t=ORIGIN_S, p=k, why="end") for k in listeners()))
    view.tick(100.1, facts)
    view.say("Stopping: nothing to heal …")
    yield watched.frame()


@pytest.mark.parametrize("width", [100, 80])
def test_a_night_on_a_terminal(
    width: int,
    experiment: Experiment,
    facts: FactTail,
    report: Report,
    golden: SnapshotAssertion,
) -> None:
    frames = list(play(Watched(experiment, width=width), facts, report))
    assert "\n".join(frames) == golden
    assert max(len(line) for frame in frames for line in frame.splitlines()) <= width
    live_part = [len(frame.partition("----------\n")[2].splitlines()) for frame in frames]
    assert max(live_part) <= 14, "there is room for what scrolls by on 24 lines"


def test_a_night_on_a_terminal_without_utf8(
    experiment: Experiment, facts: FactTail, report: Report, golden: SnapshotAssertion
) -> None:
    frames = list(play(Watched(experiment, width=80, ascii_only=True), facts, report))
    assert "\n".join(frames) == golden
    assert "".join(frames).isascii()


EVENTS: tuple[Event, ...] = (
    PhaseEntered(at_s=-0.2, phase=Phase.PREPARE),
    gate(Verdict.DEVIATED),
    injecting(18.5),
    FaultActive(at_s=18.6, fault_id="drop-host", active=True),
    FaultActive(at_s=18.6, fault_id="drop-host", active=False),
    proof(19.0, affected=1),
    proof(19.3, affected=1),
    proof(20.3, affected=3),
    FaultFailed(at_s=21.0, fault_id="drop-host", error="the proxy does not answer"),
    FaultHealed(at_s=30.5, fault_id="drop-host", confirmed=False),
    FaultHealed(at_s=31.0, fault_id="drop-host", confirmed=False),
    FaultHealed(at_s=31.5, fault_id="drop-host", confirmed=True),
    ActionDone(at_s=45.0, action_id="fresh-room", kind="fresh_room", result={}),
    CueReached(at_s=45.0, event="S03", text="a screech", status="not_yet", basis="emergent"),
    ServiceExited(at_s=46.0, service="room-a", exit=-9, expected=False),
    ServiceExited(at_s=47.0, service="room-b", exit=0, expected=True),
    Aborted(at_s=50.0, reason="join_success was 0.4, below 0.5, for 10 s"),
)


def test_plain_lines_elsewhere_are_one_fact_a_line(
    facts: FactTail, report: Report, golden: SnapshotAssertion
) -> None:
    shown = io.StringIO()
    view = PlainView(Console(file=shown, width=80))
    report(*map(joined, listeners()))
    with view:
        view.say("starting chaoskit's own small room server and 23 participants in 2 processes")
        for tick_s in (0.0, 0.2, 4.9, 5.0):
            view.tick(tick_s, facts)
        for event in EVENTS:
            view.consume(event)
    assert shown.getvalue() == golden


def test_a_quiet_run_says_nothing(facts: FactTail) -> None:
    shown = io.StringIO()
    with SilentView(Console(file=shown)) as view:
        view.say("starting")
        view.tick(0.0, facts)
        for event in EVENTS:
            view.consume(event)
    assert shown.getvalue() == ""
