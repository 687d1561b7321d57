"""What the engine saw or did, one class a kind.

Standard library only. All times are seconds; a field that ends in `_s` and names a moment is *run
time* (seconds since the run's origin) unless its docstring says monotonic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from chaoskit.model.checks import CheckResult
from chaoskit.model.faults import Effect, Undo
from chaoskit.model.terms import Json, Phase, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something the engine saw or did. `at_s` is run time; the journal adds a sequence number."""

    type: ClassVar[str] = "event"
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEntered(Event):
    """The run entered `phase`."""

    type: ClassVar[str] = "phase_entered"
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultInjecting(Event):
    """About to inject; fsynced before the side effect."""

    type: ClassVar[str] = "fault_injecting"
    fault_id: str
    kind: str
    target: str
    undo: Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultActive(Event):
    """Injected and read back. `active` False = the read-back disagrees."""

    type: ClassVar[str] = "fault_active"
    fault_id: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEffect(Event):
    """The best proof of effect seen while the fault was active."""

    type: ClassVar[str] = "fault_effect"
    fault_id: str
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultHealed(Event):
    """Healed; `confirmed` False = the read-back does not confirm it (residue)."""

    type: ClassVar[str] = "fault_healed"
    fault_id: str
    confirmed: bool
    by: str = "engine"
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultFailed(Event):
    """Not injected, or not all of it, or not as long as planned: no verdict can rest on it."""

    type: ClassVar[str] = "fault_failed"
    fault_id: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDone(Event):
    """An operator's act was carried out; `result` is what the service answered."""

    type: ClassVar[str] = "action_done"
    action_id: str
    kind: str
    result: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFailed(Event):
    """An operator's act was not carried out."""

    type: ClassVar[str] = "action_failed"
    action_id: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CueReached(Event):
    """A line of the record came up."""

    type: ClassVar[str] = "cue_reached"
    event: str
    text: str
    status: str
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed(Event):
    """A probe's value, e.g. participants listed in a room. `value` None = the probe failed."""

    type: ClassVar[str] = "observed"
    probe: str
    value: Json
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceExited(Event):
    """A service ended; `expected` when a fault or the shutdown ended it."""

    type: ClassVar[str] = "service_exited"
    service: str
    exit: int
    expected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GateJudged(Event):
    """The steady state before (`when` = gate) or after (`when` = again)."""

    type: ClassVar[str] = "gate_judged"
    when: str
    results: tuple[CheckResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborted(Event):
    """An abort condition held; rollback follows."""

    type: ClassVar[str] = "aborted"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """Method and rollback are over. `residual` names faults that could not be confirmed healed."""

    type: ClassVar[str] = "run_ended"
    status: RunStatus
    residual: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealBegun(Event):
    """Somebody other than the engine takes the run over: `by` guardian | heal; `why` in words."""

    type: ClassVar[str] = "heal_begun"
    by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealEnded(Event):
    """The take-over is done. `residual`: faults that could not be confirmed healed.

    `killed`: services that had to be killed; `left`: processes that are still there.
    """

    type: ClassVar[str] = "heal_ended"
    by: str
    residual: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
