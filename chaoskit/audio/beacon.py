"""The beacon for mixes at 8 kHz: what speakers send, and how one mixed frame is read.

Every 20 ms frame of a speaker is one symbol, a tone out of five in the speaker's own band, so that
three speakers can be told apart in one AudioBridge mix. The symbols never repeat within a run: any
nine in a row tell their index, and so which 20 ms of whose microphone an ear is playing.

    tones   band b, symbol j: 600 + 1000 b + 200 j Hz, b = 0..2, j = 0..4
    frame   160 samples at 8 kHz, 2 ms raised-cosine edges, peak 0.125 of full scale (-18 dBFS),
            phase 0 at its first sample; three at once stay below half of full scale
    symbols s[0] = 0, s[i+1] = (s[i] + 1 + d[i]) mod 5, d = de Bruijn(4, 8): 65,536 symbols
    index   0..32767 is the speaker's voice, 32768..65535 its private source (hot mic)

Voice and private source each run round in their own half. The index is a function of run time
alone (`voice_index`, `private_index`), so the same plan sounds the same in every run.
Source: DESIGN section 6 and 10 (beacon for mixes); audio reference section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chaoskit.audio import mulaw

RATE_HZ = 8_000
FRAME_SAMPLES = 160
"""Samples of one frame: 20 ms, and with µ-law as many bytes."""
BANDS = 3
TONES = 5
SYMBOLS = 65_536
"""Length of the sequence; it closes on itself."""
HALF = SYMBOLS // 2
"""First private index, and the period of voice and of private source: 655.36 s."""
WINDOW = 9
"""Symbols in a row that tell the index."""
PEAK = 0.125
"""Peak of a frame, 1.0 = full scale: -18 dBFS."""
EDGE_SAMPLES = 16
SILENCE_RMS = 10 ** (-50 / 20)
"""Below this RMS (-50 dBFS) a frame, or a tone, is silent. Source: audio reference section 2."""
PURITY = 0.6
"""A band holds a symbol when one tone has more than this share of the band's own energy.

Measured on 2,000 frames: with three talkers behind two µ-law stages the right tone never had less
than 0.88; in white noise the best of five tones has 0.28 in one frame of a hundred and 0.44 in one
of ten thousand. Of the total energy a talker among three has a third, so the share must be taken
per band.
"""

_DE_BRUIJN_ORDER = WINDOW - 1
_FIRST_BIN = 10  # 500 Hz; a band has 20 bins of 50 Hz, its tones on bins 2, 6, 10, 14, 18
_BAND_BINS = 20


def de_bruijn(letters: int, order: int) -> NDArray[np.int8]:
    """Return the de Bruijn sequence B(letters, order): letters**order values 0..letters-1.

    Every word of `order` letters occurs exactly once in it, read as a ring. It is the
    concatenation of the Lyndon words whose length divides `order`, in lexicographic order.
    Source: Fredricksen and Maiorana, Discrete Mathematics 23 (1978).
    """
    sequence: list[int] = []
    word = [-1]
    while word:  # Duval: the next Lyndon word of at most `order` letters
        word[-1] += 1
        length = len(word)
        if order % length == 0:
            sequence.extend(word)
        while len(word) < order:
            word.append(word[-length])
        while word and word[-1] == letters - 1:
            word.pop()
    return np.array(sequence, dtype=np.int8)


def _sequence(steps: NDArray[np.int8]) -> NDArray[np.int8]:
    sums = np.concatenate(([0], np.cumsum(steps[:-1].astype(np.int64) + 1)))
    return (sums % TONES).astype(np.int8)


def _table(steps: NDArray[np.int8]) -> NDArray[np.int32]:
    ring = np.concatenate((steps, steps[: _DE_BRUIJN_ORDER - 1])).astype(np.int64)
    code = np.zeros(SYMBOLS, dtype=np.int64)
    for i in range(_DE_BRUIJN_ORDER):
        code = code * (TONES - 1) + ring[i : i + SYMBOLS]
    table = np.empty(SYMBOLS, dtype=np.int32)
    table[code] = np.arange(SYMBOLS, dtype=np.int32)
    return table


def _envelope() -> NDArray[np.float64]:
    envelope = np.ones(FRAME_SAMPLES)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(EDGE_SAMPLES) + 0.5) / EDGE_SAMPLES)
    envelope[:EDGE_SAMPLES], envelope[-EDGE_SAMPLES:] = rise, rise[::-1]
    return envelope


_STEPS = de_bruijn(TONES - 1, _DE_BRUIJN_ORDER)
SEQUENCE: NDArray[np.int8] = _sequence(_STEPS)
"""Symbol 0..4 of every index, shape (65536,)."""
_INDEX_OF_STEPS = _table(_STEPS)

_TIME_S = np.arange(FRAME_SAMPLES) / RATE_HZ
_ENVELOPE = _envelope()
_FREQUENCY_HZ = 600.0 + 1000.0 * np.arange(BANDS)[:, None] + 200.0 * np.arange(TONES)
SAMPLES: NDArray[np.int16] = np.round(
    32_767 * PEAK * _ENVELOPE * np.sin(2 * np.pi * _FREQUENCY_HZ[..., None] * _TIME_S)
).astype(np.int16)
"""Every frame there is, as samples: shape (bands, tones, 160), int16."""
_PAYLOADS = [[mulaw.encode(SAMPLES[b, j]) for j in range(TONES)] for b in range(BANDS)]
SILENT_PAYLOAD = bytes([mulaw.SILENCE]) * FRAME_SAMPLES


def _projection() -> NDArray[np.float32]:
    """Columns (real and imaginary each): 15 matched tones, then the 60 bins of the three bands.

    Scaled so that a squared magnitude is the mean square that tone or bin adds to a frame.
    """
    weight = float((_ENVELOPE**2).sum())
    tones = _ENVELOPE * np.exp(-2j * np.pi * _FREQUENCY_HZ.reshape(-1, 1) * _TIME_S)
    bins = _FIRST_BIN + np.arange(BANDS * _BAND_BINS)
    spectrum = np.exp(-2j * np.pi * bins[:, None] * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES)
    rows = np.concatenate(
        (
            tones * np.sqrt(2 / (weight * FRAME_SAMPLES)),
            spectrum * np.sqrt(2) / FRAME_SAMPLES,
        )
    )
    return np.concatenate((rows.real, rows.imag)).T.astype(np.float32)


_PROJECTION = _projection()


def voice_index(slot: int) -> int:
    """Return the index that a voice sends in run-time slot `slot` (negative before the origin).

    >>> voice_index(0), voice_index(32_768), voice_index(-1)
    (0, 0, 32767)
    """
    return slot % HALF


def private_index(slot: int) -> int:
    """Return the index that a private source sends in run-time slot `slot`.

    >>> private_index(0), private_index(32_769)
    (32768, 32769)
    """
    return HALF + slot % HALF


def frame(band: int, index: int) -> bytes:
    """Return the µ-law payload (160 bytes) of sequence index `index` in band `band`.

    Raises IndexError outside 0..2 and 0..65535.
    """
    if band < 0 or index < 0:
        raise IndexError(f"no beacon frame of band {band}, index {index}")
    return _PAYLOADS[band][int(SEQUENCE[index])]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What frames hold. `symbols`: int8 (n, 3), tone 0..4 by band or -1. `loud`: bool (n,)."""

    symbols: NDArray[np.int8]
    loud: NDArray[np.bool_]


def decode_samples(samples: NDArray[np.int16]) -> Decoded:
    """Read frames of a mix; aligned frames only, as plain RTP through AudioBridge keeps them.

    samples: int16 (n, 160). A band holds a symbol when its loudest tone is above SILENCE_RMS and
    has more than PURITY of the energy in the band's 1000 Hz. A frame is loud when its RMS is at
    least SILENCE_RMS.
    """
    n = len(samples)
    x = samples.astype(np.float32) / 32_768
    half = _PROJECTION.shape[1] // 2
    projected = x @ _PROJECTION
    power = projected[:, :half] ** 2 + projected[:, half:] ** 2
    tones = power[:, : BANDS * TONES].reshape(n, BANDS, TONES)
    band = power[:, BANDS * TONES :].reshape(n, BANDS, _BAND_BINS).sum(axis=2)
    best = tones.argmax(axis=2)
    strength = np.take_along_axis(tones, best[..., None], axis=2)[..., 0]
    held = (strength > SILENCE_RMS**2) & (strength > PURITY * band)
    loud = np.square(x).mean(axis=1) >= SILENCE_RMS**2
    return Decoded(np.where(held, best, -1).astype(np.int8), loud)


def decode_payloads(payloads: Sequence[bytes]) -> Decoded:
    """Read µ-law payloads of 160 bytes each. Raises ValueError when one has another length."""
    if any(len(payload) != FRAME_SAMPLES for payload in payloads):
        raise ValueError(f"a frame has {FRAME_SAMPLES} µ-law bytes")
    return decode_samples(mulaw.decode(b"".join(payloads)).reshape(-1, FRAME_SAMPLES))


def window_index(symbols: NDArray[np.int8]) -> NDArray[np.int32]:
    """Return the index of the first symbol of every window of nine, -1 where there is none.

    symbols: int8 (..., t), -1 where nothing was decoded. Result: int32 (..., t - 8). One window of
    arbitrary tones without a repeat passes for some index by a chance of 1 in 5.
    Raises ValueError when t < 9.
    """
    if symbols.shape[-1] < WINDOW:
        raise ValueError(f"{symbols.shape[-1]} symbols hold no window of {WINDOW}")
    present = symbols >= 0
    step = (symbols[..., 1:] - symbols[..., :-1] - 1) % TONES
    valid = present[..., 1:] & present[..., :-1] & (step < TONES - 1)
    starts = symbols.shape[-1] - WINDOW + 1
    code = np.zeros((*symbols.shape[:-1], starts), dtype=np.int32)
    whole = np.ones(code.shape, dtype=np.bool_)
    for i in range(_DE_BRUIJN_ORDER):
        code = code * (TONES - 1) + step[..., i : i + starts]
        whole &= valid[..., i : i + starts]
    index = _INDEX_OF_STEPS[np.where(whole, code, 0)]
    whole &= SEQUENCE[index] == symbols[..., :starts]
    return np.where(whole, index, -1).astype(np.int32)
