"""Ear codes: what one ear heard in one 20 ms slot, as one byte.

Bits 0..2: the voice of band 0..2 was heard. Bits 3..5: the private source of band 0..2 was heard.
The rest are single values: 0 silent, 64 energy but no expected tone, 128 not judged in time, 192 howl,
255 no ear (before the first attempt, after leaving).
"""

SILENT = 0
VOICE_BITS = 0b0000_0111
PRIVATE_BITS = 0b0011_1000
CONCEALED = 64
UNJUDGED = 128
HOWL = 192
ABSENT = 255


def voice_bit(band: int) -> int:
    """Return the bit of the voice of `band` (0..2)."""
    return 1 << band


def private_bit(band: int) -> int:
    """Return the bit of the private source of `band` (0..2)."""
    return 8 << band
