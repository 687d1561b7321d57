"""The arithmetic of a room: the queue in front of the mixer, and the mix without oneself."""

from collections import deque
from collections.abc import Hashable, Mapping
from enum import Enum, auto
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio import mulaw
from chaoskit.wire.rtp import FRAME_SAMPLES, sequence_step

Key = TypeVar("Key", bound=Hashable)

SILENT_FRAME = bytes([mulaw.SILENCE]) * FRAME_SAMPLES
LATE_WINDOW = 50
"""A packet up to this far behind the newest one is late; further behind, numbering restarted."""
LONGEST_UNBUFFERED = 12
"""Frames that may wait without prebuffering (as many as with the default of 6): a burst must not
make a speaker late for good."""


class Offer(Enum):
    """What became of a packet."""

    QUEUED = auto()
    LATE = auto()


class TalkQueue:
    """Frames of one speaker that wait for the mixer; the queue that Janus 1.1.2 has (measured).

    The speaker enters the mix once more than `prebuffer` frames wait, and then stays in it: after a
    pause its first frame is mixed at once. A queue of twice `prebuffer` is cut to the newest
    `prebuffer`, which bounds the age of what is heard; with a `prebuffer` of 0 the newest
    LONGEST_UNBUFFERED frames are kept. There is no concealment: a lost packet only shortens the
    queue. Not behind the newest packet is the only order; a change of SSRC starts numbering anew.
    """

    __slots__ = ("_frames", "_newest", "_primed", "_ssrc", "prebuffer")

    def __init__(self, prebuffer: int) -> None:
        self.prebuffer = prebuffer
        self._frames: deque[bytes] = deque()
        self._primed = False
        self._newest: int | None = None
        self._ssrc = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def ready(self) -> bool:
        """Whether `take` has a frame."""
        return self._primed and bool(self._frames)

    def offer(self, *, ssrc: int, sequence: int, frame: bytes) -> Offer:
        """Queue one frame unless it is late."""
        if self._newest is not None and ssrc == self._ssrc:
            step = sequence_step(self._newest, sequence)
            if -LATE_WINDOW <= step <= 0:
                return Offer.LATE
        self._ssrc, self._newest = ssrc, sequence
        self._frames.append(frame)
        if not self._primed:
            self._primed = len(self._frames) > self.prebuffer
        else:
            self._trim()
        return Offer.QUEUED

    def _trim(self) -> None:
        keep, most = self.prebuffer, 2 * self.prebuffer - 1
        if not self.prebuffer:
            keep = most = LONGEST_UNBUFFERED
        if len(self._frames) > most:
            while len(self._frames) > keep:
                self._frames.popleft()

    def take(self) -> bytes:
        """Return the oldest frame. Raises IndexError when none waits."""
        return self._frames.popleft()

    def clear(self) -> None:
        """Forget the frames that wait, as muting does; no new prebuffering follows."""
        self._frames.clear()


def mix(frames: Mapping[Key, bytes]) -> tuple[bytes, dict[Key, bytes]]:
    """Mix one 20 ms slot: return what listeners hear, and for each speaker the mix without it.

    frames: by speaker, µ-law, FRAME_SAMPLES bytes each. Results are µ-law of the same length.
    Sums are clipped to int16. (Janus wraps there, which turns a loud moment into noise; no
    experiment should depend on that, so levels are planned below full scale on both.)
    """
    if not frames:
        return SILENT_FRAME, {}
    samples = {key: mulaw.decode(frame).astype(np.int32) for key, frame in frames.items()}
    total = np.zeros(FRAME_SAMPLES, dtype=np.int32)
    for own in samples.values():
        total += own
    if len(samples) == 1:
        return _encode(total), dict.fromkeys(samples, SILENT_FRAME)
    return _encode(total), {key: _encode(total - own) for key, own in samples.items()}


def _encode(total: NDArray[np.int32]) -> bytes:
    return mulaw.encode(np.clip(total, -32_768, 32_767).astype(np.int16))
