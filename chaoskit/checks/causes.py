"""Why due frames were silent: one cause for each, read from the facts.

The first that holds, in this order:

1. `microphone_closed`: no planned speaker's microphone was on its beacon (script, or a fault
`mute`,
   `wrong_source` on it), up to 100 ms either way. Nobody could have heard anything.
2. Before the participant was first in a room: `no_room` or `rejected` from the first such answer
on,
   else `waiting`.
3. Out of the room later: `gave_up`; `no_room` or `rejected` from such an answer on; `migration`
when
   the room was moved, destroyed or followed by a newer one, or it was kicked; `link` when a fault
   was on one of its links when the stay ended (or within a second before); `service` likewise for
   its node; else `other`.
4. In a room: `migration` while a newer room is open; `link` while a fault is on one of its links,
or
   no planned speaker is in the same room with a link in order; `service` while a fault is on its
   node; `speaker_away` while no planned speaker with an open microphone is in its room; else
   `other`.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio.gaps import Mask, grown
from chaoskit.checks.fault_times import FaultTimes
from chaoskit.checks.history import EDGE_SLOTS, History
from chaoskit.checks.tracks import Span, Stay, Track
from chaoskit.model import Group, Mic, TargetKind
from chaoskit.wire.facts import Left, Lost, Rejected


class Cause(StrEnum):
    """Why a due frame was silent."""

    WAITING = "waiting"
    LINK = "link"
    REJECTED = "rejected"
    NO_ROOM = "no_room"
    MIGRATION = "migration"
    SPEAKER_AWAY = "speaker_away"
    MICROPHONE_CLOSED = "microphone_closed"
    SERVICE = "service"
    GAVE_UP = "gave_up"
    OTHER = "other"


_INDEX = {cause: i for i, cause in enumerate(Cause)}
CAUSES: tuple[Cause, ...] = tuple(Cause)
_AFTERMATH_S = 1.0
_ROOM_LOSSES = frozenset({"moved", "destroyed", "kicked"})
_MIC_FAULTS = frozenset({"mute", "wrong_source"})

Causes = NDArray[np.uint8]
"""Index into CAUSES by [participant, slot]; meaningless where the slot was not silent."""


def silent_by_cause(
    history: History, participants: Sequence[int], silent: Mask
) -> dict[Cause, NDArray[np.int64]]:
    """Return, for each cause, the number of silent slots of each participant.

    silent: shape [participants, slots]. The counts of all causes add up to those of `silent`.
    """
    causes = causes_of(history, participants)
    return {
        cause: np.asarray((silent & (causes == index)).sum(axis=1), dtype=np.int64)
        for cause, index in _INDEX.items()
    }


def causes_of(history: History, participants: Sequence[int]) -> Causes:
    """Return the cause that a silent slot of each participant would have."""
    room = _Room(history)
    out = np.full((len(participants), history.slots), _INDEX[Cause.OTHER], dtype=np.uint8)
    for i, k in enumerate(participants):
        track = history.tracks[k]
        _outside(history, track, out[i])
        for stay in track.stays:
            # What is sent when it comes in plays an ear delay later: it is not there yet.
            heard_s = min(stay.from_s + history.ear_delay_s, stay.until_s)
            part = slice(history.slot(heard_s), history.slot(stay.until_s))
            out[i, part] = room.causes_in(track.group, stay, part)
        out[i, room.mics_closed] = _INDEX[Cause.MICROPHONE_CLOSED]
    return out


def _outside(history: History, track: Track, row: Causes) -> None:
    """Fill `row` with the causes of not being in a room; stays are written over it afterwards."""
    first_s = track.first_joined_s
    until = history.slots if first_s is None else history.slot(first_s + history.ear_delay_s)
    row[:until] = _INDEX[Cause.WAITING]
    for stay in track.stays:
        following = track.joined_after(max(stay.until_s, stay.from_s))
        end_s = history.end_s if following is None else following.from_s
        heard_s = end_s if following is None else end_s + history.ear_delay_s
        part = slice(history.slot(stay.until_s), history.slot(heard_s))
        row[part] = _INDEX[_cause_of_leaving(history, track, stay, end_s)]
    joins = [history.slot(s.from_s + history.ear_delay_s) for s in track.stays]
    for at_s, fact in track.of(Rejected):
        at = history.slot(at_s)
        until = next((j for j in joins if j >= at), history.slots)
        row[at:until] = _INDEX[Cause.NO_ROOM if is_no_room(fact) else Cause.REJECTED]
    for at_s, left in track.of(Left):
        if left.why == "gave_up":
            at = history.slot(at_s)
            row[at : next((j for j in joins if j >= at), history.slots)] = _INDEX[Cause.GAVE_UP]


def is_no_room(fact: Rejected) -> bool:
    """Return whether a refusal says that there is no room (409, or AudioBridge 485)."""
    return (fact.by == "directory" and fact.status == 409) or (
        fact.by == "room" and fact.status == 485
    )


def _cause_of_leaving(history: History, track: Track, stay: Stay, back_s: float) -> Cause:
    end_s = stay.until_s
    reasons = {
        f.why for at_s, f in track.of(Lost) if stay.from_s <= at_s <= min(end_s + 0.5, back_s)
    }
    newer = history.generation_at(end_s) > stay.generation
    if newer or ({stay.end} | reasons) & _ROOM_LOSSES:
        return Cause.MIGRATION
    just_before = Span(from_s=end_s - _AFTERMATH_S, until_s=end_s + 1e-6)
    for fault in history.faults.values():
        span = fault.span()
        if span is None or not span.overlaps(just_before):
            continue
        if fault.hits_links_of(track.group, stay.node):
            return Cause.LINK
        if fault.hits_service(stay.node):
            return Cause.SERVICE
    return Cause.OTHER


class _Room:
    """What holds for everybody in a room, slot by slot."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._newest = np.zeros(history.slots, dtype=np.int64)
        for opened in history.rooms:
            self._newest[history.slot(opened.opened_s) :] = opened.generation
        self._voices = [_Voice(history, g) for g in history.speakers]
        planned = history.planned != 0
        on_air = np.zeros(history.slots, dtype=np.bool_)
        for voice in self._voices:
            on_air |= voice.planned & voice.open_mic
        self.mics_closed: Mask = planned & grown(planned & ~on_air, EDGE_SLOTS)

    def causes_in(self, group: Group, stay: Stay, part: slice) -> Causes:
        """Return the causes in the slots of a stay."""
        history = self._history
        out = np.full(part.stop - part.start, _INDEX[Cause.OTHER], dtype=np.uint8)
        within_reach = np.zeros(len(out), dtype=np.bool_)
        link_in_order = np.zeros(len(out), dtype=np.bool_)
        broken = np.zeros(len(out), dtype=np.bool_)
        for voice in self._voices:
            if voice.group.name == group.name:
                continue
            here = voice.planned[part] & voice.open_mic[part]
            same_room = voice.generation[part] == stay.generation
            within_reach |= here & same_room
            link_in_order |= here & same_room & ~voice.link_broken[part]
            broken |= here & voice.link_broken[part]
        out[~within_reach] = _INDEX[Cause.SPEAKER_AWAY]
        service, own_link = (np.zeros(len(out), dtype=np.bool_) for _ in range(2))
        for fault in history.faults.values():
            active = _active(history, fault)[part]
            if fault.hits_service(stay.node):
                service |= active
            if fault.hits_links_of(group, stay.node):
                own_link |= active
        out[service] = _INDEX[Cause.SERVICE]
        out[own_link | (broken & ~link_in_order)] = _INDEX[Cause.LINK]
        out[self._newest[part] > stay.generation] = _INDEX[Cause.MIGRATION]
        return out


class _Voice:
    """One speaker, slot by slot at the ear: planned, on its beacon, in which room, cut off."""

    def __init__(self, history: History, group: Group) -> None:
        self.group = group
        slots = history.slots
        band = group.speaker or 0
        delay_s = history.ear_delay_s
        self.planned: Mask = (history.planned & (1 << band)) != 0
        self.open_mic: Mask = np.zeros(slots, dtype=np.bool_)
        changes = history.mic_changes(group)
        # Nobody said anything about this microphone: then it is no reason for silence.
        self.open_mic[:] = not changes
        for at_s, mic in changes:
            self.open_mic[history.slot(at_s + delay_s) :] = mic is Mic.BEACON
        self.generation = np.full(slots, -1, dtype=np.int64)
        self.link_broken: Mask = np.zeros(slots, dtype=np.bool_)
        for k in group.members():
            for stay in history.tracks[k].stays:
                ears = stay.from_s + delay_s, stay.until_s + delay_s
                self.generation[slice(*map(history.slot, ears))] = stay.generation
        nodes: set[str | None] = {r.node for r in history.rooms if r.node} or {None}
        for fault in history.faults.values():
            active = _active(history, fault)
            if any(fault.hits_links_of(group, node) for node in nodes):
                self.link_broken |= active
            if _closes_mic(fault, group):
                self.open_mic &= ~active


def _closes_mic(fault: FaultTimes, group: Group) -> bool:
    target = fault.spec.target
    return (
        fault.spec.kind in _MIC_FAULTS
        and target.kind is TargetKind.PARTICIPANTS
        and bool(target.matches([group.name, group.role]))
    )


def _active(history: History, fault: FaultTimes) -> Mask:
    span = fault.span()
    return history.span_mask([] if span is None else [span])
