"""The live view of a run on stderr: lanes on a terminal, one plain line a fact elsewhere."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chaoskit.model import (
    Aborted,
    ActionDone,
    CueReached,
    Event,
    Experiment,
    FaultActive,
    FaultEffect,
    FaultFailed,
    FaultHealed,
    FaultInjecting,
    GateJudged,
    PhaseEntered,
    ServiceExited,
    Verdict,
)
from chaoskit.ports import CrowdFacts

_UTF8 = {"away": "▁", "trying": "╳", "joined": "▃", "heard": "█", "gone": " "}
_ASCII = {"away": "_", "trying": "x", "joined": "-", "heard": "#", "gone": " "}
_HEARD_BITS = 0b0011_1111


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTexts:
    """What the header says. `incident_time` maps run time to a label such as `T+07:40`."""

    title: str
    run_id: str
    planned_end_s: float
    incident_time: Callable[[float], str] | None = None


class View(Protocol):
    """A consumer of events that is also shown the crowd's facts a few times a second."""

    def __enter__(self) -> Self:
        """Start showing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""

    def consume(self, event: Event) -> None:
        """Take an event of the run."""

    def tick(self, now_s: float, facts: CrowdFacts) -> None:
        """Show the crowd as it is at run time `now_s`."""

    def say(self, text: str) -> None:
        """Show a line about chaoskit itself (setting up, stopping)."""


def describe(event: Event) -> str | None:
    """Return one line for `event`, or None when it is not for people."""
    match event:
        case PhaseEntered():
            return f"phase    {event.phase.value}"
        case FaultInjecting():
            return f"fault    {event.fault_id}: {event.kind} {event.target}"
        case FaultActive(active=False):
            return f"fault    {event.fault_id}: the read-back does not show it"
        case FaultEffect():
            e = event.effect
            return (
                f"proof    {event.fault_id}: {e.affected} of {e.targeted} {e.unit}, by {e.witness}"
            )
        case FaultHealed():
            how = "healed" if event.confirmed else "NOT confirmed healed"
            return f"fault    {event.fault_id}: {how}"
        case FaultFailed():
            return f"fault    {event.fault_id}: failed: {event.error}"
        case ActionDone():
            return f"action   {event.kind} ({event.action_id})"
        case CueReached():
            return f"record   {event.event} {event.text} [{event.status.replace('_', ' ')}]"
        case ServiceExited(expected=False):
            return f"service  {event.service} ended with {event.exit}"
        case GateJudged():
            bad = [r.name for r in event.results if r.verdict is not Verdict.HELD]
            text = "steady" if not bad else "not steady: " + ", ".join(bad)
            return f"{event.when:<8} {text}"
        case Aborted():
            return f"abort    {event.reason}"
        case _:
            return None


class PlainView:
    """One fact a line, run clock first; at most one crowd line every `every_s`."""

    def __init__(self, console: Console, *, every_s: float = 5.0) -> None:
        """Write to `console`."""
        self._console = console
        self._every_s = every_s
        self._next_s = 0.0
        self._last: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Nothing to start."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to stop."""

    def _line(self, at_s: float, text: str) -> None:
        self._console.print(f"{at_s:7.1f} s  {text}", highlight=False, markup=False, soft_wrap=True)

    def consume(self, event: Event) -> None:
        """Print the event when it is for people; of a fault, only what it did not say last."""
        text = describe(event)
        if text is None:
            return
        if isinstance(event, FaultEffect | FaultHealed):
            if self._last.get(event.fault_id) == text:
                return  # a rollback tries again and again
            self._last[event.fault_id] = text
        self._line(event.at_s, text)

    def tick(self, now_s: float, facts: CrowdFacts) -> None:
        """Print the listeners line when it is due."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        self._line(now_s, "crowd    " + crowd_line(facts))

    def say(self, text: str) -> None:
        """Print a line without a clock."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class SilentView(PlainView):
    """Shows nothing (`--quiet`)."""

    def _line(self, at_s: float, text: str) -> None:
        pass

    def say(self, text: str) -> None:
        """Say nothing."""


def crowd_line(facts: CrowdFacts) -> str:
    """Return the listeners line: in, trying, hearing, gone."""
    count = facts.count
    return (
        f"listeners {count('listeners.joined'):.0f} in · {count('listeners.trying'):.0f} trying · "
        f"{count('listeners.hearing'):.0f} hear a speaker · {count('listeners.gone'):.0f} gone"
    )


@dataclass(slots=True)
class _Lane:
    participant: int
    cells: deque[str] = field(default_factory=lambda: deque(maxlen=40))


class TerminalView:
    """Lanes of the speakers, the listeners line, what is being done, what the record says."""

    def __init__(self, console: Console, experiment: Experiment, texts: LiveTexts) -> None:
        """Show `experiment` on `console`."""
        self._experiment = experiment
        self._texts = texts
        self._signs = _UTF8 if console.encoding.lower().startswith("utf") else _ASCII
        self._console = console
        self._lanes = {
            g.name: _Lane(g.first) for g in experiment.crowd.groups if g.speaker is not None
        }
        self._listeners = experiment.crowd.members(["listeners"])
        self._bands = {g.name: g.speaker for g in experiment.crowd.groups if g.speaker is not None}
        self._now_s = 0.0
        self._next_cell_s = 0.0
        self._crowd = ""
        self._doing = "setting up"
        self._record = ""
        self._active: dict[str, str] = {}
        self._proof: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._render)

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
        """Show `text` as what chaoskit is doing."""
        self._doing = text

    def consume(self, event: Event) -> None:
        """Take up the event; lasting facts scroll by above the live part."""
        match event:
            case PhaseEntered():
                self._doing = event.phase.value.replace("_", " ")
            case FaultInjecting():
                self._active[event.fault_id] = f"{event.kind:<9} {event.target}"
            case FaultEffect():
                e = event.effect
                self._proof[event.fault_id] = f"{e.affected} of {e.targeted} {e.unit} proven"
            case FaultHealed():
                self._active.pop(event.fault_id, None)
            case CueReached():
                self._record = f"{event.event} {event.text}"
        if isinstance(event, FaultEffect | PhaseEntered):
            return
        text = describe(event)
        if text:
            self._live.console.print(
                f"{event.at_s:7.1f} s  {text}", highlight=False, markup=False, style="dim"
            )

    def tick(self, now_s: float, facts: CrowdFacts) -> None:
        """Update lanes (one cell a second) and the listeners line."""
        self._now_s = now_s
        self._crowd = crowd_line(facts)
        if now_s < self._next_cell_s:
            return
        self._next_cell_s = now_s + max(1.0, self._texts.planned_end_s / 40)
        codes = [facts.hearing(k) for k in self._listeners]
        presence = facts.presence()
        for name, lane in self._lanes.items():
            bit = 1 << (self._bands[name] or 0)
            heard = sum(1 for c in codes if c <= _HEARD_BITS and c & (bit | bit << 3))
            seen = presence.get(lane.participant)
            state = seen.state if seen else "away"
            if heard > len(codes) / 2:
                state = "heard"
            lane.cells.append(self._signs.get(state, " "))

    def _render(self) -> RenderableType:
        texts = self._texts
        head = Text(f" {texts.title} · run {texts.run_id}", style="bold")
        clock = f" run {_mmss(self._now_s)} / {_mmss(texts.planned_end_s)}"
        if texts.incident_time is not None:
            clock = f" incident {texts.incident_time(self._now_s)}  {clock}"
        share = min(1.0, max(0.0, self._now_s / texts.planned_end_s)) if texts.planned_end_s else 0
        width = 24
        full, empty = ("━", "─") if self._signs is _UTF8 else ("=", "-")
        filled = round(share * width)
        clock += f"   {full * filled}{empty * (width - filled)} {100 * share:.0f} %"
        lanes = Table.grid(padding=(0, 1))
        for name, lane in self._lanes.items():
            lanes.add_row(f" {name}", "".join(lane.cells))
        parts: list[RenderableType] = [head, Text(clock), Text(""), lanes]
        if self._crowd:
            parts.append(Text(f" {self._crowd}"))
        parts.append(Text(""))
        for fault_id, what in self._active.items():
            sign = "●" if self._signs is _UTF8 else "*"
            parts.append(
                Text(f" now  {sign} {what}   {self._proof.get(fault_id, 'not proven yet')}")
            )
        if not self._active:
            parts.append(Text(f" now  {self._doing}"))
        if self._record:
            parts.append(Text(f" record  {self._record}", overflow="ellipsis", no_wrap=True))
        return Group(*parts)


def _mmss(seconds: float) -> str:
    whole = max(0.0, seconds)
    return f"{int(whole // 60):02d}:{whole % 60:04.1f}"
