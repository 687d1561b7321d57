"""G.711 µ-law, encoded and decoded by table.

Source: ITU-T Recommendation G.711 (11/88), table 2a and 2b, in the usual 16-bit form (bias 132,
clip 32635: the 14-bit values of the tables times four, as in ITU-T G.191).
"""

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8_000
SILENCE = 0xFF
"""The byte of sample value 0."""

_BIAS = 0x84
_CLIP = 32_635


def _decode_table() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent, mantissa = (code >> 4) & 0x07, code & 0x0F
    magnitude = (((mantissa << 3) + _BIAS) << exponent) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _encode_table() -> NDArray[np.uint8]:
    # Indexed by the 16-bit pattern of the sample, so that no sign handling is left to the caller.
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    biased = np.minimum(np.abs(sample), _CLIP) + _BIAS
    exponent = np.log2(biased).astype(np.int32) - 7
    mantissa = (biased >> (exponent + 3)) & 0x0F
    sign = np.where(sample < 0, 0x80, 0)
    code: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return code


_DECODE = _decode_table()
_ENCODE = _encode_table()


def decode(payload: bytes | bytearray | memoryview) -> NDArray[np.int16]:
    """Return the samples of a µ-law payload: shape (len(payload),), int16, -32124..32124."""
    return _DECODE[np.frombuffer(payload, dtype=np.uint8)]


def encode(samples: NDArray[np.int16]) -> bytes:
    """Return the µ-law bytes of `samples`, one a sample.

    samples: int16, any shape, read in C order. Values beyond ±32635 are clipped, as G.711 does.
    Raises TypeError when the array is not int16: a float array would be read as noise.
    """
    if samples.dtype != np.int16:
        raise TypeError(f"µ-law encodes int16 samples, not {samples.dtype}")
    return _ENCODE[np.ascontiguousarray(samples).view(np.uint16)].tobytes()
