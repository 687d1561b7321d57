"""RTP headers, packed and parsed (RFC 3550 section 5.1, section 5.3.1 for the extension)."""

import struct
from dataclasses import dataclass

HEADER_BYTES = 12
PCMU = 0
"""Payload type of G.711 µ-law at 8 kHz (RFC 3551 table 4)."""
FRAME_SAMPLES = 160
"""Samples, and with µ-law bytes, of one 20 ms frame at 8 kHz."""
PACKET_BYTES = HEADER_BYTES + FRAME_SAMPLES

_HEADER = struct.Struct("!BBHII")
_VERSION_2 = 0x80


class NotRtp(ValueError):
    """A datagram that cannot be RTP version 2."""


@dataclass(frozen=True, slots=True)
class RtpHeader:
    """The fixed header. `sequence` is modulo 2^16, `timestamp` in samples modulo 2^32."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool = False


def pack_header(header: RtpHeader) -> bytes:
    """Return the 12 bytes of `header`; numbers are taken modulo their width."""
    return _HEADER.pack(
        _VERSION_2,
        (0x80 if header.marker else 0) | (header.payload_type & 0x7F),
        header.sequence & 0xFFFF,
        header.timestamp & 0xFFFFFFFF,
        header.ssrc & 0xFFFFFFFF,
    )


def pack(header: RtpHeader, payload: bytes) -> bytes:
    """Return one RTP packet."""
    return pack_header(header) + payload


def parse(datagram: bytes) -> tuple[RtpHeader, bytes]:
    """Return header and payload; CSRC list, header extension and padding are stepped over.

    Raises NotRtp when `datagram` is shorter than it says or not RTP version 2.
    """
    size = len(datagram)
    if size < HEADER_BYTES:
        raise NotRtp(f"{size} bytes are less than an RTP header")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram)
    if first >> 6 != 2:
        raise NotRtp(f"version {first >> 6} is not RTP version 2")
    start = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        if size < start + 4:
            raise NotRtp("the header extension is cut short")
        start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
    end = size
    if first & 0x20:
        end -= datagram[-1]
    if start > end:
        raise NotRtp(f"{size} bytes are less than the header and padding announce")
    header = RtpHeader(second & 0x7F, sequence, timestamp, ssrc, marker=bool(second & 0x80))
    return header, datagram[start:end]


def sequence_step(earlier: int, later: int) -> int:
    """Return how far `later` is ahead of `earlier`, modulo 2^16: -32768..32767, 0 for a duplicate.

    >>> sequence_step(65_535, 2), sequence_step(2, 65_535)
    (3, -3)
    """
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000
