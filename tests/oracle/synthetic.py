"""Signals with a known answer for the decoder: beacon frames, mixes, RTP streams. From the text."""

import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tests.oracle.decoder import FRAME, RATE_HZ, SEQUENCE, SLOT_S, Datagram, mulaw_samples

PEAK = 0.125
EDGE = 16
LINK = ("127.0.0.1", 9_000)
EAR = ("127.64.0.9", 41_000)

_CODES = mulaw_samples(bytes(range(256)))


def tone(band: int, index: int) -> NDArray[np.float64]:
    """Return the samples of one beacon frame, 1.0 = full scale."""
    hertz = 600 + 1000 * band + 200 * SEQUENCE[index]
    envelope = np.ones(FRAME)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(EDGE) + 0.5) / EDGE)
    envelope[:EDGE], envelope[-EDGE:] = rise, rise[::-1]
    wave: NDArray[np.float64] = (
        PEAK * envelope * np.sin(2 * np.pi * hertz * np.arange(FRAME) / RATE_HZ)
    )
    return wave


def encoded(samples: NDArray[np.float64]) -> bytes:
    """Return the µ-law bytes nearest to `samples`."""
    nearest = np.abs(_CODES[None, :] - samples[:, None]).argmin(axis=1)
    return bytes(nearest.astype(np.uint8))


def mix(*frames: tuple[int, int]) -> bytes:
    """Return the payload of a mix of (band, index) frames, each through µ-law of its own before."""
    total = np.zeros(FRAME)
    for band, index in frames:
        total += mulaw_samples(encoded(tone(band, index)))
    return encoded(total)


def rtp(payload: bytes, *, timestamp: int, sequence: int = 0, ssrc: int = 7) -> bytes:
    """Return an RTP packet of payload type 0."""
    return struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, timestamp % 2**32, ssrc) + payload


def stream(
    payloads: Iterable[bytes | None],
    *,
    first_at_s: float,
    timestamp: int = 0,
    ssrc: int = 7,
    delay_s: float = 0.0,
) -> list[Datagram]:
    """Return one datagram for each payload, 20 ms apart; None = lost on the way."""
    return [
        Datagram(
            first_at_s + n * SLOT_S + delay_s,
            LINK,
            EAR,
            rtp(payload, timestamp=timestamp + n * FRAME, sequence=n, ssrc=ssrc),
        )
        for n, payload in enumerate(payloads)
        if payload is not None
    ]
