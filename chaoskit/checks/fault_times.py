"""When each fault of the method was injected, took effect and was healed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from chaoskit.checks.canary_group import CANARY
from chaoskit.checks.parts import DIRECTORY
from chaoskit.checks.tracks import Span
from chaoskit.model import (
    Effect,
    Event,
    Experiment,
    FaultActive,
    FaultEffect,
    FaultFailed,
    FaultHealed,
    FaultInjecting,
    FaultSpec,
    Group,
    TargetKind,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultTimes:
    """One fault of the method as it went. Times are None when that never happened."""

    spec: FaultSpec
    target: str = ""
    injecting_s: float | None = None
    active: bool = False
    effect: Effect | None = None
    healed_s: float | None = None
    confirmed: bool = False
    error: str = ""

    @property
    def id(self) -> str:
        """The fault's id."""
        return self.spec.id

    @property
    def effect_s(self) -> float | None:
        """First effect by the witness's own stamp, else the moment of injection."""
        if self.effect is not None and self.effect.first_s is not None:
            return self.effect.first_s
        return self.injecting_s

    def span(self) -> Span | None:
        """From first effect to healing (inf while it is not healed); None when never injected."""
        if self.effect_s is None:
            return None
        until_s = inf if self.healed_s is None else max(self.healed_s, self.effect_s)
        return Span(from_s=self.effect_s, until_s=until_s)

    def hits_links_of(self, group: Group, node: str | None) -> bool:
        """Return whether it acts on a link between `group` and `node` or the directory.

        A fault on a share of a group counts for the whole group: who was hit is not in the record.
        """
        # No fault acts on a canary's links: globs pass over them (faults.targets).
        if self.spec.target.kind is not TargetKind.LINK or group.role == CANARY:
            return False
        names = [f"{group.name}.api.{DIRECTORY}"]
        if node is not None:
            names += [f"{group.name}.signal.{node}", f"{group.name}.media.{node}"]
        return bool(self.spec.target.matches(names))

    def hits_service(self, service: str) -> bool:
        """Return whether it acts on `service`."""
        target = self.spec.target
        return target.kind is TargetKind.SERVICE and bool(target.matches([service]))


def fault_times(experiment: Experiment, events: Sequence[Event]) -> dict[str, FaultTimes]:
    """Return the times of every fault of the method, from the run's events in order."""
    found = {f.id: FaultTimes(spec=f) for f in experiment.method}
    for e in events:
        if not isinstance(
            e, FaultInjecting | FaultActive | FaultEffect | FaultHealed | FaultFailed
        ):
            continue
        now = found.get(e.fault_id)
        if now is None:
            continue
        match e:
            case FaultInjecting():
                now = replace(now, injecting_s=e.at_s, target=e.target)
            case FaultActive():
                now = replace(now, active=now.active or e.active)
            case FaultEffect():
                if now.effect is None or e.effect.share >= now.effect.share:
                    now = replace(now, effect=e.effect)
            case FaultHealed() if not now.confirmed:
                now = replace(now, healed_s=e.at_s, confirmed=e.confirmed)
            case FaultFailed():
                now = replace(now, error=e.error)
        found[e.fault_id] = now
    return found
