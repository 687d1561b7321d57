"""Pace: the piecewise linear map between run time and incident time.

Clocks and timers are always real seconds; pace only says which moment of the incident a moment of
the run stands for (DESIGN §4).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from chaoskit.replay.errors import ReplayError

LARGEST_CHANGE = 4.0
"""Largest ratio between the paces of neighbouring acts while a declared timer is pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A stretch of the incident up to `until_s` (incident time), played in `run_s` of run time."""

    name: str
    until_s: float
    run_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A timer of a mechanism. It is pending for `value_s` (real seconds) from incident time
    `from_s`.

    `repeats`: how many times one after the other (a poll that has to come round).
    """

    name: str
    value_s: float
    from_s: float
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Pace:
    """Both directions of the map. Before the first and after the last act pace is 1x.

    `run_s`, `incident_s`: parallel, strictly increasing knots.
    """

    run_s: tuple[float, ...]
    incident_s: tuple[float, ...]

    @classmethod
    def of(cls, begins_s: float, acts: Sequence[Act]) -> "Pace":
        """Return the pace of `acts`, the first of which begins at incident time `begins_s`.

        Raises ReplayError unless every act is longer than nothing on both clocks.
        """
        run, incident = [0.0], [begins_s]
        if not acts:
            raise ReplayError("a replay needs at least one act", ("pace",))
        for i, act in enumerate(acts):
            if act.until_s <= incident[-1]:
                raise ReplayError(f"act {act.name} ends before it begins", ("pace", i, "until"))
            if act.run_s <= 0:
                raise ReplayError(f"act {act.name} takes no time", ("pace", i, "run"))
            run.append(run[-1] + act.run_s)
            incident.append(act.until_s)
        return cls(tuple(run), tuple(incident))

    @property
    def end_s(self) -> float:
        """Run time at which the last act ends."""
        return self.run_s[-1]

    def to_run(self, incident_s: float) -> float:
        """Return the run time of an incident time."""
        return _along(self.incident_s, self.run_s, incident_s)

    def to_incident(self, run_s: float) -> float:
        """Return the incident time of a run time."""
        return _along(self.run_s, self.incident_s, run_s)

    def speed_at(self, run_s: float) -> float:
        """Return incident seconds per run second at `run_s`; at a knot, of the act that begins."""
        i = bisect_right(self.run_s, run_s)
        if i == 0 or i == len(self.run_s):
            return 1.0
        return (self.incident_s[i] - self.incident_s[i - 1]) / (self.run_s[i] - self.run_s[i - 1])

    def label(self, run_s: float) -> str:
        """Return incident time in words: `T-07:20`, `T+00:10`, `T+1:34:36`."""
        return incident_label(self.to_incident(run_s))


def incident_label(incident_s: float) -> str:
    """Return incident time in words.

    >>> incident_label(-440.0), incident_label(2076.0), incident_label(5676.0)
    ('T-07:20', 'T+34:36', 'T+1:34:36')
    """
    whole = round(abs(incident_s))
    hours, rest = divmod(whole, 3600)
    minutes, seconds = divmod(rest, 60)
    sign = "-" if incident_s < 0 and whole else "+"
    clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"
    return f"T{sign}{clock}"


def check_timers(pace: Pace, timers: Sequence[Timer]) -> None:
    """Raise ReplayError when the pace changes by more than 4x while a timer is pending."""
    for i, timer in enumerate(timers):
        from_s = pace.to_run(timer.from_s)
        until_s = from_s + timer.value_s * timer.repeats
        for knot in pace.run_s[1:-1]:
            if not from_s < knot < until_s:
                continue
            before, after = pace.speed_at(knot - 1e-6), pace.speed_at(knot)
            change = max(before, after) / min(before, after)
            if change > LARGEST_CHANGE * (1 + 1e-9):
                raise ReplayError(
                    f"the pace changes from {before:.3g}x to {after:.3g}x at run time {knot:g} s"
                    f" while {timer.name} ({timer.value_s:g} s) is pending",
                    ("timers", i),
                )


def _along(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    if x <= xs[0]:
        return ys[0] + (x - xs[0])
    if x >= xs[-1]:
        return ys[-1] + (x - xs[-1])
    i = bisect_right(xs, x)
    share = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
    return ys[i - 1] + share * (ys[i] - ys[i - 1])
