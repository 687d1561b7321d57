"""A second ear: from one listener's captured datagrams to who was heard in each 20 ms slot.

Written from the text of the beacon (audio reference section 3, DESIGN section 10) and importing
nothing from chaoskit, so that the product and this file can only agree by both being right.

    tone      band b, symbol j: 600 + 1000 b + 200 j Hz; a frame is 160 samples at 8 kHz, µ-law
    symbols   s[i+1] = (s[i] + 1 + d[i]) mod 5 with d = de Bruijn(4, 8), 65,536 of them
    index     0..32767 the speaker's voice, 32768..65535 its private source, each a ring
    playout   a stream's first datagram plays 100 ms after it came, rounded up to the next slot of
              the run's grid, later ones by timestamp; what comes after its slot began is not heard
    lock      nine symbols in a row tell the index; four such windows in a row with one lag lock
    heard     the symbol fits the lock that covers the slot, else the one before or after it
"""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8_000
FRAME = 160
SLOT_S = 0.020
PLAYOUT_S = 0.100
BANDS = 3
TONES = 5
HALF = 32_768
WINDOW = 9
AGREEING = 4
SILENCE_RMS = 10 ** (-50 / 20)
PURITY = 0.5
NONE = 255
"""No symbol."""

_BIN_HZ = RATE_HZ / FRAME  # 50 Hz: every tone sits on a bin of its own
_WINDOW = np.hanning(FRAME + 1)[:-1]
_PCMU = 0


def de_bruijn(letters: int, order: int) -> bytes:
    """Return the lexicographically least de Bruijn sequence, by Martin's greedy rule (1934).

    Start behind the highest letters and always append the least letter that makes a new word.
    """
    seen = set()
    out = bytearray([letters - 1] * (order - 1))
    for _ in range(letters**order):
        tail = bytes(out[-(order - 1) :])
        letter = next(x for x in range(letters) if tail + bytes([x]) not in seen)
        seen.add(tail + bytes([letter]))
        out.append(letter)
    return bytes(out[order - 1 :])


def _symbols() -> bytes:
    out = bytearray([0])
    for step in de_bruijn(TONES - 1, WINDOW - 1)[:-1]:
        out.append((out[-1] + 1 + step) % TONES)
    return bytes(out)


SEQUENCE = _symbols()
_INDEX = {
    SEQUENCE[i : i + WINDOW]: i for half in (0, HALF) for i in range(half, half + HALF - WINDOW + 1)
}


# --- one datagram --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram as captured; `at_s` on the same clock as the run's origin."""

    at_s: float
    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes


@dataclass(frozen=True, slots=True)
class Rtp:
    """What the ear needs of an RTP packet (RFC 3550)."""

    ssrc: int
    timestamp: int
    payload: bytes


def parse_rtp(data: bytes) -> Rtp | None:
    """Return a 20 ms µ-law packet, None for anything else."""
    if len(data) != 12 + FRAME or data[0] != 0x80 or data[1] & 0x7F != _PCMU:
        return None
    timestamp, ssrc = struct.unpack_from("!II", data, 4)
    return Rtp(ssrc, timestamp, data[12:])


def _decoded_byte(byte: int) -> float:
    """Return the sample that a µ-law byte stands for, 1.0 = full scale (ITU-T G.711)."""
    inverted = byte ^ 0xFF
    segment, step = (inverted >> 4) & 7, inverted & 15
    magnitude = ((2 * step + 33) << segment) - 33  # 14 bits
    return (-magnitude if inverted & 0x80 else magnitude) / 8_192


_MULAW = np.array([_decoded_byte(byte) for byte in range(256)])


def mulaw_samples(payload: bytes) -> NDArray[np.float64]:
    """Return the samples of µ-law bytes, 1.0 = full scale."""
    samples: NDArray[np.float64] = _MULAW[np.frombuffer(payload, dtype=np.uint8)]
    return samples


@dataclass(frozen=True, slots=True)
class Frames:
    """Symbols uint8 (n, 3), NONE where a band holds none; loud bool (n,): at least -50 dBFS."""

    symbols: NDArray[np.uint8]
    loud: NDArray[np.bool_]


def read_frames(payloads: Sequence[bytes]) -> Frames:
    """Decode µ-law payloads of 160 bytes; in each band the loudest tone counts if it is pure.

    Pure: more than half of the energy of its band, not of all, for others talk in other bands.
    """
    samples = mulaw_samples(b"".join(payloads)).reshape(-1, FRAME)
    # The window keeps a tone out of the next band. Scaled to the mean square of each bin.
    power = 2 * np.abs(np.fft.rfft(samples * _WINDOW, axis=1)) ** 2 / (FRAME * (_WINDOW**2).sum())
    symbols = np.full((len(samples), BANDS), NONE, dtype=np.uint8)
    for band in range(BANDS):
        first = round((500 + 1000 * band) / _BIN_HZ)
        whole = power[:, first : first + 20].sum(axis=1)
        tones = np.stack(
            [power[:, first + 4 * j + 1 : first + 4 * j + 4].sum(axis=1) for j in range(TONES)]
        )
        strength = tones.max(axis=0)
        held = (strength > PURITY * whole) & (strength > SILENCE_RMS**2)
        symbols[held, band] = tones.argmax(axis=0)[held]
    return Frames(symbols, np.square(samples).mean(axis=1) >= SILENCE_RMS**2)


# --- the playout buffer --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Played:
    """What one ear played: payload by slot, and how many datagrams came too late."""

    payloads: dict[int, bytes]
    late: int


def play(datagrams: Iterable[Datagram], origin_s: float) -> Played:
    """Put the datagrams of one listener, in order of arrival, into slots of the run's grid."""
    payloads: dict[int, bytes] = {}
    late = 0
    stream: tuple[tuple[str, int], int] | None = None
    base_slot = base_timestamp = 0
    for datagram in datagrams:
        if datagram.data.startswith(b"CKPEERED"):
            stream = None  # the link has a new peer: a fresh join
        packet = parse_rtp(datagram.data)
        if packet is None:
            continue
        if stream != (datagram.target, packet.ssrc):
            stream = (datagram.target, packet.ssrc)
            base_timestamp = packet.timestamp
            base_slot = math.ceil((datagram.at_s + PLAYOUT_S - origin_s) / SLOT_S - 1e-6)
        elapsed = (packet.timestamp - base_timestamp + 2**31) % 2**32 - 2**31
        slot = base_slot + elapsed // FRAME
        if datagram.at_s <= origin_s + slot * SLOT_S:
            payloads[slot] = packet.payload
        else:
            late += 1
    return Played(payloads, late)


# --- who was heard -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """By slot 0..n-1: bit b of `voices` or `private` = band b heard; `loud` = anything played."""

    voices: NDArray[np.uint8]
    private: NDArray[np.uint8]
    loud: NDArray[np.bool_]
    late: int


def hear(datagrams: Iterable[Datagram], origin_s: float, slots: int) -> Heard:
    """Return who one listener heard in each slot of the run, from its captured datagrams."""
    played = play(datagrams, origin_s)
    unique = sorted(set(played.payloads.values()))
    frames = read_frames(unique)
    row = {payload: i for i, payload in enumerate(unique)}
    symbols = np.full((slots, BANDS), NONE, dtype=np.uint8)
    loud = np.zeros(slots, dtype=np.bool_)
    for slot, payload in played.payloads.items():
        if 0 <= slot < slots:
            symbols[slot] = frames.symbols[row[payload]]
            loud[slot] = frames.loud[row[payload]]
    voices, private = np.zeros(slots, dtype=np.uint8), np.zeros(slots, dtype=np.uint8)
    for band in range(BANDS):
        for slot, index in enumerate(follow(symbols[:, band].tobytes())):
            if index is not None:
                (voices if index < HALF else private)[slot] |= 1 << band
    return Heard(voices, private, loud, played.late)


@dataclass(frozen=True, slots=True)
class _Lock:
    """Slots first..last heard one source without a break. `base`: first index of its half."""

    first: int
    last: int
    base: int
    lag: int

    def index(self, slot: int) -> int:
        return self.base + (slot - self.lag) % HALF


def _locks(symbols: bytes) -> list[_Lock]:
    found: list[_Lock] = []
    run = 0
    previous: tuple[int, int] | None = None
    for slot in range(len(symbols) - WINDOW + 1):
        index = _INDEX.get(symbols[slot : slot + WINDOW])
        named = None if index is None else (index // HALF * HALF, (slot - index) % HALF)
        run = run + 1 if named == previous else 1
        previous = named
        if named is None or run < AGREEING:
            continue
        if run > AGREEING:
            found.pop()  # the same lock, now one slot longer
        found.append(_Lock(slot - run + 1, slot + WINDOW - 1, *named))
    return found


def follow(symbols: bytes) -> list[int | None]:
    """Return the index heard in each slot of one band, None where nothing fits a lock."""
    heard: list[int | None] = [None] * len(symbols)
    locks = _locks(symbols)
    before: _Lock | None = None
    upcoming = 0
    for slot, symbol in enumerate(symbols):
        while upcoming < len(locks) and locks[upcoming].first <= slot:
            before, upcoming = locks[upcoming], upcoming + 1
        after = locks[upcoming] if upcoming < len(locks) else None
        covered = before is not None and slot <= before.last
        for lock in (before,) if covered else (before, after):
            if lock is not None and SEQUENCE[lock.index(slot)] == symbol:
                heard[slot] = lock.index(slot)
                break
    return heard
