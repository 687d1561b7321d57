"""The history of a run as the judge reads it, from the plan, the crowd's facts and the events.

Times are run time in seconds unless a name says slot. Slot n is [0.02 n, 0.02 (n + 1)) of run time.

**Due at the ear.** What the programme plans at a microphone at run time t is due at the ear at
t + ear_delay_s: a stated, nominal mouth-to-ear time of the stack (tick and prebuffer of the mixer
plus the playout buffer), constant for a run; the age really heard is judged by `audio_age`. A
slot is *heard* when its ear code has the voice bit of any speaker planned in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil, inf
from typing import TypeVar

import numpy as np

from chaoskit.audio.gaps import Codes, Heard, Mask, grown, sort_slots
from chaoskit.audio.listening import ABSENT, PRIVATE_SHIFT, UNJUDGED, VOICE_BITS
from chaoskit.checks.canary_group import CANARY
from chaoskit.checks.fault_times import FaultTimes, fault_times
from chaoskit.checks.intake import Intake, ShardLife
from chaoskit.checks.rooms import RoomOpened, rooms_opened
from chaoskit.checks.sentinel import unmeasurable, unserved, withhold
from chaoskit.checks.tracks import Span, Track, follow
from chaoskit.model import SLOT_S, Event, Experiment, Group, Mic, Phase, PhaseEntered, RunEnded
from chaoskit.wire.facts import Fact, HeardSymbols, MicChanged, SentSymbol

E = TypeVar("E", bound=Event)


def voice_bit(band: int) -> int:
    """Return the ear bit of the voice of `band`."""
    return 1 << band


def private_bit(band: int) -> int:
    """Return the ear bit of the private source of `band`."""
    return 1 << band << PRIVATE_SHIFT


EDGE_SLOTS = 5
"""100 ms: so much the age of the audio may differ from the nominal ear delay."""
SETTLE_S = 2.0
"""Not counted in steady-state checks: the start of a publication or a join (DESIGN §5)."""
EVERYONE = "everyone"


@dataclass(frozen=True, kw_only=True)
class History:
    """What happened, as far as it was reported. Build it with `History.build`.

    codes: ear codes, uint8 [participant row, slot]; rows follow `participants`. UNJUDGED after the
    last mark of a participant's shard, ABSENT where it had no ear.
    unsent_frames: frames of microphones that were never sent, for their shard was late.
    scope: windows of checks are cut to it (the gate judges a part of a run).
    """

    experiment: Experiment
    origin_s: float
    ear_delay_s: float
    end_s: float
    participants: tuple[int, ...]
    tracks: Mapping[int, Track]
    codes: Codes
    shards: tuple[ShardLife, ...]
    sentinels: Mapping[int, Codes]
    faults: Mapping[str, FaultTimes]
    rooms: tuple[RoomOpened, ...]
    events: tuple[Event, ...]
    heard_symbols: tuple[HeardSymbols, ...] = ()
    sent_symbols: tuple[SentSymbol, ...] = ()
    unsent_frames: int = 0
    complete: bool = True
    scope: Span | None = None
    _rows: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        experiment: Experiment,
        facts: Iterable[Fact],
        events: Iterable[Event],
        *,
        origin_s: float,
        ear_delay_s: float,
        until_s: float | None = None,
    ) -> "History":
        """Return the history of a run, or of its first `until_s` seconds while it goes on.

        facts: of all shards, in the order of their files, files one after the other or merged.
        Without `until_s` the end is the run's end or, when earlier, the last mark of the shards
        that stopped as planned: what a shard did not judge up to there is unjudged.
        """
        intake = Intake.of(facts, origin_s)
        all_events = tuple(sorted(events, key=lambda e: e.at_s))
        participants = tuple(sorted(k for g in experiment.crowd.groups for k in g.members()))
        end_s = _end_s(intake.shards, all_events, experiment) if until_s is None else until_s
        slots = max(0, round(end_s / SLOT_S))
        limits = {k: s.judged_slot for s in intake.shards for k in s.participants}
        codes = np.empty((len(participants), slots), dtype=np.uint8)
        for row, k in enumerate(participants):
            codes[row] = _code_row(intake.ears.get(k, []), limits.get(k, 0), slots)
        tracks = {
            k: follow(k, experiment.crowd.group_of(k), intake.own.get(k, ())) for k in participants
        }
        sentinels = {
            s.sentinel: _code_row(intake.ears.get(s.sentinel, []), s.judged_slot, slots)
            for s in intake.shards
            if s.sentinel >= 0
        }
        rows = {k: row for row, k in enumerate(participants)}
        for shard in intake.shards:
            if shard.sentinel >= 0:
                own = [rows[k] for k in shard.participants if k in rows]
                part = codes[own]
                withhold(part, unmeasurable(sentinels[shard.sentinel]))
                codes[own] = part
        mics = [f for f in intake.unsent if f.p in rows]
        withhold(codes, unserved(mics, delay_slots=round(ear_delay_s / SLOT_S), slots=slots))
        return cls(
            experiment=experiment,
            origin_s=origin_s,
            ear_delay_s=ear_delay_s,
            end_s=end_s,
            participants=participants,
            tracks=tracks,
            codes=codes,
            shards=intake.shards,
            sentinels=sentinels,
            faults=fault_times(experiment, all_events),
            rooms=rooms_opened(tracks.values(), all_events, origin_s),
            events=all_events,
            heard_symbols=tuple(intake.heard),
            sent_symbols=tuple(intake.sent),
            unsent_frames=sum(f.n for f in mics),
            complete=until_s is None,
            _rows=rows,
        )

    def within(self, from_s: float, until_s: float) -> "History":
        """Return the same history with every window cut to [from_s, until_s)."""
        return replace(self, scope=Span(from_s=from_s, until_s=until_s))

    # --- who ---

    @property
    def slots(self) -> int:
        """Number of slots up to the end."""
        return int(self.codes.shape[1])

    def row(self, participant: int) -> int:
        """Return the row of `participant` in `codes`."""
        return self._rows[participant]

    def rows(self, participants: Iterable[int]) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        """Return the rows of `participants`, in their order."""
        return np.array([self._rows[k] for k in participants], dtype=np.intp)

    def members(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the planned participants of groups or roles; `everyone` is all but canaries.

        Raises ValueError when a name is no group or role of the experiment.
        """
        if EVERYONE in names:
            return tuple(k for k in self.participants if self.tracks[k].group.role != CANARY)
        known = {g.name for g in self.experiment.crowd.groups}
        known |= {g.role for g in self.experiment.crowd.groups}
        unknown = sorted(set(names) - known)
        if unknown:
            raise ValueError(f"no such group or role: {', '.join(unknown)}")
        return self.experiment.crowd.members(names)

    @cached_property
    def listeners(self) -> tuple[int, ...]:
        """Participants that are never planned to speak; canaries are no audience."""
        return tuple(
            k
            for k in self.participants
            if self.tracks[k].group.speaker is None and self.tracks[k].group.role != CANARY
        )

    @cached_property
    def speakers(self) -> tuple[Group, ...]:
        """Groups with a beacon band."""
        return tuple(g for g in self.experiment.crowd.groups if g.speaker is not None)

    def group(self, name: str) -> Group:
        """Return the group called `name`. Raises ValueError when there is none."""
        for group in self.experiment.crowd.groups:
            if group.name == name:
                return group
        raise ValueError(f"no such group: {name}")

    # --- when ---

    def slot(self, at_s: float) -> int:
        """Return the first slot that starts at or after `at_s`, within [0, slots]."""
        if at_s == inf:
            return self.slots
        return min(self.slots, max(0, ceil(round(at_s / SLOT_S, 6))))

    def span_mask(self, spans: Iterable[Span]) -> Mask:
        """Return which slots lie in any of `spans`, shape [slots]."""
        mask = np.zeros(self.slots, dtype=np.bool_)
        for span in spans:
            mask[self.slot(span.from_s) : self.slot(span.until_s)] = True
        return mask

    def windows(self, during: str) -> tuple[Span, ...]:
        """Return the stretches that `during` names: run, steady (gate and closing) or a fault's id.

        Raises ValueError for a fault that the method does not have.
        """
        found: tuple[Span, ...]
        if during == "run" or (during == "steady" and self.scope is not None):
            found = (Span(from_s=0.0, until_s=self.end_s),)
        elif during == "steady":
            plan = self.experiment
            again_s = self.phase_s(Phase.STEADY_AGAIN)
            if again_s is None:
                again_s = self.end_s - plan.steady_again_s
            found = (
                Span(from_s=plan.gate_from_s, until_s=plan.gate_from_s + plan.gate_s),
                Span(from_s=again_s, until_s=self.end_s),
            )
        else:
            span = self.fault(during).span()
            found = () if span is None else (span,)
        limit = self.scope or Span(from_s=0.0, until_s=self.end_s)
        return tuple(cut for w in found if (cut := w.cut_to(limit)) is not None)

    def mask(self, during: str, participants: Sequence[int]) -> Mask:
        """Return which slots count for whom, shape [participants, slots].

        `steady` leaves out the first 2 s after a new publication (a planned speaker joins, opens
        its microphone, or comes on air) and after the participant's own joins.
        """
        base = self.span_mask(self.windows(during))
        out = np.broadcast_to(base, (len(participants), self.slots)).copy()
        if during == "steady":
            out &= ~self.span_mask(_settling(at_s) for at_s in self._publications)
            for i, k in enumerate(participants):
                for stay in self.tracks[k].stays:
                    out[i] &= ~self.span_mask([_settling(stay.from_s)])
        return out

    def phase_s(self, phase: Phase) -> float | None:
        """Return when `phase` was entered, or None."""
        return next((e.at_s for e in self.of(PhaseEntered) if e.phase is phase), None)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind, oldest first."""
        return [e for e in self.events if isinstance(e, kind)]

    def fault(self, fault_id: str) -> FaultTimes:
        """Return the times of a fault. Raises ValueError when the method has no such fault."""
        try:
            return self.faults[fault_id]
        except KeyError:
            raise ValueError(f"the method has no fault {fault_id!r}") from None

    def generation_at(self, at_s: float) -> int:
        """Return the generation current at `at_s`; the first one before any was opened."""
        opened = [r.generation for r in self.rooms if r.opened_s <= at_s]
        return max(opened, default=self.rooms[0].generation if self.rooms else 0)

    # --- what was planned, what was heard ---

    @cached_property
    def planned(self) -> Codes:
        """Voice bits due at the ear in each slot, uint8 [slots]."""
        bits = np.zeros(self.slots, dtype=np.uint8)
        for segment in self.experiment.programme:
            voices = 0
            for group in self.speakers:
                if group.name in segment.speakers and group.speaker is not None:
                    voices |= 1 << group.speaker
            from_s = segment.from_s + self.ear_delay_s
            bits[self.slot(from_s) : self.slot(segment.until_s + self.ear_delay_s)] |= voices
        return bits

    def planned_for(self, participants: Sequence[int]) -> Codes:
        """Return the voice bits due for each participant (its own voice excluded), [n, slots]."""
        own = np.array(
            [0 if (b := self.tracks[k].group.speaker) is None else 1 << b for k in participants],
            dtype=np.uint8,
        )
        return np.asarray(self.planned & ~own[:, None], dtype=np.uint8)

    def audible_for(self, participants: Sequence[int]) -> Codes:
        """Return `planned_for` without voices whose microphone the script itself does not open.

        What the script keeps silent nobody misses: it is the same whatever breaks. The first and
        last 100 ms of each open microphone are left out too, for the ear delay is nominal.
        """
        open_bits = np.zeros(self.slots, dtype=np.uint8)
        for group in self.speakers:
            bit = voice_bit(group.speaker or 0)
            cues = [c for c in self.experiment.script if c.group == group.name]
            opened = np.full(self.slots, not cues, dtype=np.bool_)
            for cue in sorted(cues, key=lambda c: c.at_s):
                opened[self.slot(cue.at_s + self.ear_delay_s) :] = cue.mic is Mic.BEACON
            open_bits[~grown(~opened, EDGE_SLOTS)] |= bit
        return np.asarray(self.planned_for(participants) & open_bits, dtype=np.uint8)

    def arrival_s(self, participant: int) -> float:
        """Return the planned arrival: a group's arrivals are spread evenly over its span."""
        group = self.tracks[participant].group
        return group.arrive_from_s + (
            group.arrive_over_s * (participant - group.first) / max(1, group.count)
        )

    def owed(self, participants: Sequence[int]) -> Mask:
        """Return the frames due, and to those who never tried the frames since their arrival."""
        owed = self.due(participants)
        for i, k in enumerate(participants):
            if self.tracks[k].first_attempt_s is None:
                owed[i] = self.planned_for([k])[0] != 0
                owed[i, : self.slot(self.arrival_s(k))] = False
        return owed

    def due(self, participants: Sequence[int]) -> Mask:
        """Return the frames due: planned, from the first join attempt on, away spans left out."""
        due: Mask = self.planned_for(participants) != 0
        for i, k in enumerate(participants):
            track = self.tracks[k]
            first_s = track.first_attempt_s
            due[i, : self.slots if first_s is None else self.slot(first_s)] = False
            for span in track.away:
                due[i, self.slot(span.from_s) : self.slot(span.until_s)] = False
        return due

    def sort(self, participants: Sequence[int], due: Mask) -> Heard:
        """Return what became of the `due` slots of `participants`."""
        codes = self.codes[self.rows(participants)]
        return sort_slots(codes, self.planned_for(participants), due)

    def hears(self, participants: Sequence[int], bits: int = VOICE_BITS) -> Mask:
        """Return where any of the ear bits `bits` of somebody else is heard, planned or not."""
        codes = self.codes[self.rows(participants)]
        heard: Mask = (codes < UNJUDGED) & ((codes & bits) != 0)
        for i, k in enumerate(participants):
            band = self.tracks[k].group.speaker
            if band is not None:
                others = bits & ~(voice_bit(band) | private_bit(band))
                heard[i] = (codes[i] < UNJUDGED) & ((codes[i] & others) != 0)
        return heard

    def mic_changes(self, group: Group) -> list[tuple[float, Mic]]:
        """Return what the microphone of `group` did as (run time, state), script included."""
        scripted = [(c.at_s, c.mic) for c in self.experiment.script if c.group == group.name]
        told = [(at_s, Mic(f.mic)) for at_s, f in self.tracks[group.first].of(MicChanged)]
        return sorted(scripted + told, key=lambda pair: pair[0])

    @cached_property
    def _publications(self) -> list[float]:
        at: list[float] = []
        for group in self.speakers:
            shift = self.ear_delay_s
            at += [s.from_s for k in group.members() for s in self.tracks[k].stays]
            at += [t + shift for t, mic in self.mic_changes(group) if mic is Mic.BEACON]
        at += [s.from_s + self.ear_delay_s for s in self.experiment.programme]
        return at


def _settling(at_s: float) -> Span:
    return Span(from_s=at_s, until_s=at_s + SETTLE_S)


def _code_row(ears: Sequence[tuple[int, int]], judged_slot: int, slots: int) -> Codes:
    row = np.full(slots, UNJUDGED, dtype=np.uint8)
    limit = min(judged_slot, slots)
    row[:limit] = ABSENT
    if ears and limit:
        changes = np.array(sorted(ears, key=lambda e: e[0]), dtype=np.int64)
        starts = np.clip(changes[:, 0], 0, limit)
        lengths = np.diff(np.append(starts, limit))
        row[starts[0] : limit] = np.repeat(changes[:, 1].astype(np.uint8), lengths)
    return row


def _end_s(shards: Sequence[ShardLife], events: Sequence[Event], experiment: Experiment) -> float:
    ended = next((e.at_s for e in events if isinstance(e, RunEnded)), None)
    stopped = max((s.judged_slot for s in shards if s.stopped), default=None)
    last = max((s.judged_slot for s in shards), default=0)
    if ended is not None:
        return ended if stopped is None else min(ended, stopped * SLOT_S)
    return last * SLOT_S if last else experiment.end_s
