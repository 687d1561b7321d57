"""Whether a run may have a verdict at all: was the harness awake, did every fault prove its effect.

An invalid run is inconclusive whatever its checks say (DESIGN §5.6).
"""

from dataclasses import dataclass

from chaoskit.audio.gaps import AUDIBLE_SLOTS, longest
from chaoskit.checks.books import Ledger, keep_books
from chaoskit.checks.history import History
from chaoskit.checks.intake import ShardLife
from chaoskit.checks.parts import RELAY_LAG_PROBE, is_harness
from chaoskit.checks.sentinel import never_heard, sentinel_missed
from chaoskit.model import SLOT_S, ActionDone, ActionFailed, Observed, RunEnded, ServiceExited

UNJUDGED_LIMIT = 0.01
PROVEN_SHARE = 0.9
TORN_S = 2.0
"""A shard writes marks about once a second: one that ends this much earlier had died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """How well the harness itself kept up.

    `unjudged_share`: of all frames due to listeners. `sentinel_gap_s`: longest gap of the worst
    sentinel (None: there is no sentinel). `late_frames`: frames the shards were late for;
    `unsent_frames`: frames of microphones that they never sent. `relay_lag_ms`: the relay's largest
    loop lag, 0 while it stayed below a frame.
    """

    unjudged_share: float
    sentinel_gap_s: float | None
    max_lag_ms: float
    late_frames: int
    unsent_frames: int
    relay_lag_ms: float
    shards: int
    dead_shards: tuple[str, ...]

    @property
    def sentinel_clean(self) -> bool:
        """Whether no sentinel had an audible gap: 60 ms or more."""
        gap_s = self.sentinel_gap_s
        return gap_s is not None and gap_s < AUDIBLE_SLOTS * SLOT_S - 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Whether the run is valid, and every reason why not."""

    valid: bool
    reasons: tuple[str, ...]
    harness: Harness


def judge_validity(history: History, ledger: Ledger | None = None) -> Validity:
    """Return the run's validity. `ledger`: the books of all listeners, when they are at hand."""
    harness = _harness(history, ledger or keep_books(history))
    reasons = [*_harness_reasons(history, harness), *_fault_reasons(history)]
    return Validity(valid=not reasons, reasons=tuple(reasons), harness=harness)


def _harness(history: History, ledger: Ledger) -> Harness:
    due, unjudged = int(ledger.books.due.sum()), int(ledger.books.unjudged.sum())
    return Harness(
        unjudged_share=unjudged / due if due else 0.0,
        sentinel_gap_s=_sentinel_gap_s(history),
        max_lag_ms=max((s.max_lag_ms for s in history.shards), default=0.0),
        late_frames=sum(s.late_frames for s in history.shards),
        unsent_frames=history.unsent_frames,
        relay_lag_ms=max(
            (
                float(event.value)
                for event in history.of(Observed)
                if event.probe == RELAY_LAG_PROBE and event.value is not None
            ),
            default=0.0,
        ),
        shards=len(history.shards),
        dead_shards=tuple(s.name for s in history.shards if _is_dead(history, s)),
    )


def _is_dead(history: History, shard: ShardLife) -> bool:
    early = shard.judged_slot * SLOT_S < history.end_s - TORN_S
    return early or (history.complete and not shard.stopped and _ended(history))


def _ended(history: History) -> bool:
    return bool(history.of(RunEnded))


def _sentinel_gap_s(history: History) -> float | None:
    """Return the longest gap that any sentinel ear had while it was there; None without one."""
    gaps = [int(longest(sentinel_missed(c)[None, :])[0]) for c in history.sentinels.values()]
    return max(gaps) * SLOT_S if gaps else None


def _harness_reasons(history: History, harness: Harness) -> list[str]:
    reasons = []
    if harness.unjudged_share > UNJUDGED_LIMIT:
        reasons.append(
            f"{harness.unjudged_share:.1%} of the listeners' frames are unjudged: the harness was"
            f" late or its sentinel silent (limit {UNJUDGED_LIMIT:.0%})"
        )
    if harness.sentinel_gap_s is None:
        reasons.append("no sentinel watched the harness")
    for shard in history.shards:
        if shard.sentinel >= 0 and never_heard(history.sentinels[shard.sentinel]):
            reasons.append(f"the sentinel of {shard.name} never heard")
    if harness.dead_shards:
        reasons.append(f"crowd shards died: {', '.join(harness.dead_shards)}")
    silent = sorted(set(history.participants) - {k for s in history.shards for k in s.participants})
    if silent:
        named = ", ".join(f"p{k}" for k in silent[:5])
        reasons.append(f"{len(silent)} participants were in no crowd shard: {named}")
    done = {event.action_id for event in history.of(ActionDone)}
    why = {event.action_id: f": {event.error}" for event in history.of(ActionFailed)}
    for action in history.experiment.actions:
        if action.id not in done:
            reasons.append(
                f"the operator's act {action.id} was not carried out{why.get(action.id, '')}"
            )
    for event in history.of(ServiceExited):
        if not event.expected and is_harness(event.service):
            reasons.append(f"{event.service} ended by itself (exit {event.exit})")
    return reasons


def _fault_reasons(history: History) -> list[str]:
    reasons = []
    for fault in history.faults.values():
        if fault.injecting_s is None:
            reasons.append(f"{fault.id} was never injected")
        elif fault.error:
            reasons.append(f"{fault.id} failed: {fault.error}")
        elif not fault.active:
            reasons.append(f"{fault.id} was not in place when it was read back")
        elif fault.effect is None:
            reasons.append(f"{fault.id} is unproven: nobody saw an effect")
        elif fault.effect.share < PROVEN_SHARE:
            effect = fault.effect
            reasons.append(
                f"{fault.id} is unproven: {effect.affected} of {effect.targeted} {effect.unit}"
                f" affected, seen by {effect.witness}"
            )
    return reasons
