"""G.711 µ-law against the decision values of the Recommendation."""

import numpy as np
import pytest

from chaoskit.audio import mulaw

pytestmark = pytest.mark.unit

ALL_CODES = bytes(range(256))


def test_silence_is_ff_and_decodes_to_zero() -> None:
    assert mulaw.encode(np.zeros(4, np.int16)) == bytes([mulaw.SILENCE]) * 4
    assert mulaw.decode(b"\xff\x7f").tolist() == [0, 0]


@pytest.mark.parametrize(
    ("code", "value"),
    # G.711 table 2a, decoder output y_n times 4: first of each segment, and the largest.
    [(0xFE, 8), (0xEF, 132), (0xDF, 396), (0xCF, 924), (0xBF, 1980), (0xAF, 4092), (0x9F, 8316),
     (0x8F, 16764), (0x80, 32124), (0x00, -32124)],
)  # fmt: skip
def test_codes_decode_to_the_values_of_the_table(code: int, value: int) -> None:
    assert mulaw.decode(bytes([code])).tolist() == [value]


def test_every_code_but_minus_zero_survives_a_round_trip() -> None:
    again = mulaw.encode(mulaw.decode(ALL_CODES))
    assert [code for code in range(256) if again[code] != code] == [0x7F]


def test_decoding_is_monotonic_and_odd() -> None:
    values = mulaw.decode(ALL_CODES).astype(int)
    assert (values[:128] == -values[128:]).all()
    assert (np.diff(values[:128]) > 0).all()


def test_encoding_picks_a_neighbouring_code_for_every_sample() -> None:
    samples = np.arange(-32_768, 32_768, dtype=np.int32).astype(np.int16)
    error = np.abs(mulaw.decode(mulaw.encode(samples)).astype(int) - samples.astype(int))
    step = np.maximum(8, np.abs(samples.astype(int)) >> 3)
    inside = np.abs(samples.astype(int)) <= 32_635
    assert (error[inside] <= step[inside]).all()


def test_what_is_beyond_the_largest_value_is_clipped() -> None:
    loud = np.array([32_767, -32_768], np.int16)
    assert mulaw.encode(loud) == b"\x80\x00"


def test_arrays_that_are_not_int16_are_refused() -> None:
    with pytest.raises(TypeError, match="float64"):
        mulaw.encode(np.zeros(4))  # type: ignore[arg-type]


def test_a_strided_array_is_read_in_order() -> None:
    samples = np.arange(0, 8_000, 1_000, dtype=np.int16)
    assert mulaw.encode(samples[::2]) == mulaw.encode(samples[::2].copy())
