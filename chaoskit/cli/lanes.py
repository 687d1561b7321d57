"""The live view on a terminal: a lane for each speaker, the listeners, what is done, the record."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chaoskit.audio.listening import CONCEALED
from chaoskit.cli.live import crowd_line, describe
from chaoskit.journal.facts import FactTail, ShardView
from chaoskit.model import (
    SLOT_S,
    CueReached,
    Event,
    Experiment,
    FaultEffect,
    FaultHealed,
    FaultInjecting,
    PhaseEntered,
)
from chaoskit.ports import Presence
from chaoskit.report.terminal import Pen

_CELLS = {"away": "▁", "trying": "╳", "joined": "▃", "heard": "█", "gone": " "}
_NARROWEST_LANE, _WIDEST_LANE = 16, 60
_BESIDE_LANE = 42
"""Columns that a lane leaves for its name and for what its speaker does."""
_BAR = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTexts:
    """What the header says. `incident_time` maps run time to a label such as `T+07:40`."""

    title: str
    run_id: str
    planned_end_s: float
    incident_time: Callable[[float], str] | None = None


@dataclass(slots=True)
class _Lane:
    participant: int
    band: int
    cells: list[str] = field(default_factory=list)
    told: str = ""


class TerminalView:
    """Redraws a few lines at the foot of the terminal; lasting facts scroll by above them."""

    def __init__(
        self, console: Console, experiment: Experiment, texts: LiveTexts, *, ascii_only: bool
    ) -> None:
        """Show `experiment` on `console`."""
        self._texts = texts
        self._pen = Pen(ascii_only=ascii_only)
        self._cut: Literal["crop", "ellipsis"] = "crop" if ascii_only else "ellipsis"
        self._lanes = {
            g.name: _Lane(g.first, g.speaker)
            for g in experiment.crowd.groups
            if g.speaker is not None
        }
        self._listeners = experiment.crowd.members(["listener"])
        self._console = console
        self._cell_count = min(max(console.width - _BESIDE_LANE, _NARROWEST_LANE), _WIDEST_LANE)
        self._now_s = 0.0
        self._crowd = ""
        self._bar = ""
        self._ears = ""
        self._doing = "setting up"
        self._record = ""
        self._active: dict[str, str] = {}
        self._proof: dict[str, str] = {}
        self._live = Live(
            console=console,
            refresh_per_second=8,
            get_renderable=self.render,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Draw the last frame and stop."""
        self._live.stop()

    def say(self, text: str) -> None:
        """Show `text` as what chaoskit is doing, whatever faults are active."""
        self._doing = text
        self._active.clear()

    def consume(self, event: Event) -> None:
        """Take up the event; lasting facts scroll by above the live part."""
        match event:
            case PhaseEntered():
                self._doing = event.phase.value.replace("_", " ")
                return
            case FaultInjecting():
                self._active[event.fault_id] = f"{event.kind:<9} {event.target}"
            case FaultEffect():
                e = event.effect
                self._proof[event.fault_id] = f"{e.affected} of {e.targeted} {e.unit} proven"
                return
            case FaultHealed():
                self._active.pop(event.fault_id, None)
            case CueReached():
                how = event.basis if event.status == "executed" else event.status.replace("_", " ")
                self._record = f"{event.event} {event.text} ({how})"
                return
        text = describe(event)
        if text:
            self._console.print(self._line(f"{event.at_s:7.1f} s  {text}", "dim"))

    def tick(self, now_s: float, facts: FactTail) -> None:
        """Update lanes, the listeners line and the ears line."""
        if now_s > self._texts.planned_end_s:
            return  # everybody goes home now; the last picture is that of the run
        self._now_s = now_s
        self._crowd = crowd_line(facts)
        self._bar = self._listeners_bar(facts)
        self._ears = _ears_text(facts.shards().values())
        codes = [facts.hearing(k) for k in self._listeners]
        presence = facts.presence()
        for lane in self._lanes.values():
            bit = 1 << lane.band
            heard = sum(1 for c in codes if c < CONCEALED and c & (bit | bit << 3))
            seen = presence.get(lane.participant)
            lane.told = _told(seen, heard, len(codes))
            state = seen.state if seen else "away"
            cell = _CELLS["heard" if 2 * heard > len(codes) else state]
            due = self._cell_of(now_s)
            # A cell that was passed while nobody looked shows what is seen now.
            lane.cells += [cell] * (due + 1 - len(lane.cells))
            if lane.cells:
                lane.cells[-1] = cell

    def _cell_of(self, now_s: float) -> int:
        share = now_s / self._texts.planned_end_s if self._texts.planned_end_s else 0.0
        return min(int(share * self._cell_count), self._cell_count - 1)

    def _listeners_bar(self, facts: FactTail) -> str:
        """Return the listeners as a bar: those who hear, who are in, and who try."""
        total = len(self._listeners)
        if not total:
            return ""
        hearing, joined, trying = (
            round(_BAR * min(1.0, facts.count(f"listeners.{what}") / total))
            for what in ("hearing", "joined", "trying")
        )
        quiet = max(0, min(joined - hearing, _BAR - hearing))
        trying = min(trying, _BAR - hearing - quiet)
        rest = _BAR - hearing - quiet - trying
        return f"▕{'█' * hearing}{'▃' * quiet}{'▒' * trying}{' ' * rest}▏"

    def render(self) -> RenderableType:
        """Return the live part as it is now."""
        parts: list[RenderableType] = [
            self._line(f" {self._texts.title} · run {self._texts.run_id}", "bold"),
            self._clock(),
            Text(""),
            self._lane_table(),
            self._line(f" listeners  {self._crowd}"),
            self._line(f"            {self._bar}"),
            Text(""),
        ]
        for fault_id, what in self._active.items():
            parts.append(
                self._line(f" now  ● {what}   {self._proof.get(fault_id, 'not proven yet')}")
            )
        if not self._active:
            parts.append(self._line(f" now  {self._doing}"))
        if self._record:
            parts.append(self._line(f" record  {self._record}"))
        parts.append(self._line(f" ears  {self._ears}", "dim"))
        return Group(*parts)

    def _clock(self) -> Text:
        texts, now_s = self._texts, self._now_s
        text = f" run {_mmss(now_s)} / {_mmss(texts.planned_end_s)}"
        if texts.incident_time is not None:
            text = f" incident {texts.incident_time(now_s)}  {text}"
        share = min(1.0, max(0.0, now_s / texts.planned_end_s)) if texts.planned_end_s else 0.0
        width = max(8, min(40, self._console.width - len(text) - 10))
        filled = round(share * width)
        return self._line(f"{text}   {'━' * filled}{'─' * (width - filled)} {100 * share:.0f} %")

    def _lane_table(self) -> Table:
        lanes = Table.grid(padding=(0, 1))
        lanes.add_column(no_wrap=True, min_width=10)
        lanes.add_column(no_wrap=True, width=self._cell_count)
        lanes.add_column(no_wrap=True, overflow=self._cut)
        for name, lane in self._lanes.items():
            lanes.add_row(
                self._pen.text(f" {name}"),
                self._pen.text("".join(lane.cells)),
                self._pen.text(lane.told),
            )
        return lanes

    def _line(self, text: str, style: str = "") -> Text:
        """Return one line that is cut, never wrapped: what wraps makes the view jump."""
        line = self._pen.text(text, style)
        line.no_wrap, line.overflow = True, self._cut
        return line


def _told(seen: Presence | None, heard: int, listeners: int) -> str:
    """Return what a speaker does, in words."""
    match seen.state if seen else "away":
        case "joined" if heard:
            return f"heard by {heard} of {listeners}"
        case "joined":
            return "in the room, not heard"
        case "trying":
            tries = seen.attempts if seen else 0
            return f"trying to get in, try {tries}" if tries > 1 else "trying to get in"
        case "gone":
            return "gone from the room"
        case _:
            return "not there yet"


def _ears_text(shards: Iterable[ShardView]) -> str:
    seen: Sequence[ShardView] = list(shards)
    if not seen:
        return "not open yet"
    missing = sum(shard.sentinel_missing for shard in seen)
    sentinel = f"missed {missing * SLOT_S:.1f} s" if missing else "clean"
    unjudged = sum(shard.unjudged for shard in seen)
    lag_ms = max(shard.lag_ms for shard in seen)
    return f"{unjudged} frames unjudged · sentinel {sentinel} · lag at most {lag_ms:.0f} ms"


def _mmss(seconds: float) -> str:
    whole = max(0.0, seconds)
    return f"{int(whole // 60):02d}:{int(whole % 60):02d}"
