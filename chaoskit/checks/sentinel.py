"""What a silent sentinel, or a microphone that was not served, says of the ears.

Each shard has a speaker and an ear of its own on a link of the same relay, with no service under
test in their path. While that ear hears nothing, the silence of any other ear of the shard may be
the harness's own: it is unjudged, neither heard nor silent (DESIGN §5.6). So is the silence of all
ears when the frames due there were never sent, for the shard that owns the microphone was late.
"""

from collections.abc import Iterable

import numpy as np

from chaoskit.audio.gaps import AUDIBLE_SLOTS, Codes, Mask, grown, in_long_gap
from chaoskit.audio.listening import ABSENT, UNJUDGED, is_heard
from chaoskit.wire.facts import Unsent

EDGE_SLOTS = 5
"""100 ms on either side: the playout buffer of two ears need not end at the same slot, nor need the
age of the audio be the nominal ear delay."""


def sentinel_missed(codes: Codes) -> Mask:
    """Return where a sentinel ear, shape [slots], was there, judged, and did not hear."""
    missed = ~is_heard(codes) & (codes != UNJUDGED) & (codes != ABSENT)
    return np.asarray(missed, dtype=np.bool_)


def unmeasurable(codes: Codes) -> Mask:
    """Return the slots in or beside an audible gap (60 ms or more) of a sentinel ear, [slots]."""
    gap = in_long_gap(sentinel_missed(codes)[None, :], AUDIBLE_SLOTS)[0]
    return np.asarray(grown(gap, EDGE_SLOTS), dtype=np.bool_)


def never_heard(codes: Codes) -> bool:
    """Return whether a sentinel ear, shape [slots], heard nothing at all."""
    return not bool(is_heard(codes).any())


def unserved(unsent: Iterable[Unsent], *, delay_slots: int, slots: int) -> Mask:
    """Return the slots at the ear, shape [slots], in or beside which frames were never sent."""
    mask = np.zeros(slots, dtype=np.bool_)
    for fact in unsent:
        first = max(0, fact.s + delay_slots - EDGE_SLOTS)
        mask[first : max(0, fact.s + fact.n + delay_slots + EDGE_SLOTS)] = True
    return mask


def withhold(codes: Codes, slots: Mask) -> None:
    """Make silence within `slots` unjudged, in place; codes has shape [ears, slots]."""
    silent = ~is_heard(codes) & (codes != ABSENT)
    codes[silent & slots[None, :]] = UNJUDGED
