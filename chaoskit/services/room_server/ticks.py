"""When the mixer runs: every 20 ms on one grid, with an honest answer to having been late."""

import math

SLOT_S = 0.020
CATCH_UP_SLOTS = 4
"""Up to this many missed slots are made up for at once: a 100 ms playout buffer hides it.
After a longer stop the past is skipped, for audio sent in a burst would be heard by nobody."""


class TickGrid:
    """Slots of `SLOT_S` from `start_s` on; counts what was late and what was skipped.

    All times are monotonic seconds. It reads no clock: the caller says what time it is.
    """

    __slots__ = ("_lateness", "due_s", "late_max_s", "run", "skipped")

    def __init__(self, start_s: float) -> None:
        self.due_s = start_s
        """When the next slot is due."""
        self.run = 0
        """Slots that were mixed."""
        self.skipped = 0
        """Slots that nobody will ever hear."""
        self.late_max_s = 0.0
        """The most that any slot was late."""
        self._lateness: dict[int, float] = {}

    def take_due(self, now_s: float) -> list[int]:
        """Return the slots to mix now, each as the number of slots that it stands for.

        [] before the next slot is due; [1] in time; [1, 1] when one was missed; [101] after a stop
        of two seconds.
        """
        late_s = now_s - self.due_s
        if late_s < 0:
            return []
        due = math.floor(late_s / SLOT_S) + 1
        self.due_s += due * SLOT_S
        self.late_max_s = max(self.late_max_s, late_s)
        second = int(now_s)
        if second not in self._lateness:
            self._lateness = {s: v for s, v in self._lateness.items() if s == second - 1}
        self._lateness[second] = max(self._lateness.get(second, 0.0), late_s)
        if due <= CATCH_UP_SLOTS + 1:
            self.run += due
            return [1] * due
        self.run += 1
        self.skipped += due - 1
        return [due]

    def late_recent_s(self, now_s: float) -> float:
        """Return the most that a slot of this or the previous second was late."""
        return max(
            (v for s, v in self._lateness.items() if int(now_s) - s <= 1),
            default=0.0,
        )
