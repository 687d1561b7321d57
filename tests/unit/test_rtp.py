"""RTP headers: the packed bytes, the parser's limits, and sequence arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.wire.rtp import NotRtp, RtpHeader, pack, parse, sequence_step

pytestmark = pytest.mark.unit

headers = st.builds(
    RtpHeader,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    marker=st.booleans(),
)


def test_a_packed_header_is_what_rfc_3550_draws() -> None:
    header = RtpHeader(payload_type=0, sequence=0x0102, timestamp=0x03040506, ssrc=0x0708090A)
    assert pack(header, b"\xff\x7f") == bytes.fromhex("8000 0102 03040506 0708090a ff7f")


@given(headers, st.binary(max_size=200))
def test_what_was_packed_is_parsed(header: RtpHeader, payload: bytes) -> None:
    assert parse(pack(header, payload)) == (header, payload)


def test_sequence_and_timestamp_wrap_when_packed() -> None:
    header, _ = parse(pack(RtpHeader(0, 0x1_0005, 0x1_0000_00A0, 0x1_0000_0001), b""))
    assert (header.sequence, header.timestamp, header.ssrc) == (5, 160, 1)


def test_contributing_sources_extension_and_padding_are_stepped_over() -> None:
    fixed = bytes.fromhex(
        "b2e4 0001 00000000 00000007"
    )  # V2, padding, extension, 2 CSRC, marker, 100
    sources, extension = b"\0" * 8, bytes.fromhex("bede0001") + b"\0" * 4
    header, payload = parse(fixed + sources + extension + b"voice" + b"\0\0\x03")
    assert payload == b"voice"
    assert (header.payload_type, header.marker) == (100, True)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x80" * 11,
        b"\x00" * 12,
        b"CKOPEN 12345",
        b"\x81" + b"\0" * 11,
        b"\x90" + b"\0" * 11,
        b"\x90" + b"\0" * 11 + b"\0\0\0\x01",
        b"\xa0" + b"\0" * 10 + b"\x05",
    ],
)
def test_what_is_shorter_than_it_says_or_no_rtp_is_refused(datagram: bytes) -> None:
    with pytest.raises(NotRtp):
        parse(datagram)


@given(st.integers(0, 0xFFFF), st.integers(-0x8000, 0x7FFF))
def test_a_step_is_found_again_across_the_wrap(start: int, step: int) -> None:
    assert sequence_step(start, (start + step) & 0xFFFF) == step
