"""The beacon: its sequence, its frames, and reading them out of mixes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chaoskit.audio import beacon, mulaw

pytestmark = pytest.mark.unit


def mix_of(talkers: dict[int, list[int]]) -> list[bytes]:
    """Return the payloads of an AudioBridge-like mix: each talker decoded, summed, encoded again.

    talkers: band → indices, one a frame; all of one length.
    """
    payloads = []
    for indices in zip(*talkers.values(), strict=True):
        total = np.zeros(beacon.FRAME_SAMPLES, dtype=np.int32)
        for band, index in zip(talkers, indices, strict=True):
            total += mulaw.decode(beacon.frame(band, index))
        payloads.append(mulaw.encode(total.astype(np.int16)))
    return payloads


def test_no_symbol_repeats_and_the_sequence_closes_on_itself() -> None:
    assert beacon.SEQUENCE.shape == (65_536,)
    assert set(beacon.SEQUENCE.tolist()) == {0, 1, 2, 3, 4}
    assert (np.diff(np.append(beacon.SEQUENCE, beacon.SEQUENCE[0])) != 0).all()


def test_every_window_of_nine_tells_its_own_index() -> None:
    ring = np.append(beacon.SEQUENCE, beacon.SEQUENCE[: beacon.WINDOW - 1])
    assert (beacon.window_index(ring) == np.arange(65_536)).all()


@pytest.mark.parametrize(("letters", "order"), [(2, 3), (3, 4), (4, 5)])
def test_a_de_bruijn_sequence_holds_every_word_once(letters: int, order: int) -> None:
    ring = beacon.de_bruijn(letters, order).tolist()
    words = {tuple((ring + ring)[i : i + order]) for i in range(len(ring))}
    assert len(ring) == len(words) == letters**order


@pytest.mark.parametrize("hole", range(9))
def test_a_window_with_a_missing_symbol_tells_nothing(hole: int) -> None:
    symbols = beacon.SEQUENCE[1_000:1_009].copy()
    assert beacon.window_index(symbols) == [1_000]
    symbols[hole] = -1
    assert beacon.window_index(symbols) == [-1]


def test_fewer_than_nine_symbols_are_refused() -> None:
    with pytest.raises(ValueError, match="8 symbols"):
        beacon.window_index(beacon.SEQUENCE[:8])


@pytest.mark.parametrize(("band", "tone"), [(b, j) for b in range(3) for j in range(5)])
def test_a_frame_is_one_tone_at_minus_18_dbfs_with_soft_edges(band: int, tone: int) -> None:
    index = int(np.flatnonzero(tone == beacon.SEQUENCE)[0])
    payload = beacon.frame(band, index)
    samples = mulaw.decode(payload) / 32_768
    assert len(payload) == 160
    assert 0.117 < np.abs(samples).max() < 0.127  # 800 Hz misses its own peaks at 8 kHz
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * 50 == 600 + 1_000 * band + 200 * tone
    assert np.abs(samples[[0, -1]]).max() < 0.002


@pytest.mark.parametrize(("band", "index"), [(3, 0), (-1, 0), (0, 65_536), (0, -1)])
def test_frames_that_do_not_exist_are_refused(band: int, index: int) -> None:
    with pytest.raises(IndexError):
        beacon.frame(band, index)


def test_indices_are_a_function_of_the_slot_in_two_halves() -> None:
    assert [beacon.voice_index(n) for n in (-1, 0, 32_767, 32_768)] == [32_767, 0, 32_767, 0]
    assert [beacon.private_index(n) for n in (-1, 0, 32_768)] == [65_535, 32_768, 32_768]


@settings(max_examples=30, deadline=None)
@given(
    bands=st.sets(st.integers(0, 2), min_size=1),
    starts=st.lists(st.integers(0, 65_535), min_size=3, max_size=3),
)
def test_any_talkers_mixed_through_two_mulaw_stages_are_all_read(
    bands: set[int], starts: list[int]
) -> None:
    indices = {b: [(starts[b] + i) % 65_536 for i in range(40)] for b in sorted(bands)}
    decoded = beacon.decode_payloads(mix_of(indices))
    for band in range(3):
        expected: NDArray[np.int8] | int = beacon.SEQUENCE[indices[band]] if band in bands else -1
        assert (decoded.symbols[:, band] == expected).all()
    assert decoded.loud.all()


def test_every_combination_of_three_tones_is_read() -> None:
    tones = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    encoded = mulaw.decode(mulaw.encode(beacon.SAMPLES)).reshape(3, 5, 160)
    mix = sum(encoded[b, tones[:, b]].astype(np.int32) for b in range(3))
    assert np.abs(mix).max() < 16_384
    heard = beacon.decode_payloads(
        [mulaw.encode(frame) for frame in np.asarray(mix).astype(np.int16)]
    )
    assert (heard.symbols == tones).all()


@pytest.mark.parametrize("rms", [0.0, 0.002, 0.01, 0.1, 0.2])
def test_silence_and_noise_hold_no_symbols(rms: float) -> None:
    rng = np.random.default_rng(3)
    noise = np.clip(rng.standard_normal((20_000, 160)) * rms, -1, 0.999)
    decoded = beacon.decode_samples((noise * 32_768).astype(np.int16))
    assert (decoded.symbols == -1).all()
    assert decoded.loud.all() == (rms > 0.0032)
    assert decoded.loud.any() == (rms > 0.0032)


def test_the_silent_payload_is_silent() -> None:
    decoded = beacon.decode_payloads([beacon.SILENT_PAYLOAD])
    assert not decoded.loud.any()
    assert (decoded.symbols == -1).all()


def test_a_talker_survives_noise_25_db_below_it() -> None:
    rng = np.random.default_rng(5)
    tones = rng.integers(0, 5, 2_000)
    noise = rng.standard_normal((2_000, 160)) * 32_768 * 0.082 * 10 ** (-25 / 20)
    noisy = (beacon.SAMPLES[1, tones] + noise).astype(np.int16)
    assert (beacon.decode_samples(noisy).symbols[:, 1] == tones).all()


def test_payloads_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="160"):
        beacon.decode_payloads([bytes(159)])
