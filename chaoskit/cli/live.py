"""What a run shows on stderr while it lasts: the view's protocol, and one plain line a fact."""

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.text import Text

from chaoskit.journal.facts import FactTail
from chaoskit.model import (
    Aborted,
    ActionDone,
    ActionFailed,
    CueReached,
    Event,
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
from chaoskit.replay.mapping import Status
from chaoskit.report.plain_text import printable


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

    def tick(self, now_s: float, facts: FactTail) -> None:
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
        case ActionFailed():
            return f"action   {event.action_id}: failed: {event.error}"
        case CueReached():
            # What the record says, on cue: whether it happened here is the fidelity table's to say.
            played = event.status == Status.EXECUTED
            tag = "" if played else f" [{event.status.replace('_', ' ')}]"
            return f"record   {event.event} {event.text}{tag}"
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
        self._console.print(Text(printable(f"{at_s:7.1f} s  {text}")), soft_wrap=True)

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

    def tick(self, now_s: float, facts: FactTail) -> None:
        """Print the listeners line when it is due."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        self._line(now_s, "crowd    listeners " + crowd_line(facts))

    def say(self, text: str) -> None:
        """Print a line without a clock."""
        self._console.print(Text(text), soft_wrap=True)


class SilentView(PlainView):
    """Shows nothing (`--quiet`)."""

    def _line(self, at_s: float, text: str) -> None:
        pass

    def say(self, text: str) -> None:
        """Say nothing."""


def crowd_line(facts: FactTail) -> str:
    """Return how many listeners are in, trying, hearing, gone."""
    count = facts.count
    return (
        f"{count('listeners.joined'):.0f} in · {count('listeners.trying'):.0f} trying · "
        f"{count('listeners.hearing'):.0f} hear a speaker · {count('listeners.gone'):.0f} gone"
    )
