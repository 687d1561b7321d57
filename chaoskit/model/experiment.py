"""One run, fully written down.

Standard library only. All times are seconds; a field that ends in `_s` and names a moment is *run
time* (seconds since the run's origin) unless its docstring says monotonic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaoskit.model.checks import AbortCondition, CheckSpec
from chaoskit.model.crowd import Crowd, MicCue, Segment
from chaoskit.model.faults import ActionSpec, BlastRadius, Cue, FaultSpec
from chaoskit.model.terms import Json, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What must be true: judged before anything is injected and again at the end."""

    title: str
    checks: tuple[CheckSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The directory's remedies and timers for a run; `settings` go to the directory as they are."""

    name: str
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The other half of a pair: the same experiment with `changes` must end in `expect`."""

    title: str
    changes: Mapping[str, Json]
    expect: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One run, fully written down. Replays compile to this too.

    Times: arrivals from run time 0; gate from `gate_from_s` for `gate_s` (0 = none); the method's
    zero is `method_zero_s`; the run ends at `end_s` at the latest. `recovery_s`: from the last heal
    to the closing steady state, which lasts `steady_again_s`; None = the recovery lasts until
    `end_s - steady_again_s` (replays). `account`: under which the first room runs;
    `standby_account`: under which an automatic fresh room does. `control`: the other half of the
    pair that this is the first half of. `expect`: of the other half itself, the verdict that it
    must end in.
    """

    id: str
    title: str
    stack: str
    crowd: Crowd
    profile: Profile
    hypothesis: Hypothesis
    programme: tuple[Segment, ...]
    script: tuple[MicCue, ...]
    method: tuple[FaultSpec, ...]
    actions: tuple[ActionSpec, ...] = ()
    cues: tuple[Cue, ...] = ()
    blast_radius: BlastRadius = field(default_factory=BlastRadius)
    abort: tuple[AbortCondition, ...] = ()
    seed: int = 1
    gate_from_s: float = 0.0
    gate_s: float = 10.0
    method_zero_s: float = 0.0
    end_s: float = 60.0
    steady_again_s: float = 10.0
    recovery_s: float | None = None
    control: Control | None = None
    digest: str = ""
    account: str = "first"
    standby_account: str = "standby"
    expect: Verdict | None = None

    def control_row(self, verdict: Verdict) -> dict[str, Json] | None:
        """Return whether a control ended as it must, as result.json has it; None for no control."""
        if self.expect is None:
            return None
        return {"expect": self.expect.value, "as_expected": verdict is self.expect}
