"""What measures read: the run, the map's moments, and how much of the audience hears whom, when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio.gaps import Mask, runs
from chaoskit.audio.listening import HOWL, UNJUDGED, VOICE_BITS
from chaoskit.checks.fresh import HEARD_SLOTS, first_generation, fresh_room
from chaoskit.checks.history import History, private_bit, voice_bit
from chaoskit.checks.rooms import RoomOpened
from chaoskit.checks.tracks import Span, Stay
from chaoskit.model import SLOT_S, ActionDone, Json
from chaoskit.replay.pace import Pace
from chaoskit.wire.facts import Fact

Params = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a measure saw. `at_s`: run time at which it happened, at the mouth, None for never.

    `value` with its `unit` is what a figure of the record is held against: `s` (incident seconds),
    `listeners` (of the incident), `share`. `text`: the value in words, with what it is of.
    `evidence`: where in the journal and the facts it is written.
    """

    happened: bool
    text: str
    at_s: float | None = None
    value: float | None = None
    unit: str = ""
    evidence: tuple[str, ...] = ()


class Scene:
    """One run of one replay, as measures see it."""

    def __init__(
        self,
        history: History,
        pace: Pace,
        *,
        cues: Mapping[str, float],
        audience: str,
        scale: float,
    ) -> None:
        """`cues`: event id → run time at which it is shown; `scale`: people a real listener is."""
        self.history = history
        self.pace = pace
        self.scale = scale
        self._cues = cues
        self._audience = audience
        self._hears: dict[int, Mask] = {}

    def moment(self, value: Json) -> float:
        """Return the run time of a moment of the map.

        A number is incident time; a string is `end`, a fault (its first effect), an action (when
        the room that it opened was open; when it was done, if it opened none) or an event (when it
        is shown). Raises ValueError for another, and when the fault or action did not happen.
        """
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self.pace.to_run(float(value))
        name = str(value)
        if name == "end":
            return self.history.end_s
        if name in self.history.faults:
            effect_s = self.history.faults[name].effect_s
            if effect_s is None:
                raise ValueError(f"{name} was never injected")
            return effect_s
        if any(a.id == name for a in self.history.experiment.actions):
            return self._done_s(name)
        if name in self._cues:
            return self._cues[name]
        raise ValueError(f"no such moment: {name}")

    def _done_s(self, action: str) -> float:
        done = next((e for e in self.history.of(ActionDone) if e.action_id == action), None)
        if done is None:
            raise ValueError(f"{action} was not carried out")
        opened = done.result.get("generation") if "opened_s" in done.result else None
        rooms = (r.opened_s for r in self.history.rooms if r.generation == opened)
        return next(rooms, done.at_s)

    def span(self, params: Params) -> Span:
        """Return the span from `after` to `until` (default: the run's end)."""
        after = params.get("after")
        from_s = 0.0 if after is None else self.moment(after)
        until = params.get("until")
        return Span(from_s=from_s, until_s=self.moment("end" if until is None else until))

    def fresh(self) -> RoomOpened | None:
        """Return the room that followed the first, or None."""
        return fresh_room(self.history, first_generation(self.history))

    def incident_seconds(self, from_s: float, until_s: float) -> float:
        """Return how much incident time lies between two run times."""
        return self.pace.to_incident(until_s) - self.pace.to_incident(from_s)

    # --- people ---

    def members(self, params: Params, key: str = "groups") -> tuple[int, ...]:
        """Return the participants named at `key`; the audience when nothing is named."""
        names = params.get(key)
        return self.history.members([self._audience] if names is None else list(names))

    def stays(self, participant: int) -> tuple[Stay, ...]:
        """Return the stays of a participant."""
        return self.history.tracks[participant].stays

    # --- sound ---

    def share_hearing(self, bits: int) -> NDArray[np.float64]:
        """Return the share of the audience that hears any of the ear bits, by slot."""
        listeners = self.history.members([self._audience])
        if bits not in self._hears:
            self._hears[bits] = self.history.hears(listeners, bits)
        hears = self._hears[bits]
        return np.asarray(hears.sum(axis=0) / max(1, len(listeners)), dtype=np.float64)

    def share_in_silence(self) -> NDArray[np.float64]:
        """Return the share of the audience that is in a room and hears no voice, by slot.

        Of those whose ears were judged in the slot; 0 where that was less than half of them. A
        howl is no silence.
        """
        history = self.history
        listeners = history.members([self._audience])
        codes = history.codes[history.rows(listeners)]
        judged = codes != UNJUDGED
        silent = judged & (codes != HOWL) & ~history.hears(listeners, VOICE_BITS)
        for i, k in enumerate(listeners):
            silent[i] &= history.span_mask(
                Span(from_s=s.from_s, until_s=s.until_s) for s in self.stays(k)
            )
        of = judged.sum(axis=0)
        share = silent.sum(axis=0) / np.maximum(1, of)
        return np.asarray(np.where(2 * of >= len(listeners), share, 0.0), dtype=np.float64)

    def bits_of(self, group: str, *, private: bool = False) -> int:
        """Return the ear bit of a group's voice or private source. Raises ValueError."""
        band = self.history.group(group).speaker
        if band is None:
            raise ValueError(f"{group} is no speaker")
        return private_bit(band) if private else voice_bit(band)

    def window(self, span: Span) -> slice:
        """Return the slots at the ear of what was sent within `span`."""
        delay_s = self.history.ear_delay_s
        return slice(
            self.history.slot(span.from_s + delay_s), self.history.slot(span.until_s + delay_s)
        )

    def stretches(self, mask: Mask, span: Span) -> list[Span]:
        """Return the runs of True of at least 100 ms within `span`, as run times at the mouth."""
        part = self.window(span)
        found = runs(mask[None, part])
        delay_s = self.history.ear_delay_s
        return [
            Span(
                from_s=(part.start + int(start)) * SLOT_S - delay_s,
                until_s=(part.start + int(start) + int(length)) * SLOT_S - delay_s,
            )
            for start, length in zip(found.start, found.length, strict=True)
            if length >= HEARD_SLOTS
        ]

    # --- evidence ---

    def ears(self, span: Span) -> str:
        """Return a reference to the ear facts of the audience in `span` (run time at the mouth)."""
        part = self.window(span)
        n = len(self.history.members([self._audience]))
        return f"facts ear: {n} listeners, slots {part.start}..{part.stop}"

    def fact(self, fact: Fact) -> str:
        """Return a reference to one fact, by kind, participant and its stamp in the file."""
        return f"facts {fact.kind} p{getattr(fact, 'p', '?')} t={fact.t:.6f}"

    def facts(self, kind: str, participants: Sequence[int]) -> str:
        """Return a reference to all facts of one kind of some participants."""
        named = ", ".join(f"p{k}" for k in participants[:3])
        more = f" and {len(participants) - 3} more" if len(participants) > 3 else ""
        return f"facts {kind}: {named}{more}"
