"""The judgement at the ear: codes from symbols, whatever is lost, moved, mixed or foreign."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chaoskit.audio import beacon, listening, mulaw

pytestmark = pytest.mark.unit

AHEAD = 20
CHUNK = 25


def judged(
    symbols: NDArray[np.int8],
    loud: NDArray[np.bool_] | None = None,
    *,
    first_slot: int = 0,
    chunk: int = CHUNK,
    ahead: int = AHEAD,
) -> listening.Judged:
    """Judge (ears, bands, slots) as a shard does: chunk by chunk, a little behind.

    The last `ahead` slots of `symbols` only look ahead.
    """
    sound = np.any(symbols >= 0, axis=1) if loud is None else loud
    judge = listening.Judge(symbols.shape[0], first_slot)
    codes, index = [], []
    at, end = 0, symbols.shape[2] - ahead
    while at < end:
        upto = min(at + chunk, end)
        part = judge.judge(
            symbols[:, :, at : upto + ahead], sound[:, at : upto + ahead], ahead=ahead
        )
        codes.append(part.codes)
        index.append(part.index)
        at = upto
    return listening.Judged(np.concatenate(codes, axis=1), np.concatenate(index, axis=2))


def one_ear(band: int, indices: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the symbols (1, 3, slots) of an ear that plays `indices` of one band, -1 = nothing."""
    symbols = np.full((1, 3, len(indices)), -1, dtype=np.int8)
    symbols[0, band] = np.where(indices >= 0, beacon.SEQUENCE[indices], -1)
    return symbols


def voice(start: int, slots: int) -> NDArray[np.int64]:
    """Return the voice indices of consecutive slots."""
    return (start + np.arange(slots)) % beacon.HALF


@pytest.mark.parametrize("band", [0, 1, 2])
@pytest.mark.parametrize("start", [0, 12_345, 32_700])
def test_a_clean_stream_is_heard_from_its_first_frame(band: int, start: int) -> None:
    indices = voice(start, 400 + AHEAD)
    result = judged(one_ear(band, indices))
    assert (result.codes == 1 << band).all()
    assert (result.index[0, band] == indices[:400]).all()
    assert (np.delete(result.index[0], band, axis=0) == -1).all()


def test_slots_before_the_run_can_be_judged() -> None:
    result = judged(one_ear(0, voice(0, 120)), first_slot=-50)
    assert (result.codes == 1).all()


@settings(max_examples=40, deadline=None)
@given(
    start=st.integers(0, 32_767),
    lost=st.sets(st.integers(0, 299), max_size=60),
    chunk=st.integers(1, 60),
)
def test_lost_frames_are_silent_and_no_others(start: int, lost: set[int], chunk: int) -> None:
    indices = voice(start, 300 + AHEAD)
    indices[list(lost)] = -1
    result = judged(one_ear(1, indices), chunk=chunk)
    assert (result.codes[0] == np.where(indices[:300] >= 0, 2, listening.SILENT)).all()


@pytest.mark.parametrize("seed", range(20))
def test_thirty_percent_random_loss_reads_exactly_as_it_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    indices = np.tile(voice(int(rng.integers(0, 32_768)), 1_000 + AHEAD), (20, 1))
    lost = rng.random(indices.shape) < 0.3
    symbols = np.full((20, 3, 1_000 + AHEAD), -1, dtype=np.int8)
    symbols[:, 2] = np.where(lost, -1, beacon.SEQUENCE[indices])
    codes = judged(symbols).codes
    expected = np.where(lost[:, :1_000], listening.SILENT, 4)
    assert (codes == expected).mean() > 0.9995
    assert (codes[:, 50:] == expected[:, 50:]).all()


def test_a_long_outage_is_exactly_as_long_as_it_was() -> None:
    indices = voice(500, 600 + AHEAD)
    indices[200:300] = -1
    codes = judged(one_ear(0, indices)).codes[0]
    assert np.flatnonzero(codes == listening.SILENT).tolist() == list(range(200, 300))
    assert (codes == 1).sum() == 500


@pytest.mark.parametrize("region", [(0, 2_000), (2_000, 8_000), (8_000, 32_768)])
@pytest.mark.parametrize("chunk", [10, 25])
def test_a_mixer_that_jumps_ahead_or_back_costs_next_to_nothing(
    region: tuple[int, int], chunk: int
) -> None:
    rng = np.random.default_rng(region[0])
    lost, total = [], 0
    for _ in range(60):
        at, lag, parts = int(rng.integers(*region)), 0, []
        jumps = int(rng.integers(1, 8))
        for _ in range(jumps):
            length = int(rng.integers(9, 60))
            parts.append(voice(at + lag, length))
            at += length
            lag += int(rng.integers(1, 13) * rng.choice([-1, 1]))
        parts.append(voice(at + lag, 100 + AHEAD))
        codes = judged(one_ear(0, np.concatenate(parts)), chunk=chunk).codes[0]
        lost.append((codes != 1).sum())
        total += jumps
    assert sum(lost) <= 0.5 * total
    assert np.median(lost) == 0


@pytest.mark.parametrize("seed", range(10))
def test_loss_on_the_way_in_jumps_the_mix_and_stays_heard(seed: int) -> None:
    # AudioBridge takes one queued packet a tick: a lost one shortens the queue, silence at its end.
    rng = np.random.default_rng(seed)
    queue, sent, played = 6, 1_000 + 3_000 * seed, []
    for _ in range(1_000 + AHEAD):
        arrived = rng.random() >= 0.1
        sent += 1
        if not arrived and queue == 0:
            played.append(-1)
            continue
        queue -= 0 if arrived else 1
        played.append(sent - queue)
    indices = np.array(played, dtype=np.int64)
    codes = judged(one_ear(0, indices)).codes[0]
    due = indices[:1_000] >= 0
    assert (codes[~due] == listening.SILENT).all()
    assert (codes[due] == 1).mean() > 0.985


def test_a_jump_to_another_room_relocks_without_loss() -> None:
    indices = np.concatenate((voice(100, 100), voice(20_000, 100 + AHEAD)))
    codes = judged(one_ear(0, indices)).codes[0]
    assert (codes == 1).all()


def test_the_private_source_is_told_from_the_voice() -> None:
    private = 40_000 + np.arange(100, dtype=np.int64)
    indices = np.concatenate((voice(7_000, 100), private, voice(7_200, 100 + AHEAD)))
    result = judged(one_ear(1, indices))
    # The first symbols of one source may also be what the other would have sent next.
    assert (result.codes[0] != np.repeat([2, 16, 2], 100)).sum() <= 2 * 3
    assert (listening.voice_mask(result.codes)[0, 110:190] == 0).all()
    assert (listening.private_mask(result.codes)[0, 110:190] == 2).all()
    assert (listening.voice_mask(result.codes)[0, 210:] == 2).all()
    assert listening.is_heard(result.codes).all()


def test_a_voice_heard_while_another_source_is_private_has_both_bits() -> None:
    symbols = one_ear(0, voice(10, 100 + AHEAD))
    symbols[:, 2] = one_ear(2, 50_000 + np.arange(100 + AHEAD))[:, 2]
    assert (judged(symbols).codes == 1 | 32).all()


@pytest.mark.parametrize("talkers", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_talkers_mixed_through_two_mulaw_stages_are_all_heard(talkers: tuple[int, ...]) -> None:
    slots = 300 + AHEAD
    payloads = []
    for n in range(slots):
        total = np.zeros(160, dtype=np.int32)
        for band in talkers:
            total += mulaw.decode(beacon.frame(band, beacon.voice_index(1_000 * band + n)))
        payloads.append(mulaw.encode(total.astype(np.int16)))
    decoded = beacon.decode_payloads(payloads)
    result = judged(decoded.symbols.T[None].copy(), decoded.loud[None])
    assert (result.codes == sum(1 << band for band in talkers)).all()


def noise(rng: np.random.Generator) -> NDArray[np.int16]:
    return (rng.standard_normal((3_000, 160)) * 3_000).astype(np.int16)


def random_tones(rng: np.random.Generator) -> NDArray[np.int16]:
    return np.asarray(beacon.SAMPLES[1, rng.integers(0, 5, 3_000)])


def steady_tone(rng: np.random.Generator) -> NDArray[np.int16]:
    return np.asarray(beacon.SAMPLES[1, np.full(3_000, rng.integers(0, 5))])


@pytest.mark.parametrize(
    ("sound", "allowed"), [(noise, 0.0), (random_tones, 0.02), (steady_tone, 0)]
)
def test_foreign_sound_is_concealed_and_not_heard(
    sound: Callable[[np.random.Generator], NDArray[np.int16]], allowed: float
) -> None:
    decoded = beacon.decode_samples(sound(np.random.default_rng(11)))
    codes = judged(decoded.symbols.T[None].copy(), decoded.loud[None]).codes
    assert listening.is_heard(codes).mean() <= allowed
    assert (codes[~listening.is_heard(codes)] == listening.CONCEALED).all()


def test_silence_is_silent_and_a_silent_datagram_too() -> None:
    symbols = np.full((2, 3, 100), -1, dtype=np.int8)
    loud = np.zeros((2, 100), dtype=np.bool_)
    assert (judged(symbols, loud).codes == listening.SILENT).all()


def test_sound_after_a_lock_that_fits_no_lag_is_concealed() -> None:
    rng = np.random.default_rng(2)
    symbols = one_ear(0, voice(0, 300 + AHEAD))
    symbols[0, 0, 100:200] = -1
    loud = np.ones((1, 300 + AHEAD), dtype=np.bool_)
    codes = judged(symbols, loud).codes[0]
    assert (codes[100:200] == listening.CONCEALED).all()
    symbols[0, 0, 100:200] = rng.integers(0, 5, 100)
    codes = judged(symbols, loud).codes[0]
    assert (codes[100:200] == listening.CONCEALED).mean() > 0.6


def test_ears_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(4)
    starts = rng.integers(0, 32_768, 50)
    symbols = np.concatenate(
        [one_ear(i % 3, voice(int(s), 200 + AHEAD)) for i, s in enumerate(starts)]
    )
    symbols[rng.random(symbols.shape) < 0.2] = -1
    together = judged(symbols)
    for ear in (0, 17, 49):
        alone = judged(symbols[ear : ear + 1])
        assert (alone.codes[0] == together.codes[ear]).all()


def test_wrong_shapes_are_refused() -> None:
    judge = listening.Judge(2, 0)
    with pytest.raises(ValueError, match="not 2 ears"):
        judge.judge(np.zeros((1, 3, 30), dtype=np.int8), np.zeros((1, 30), dtype=np.bool_))


def test_codes_that_are_not_heard_have_no_masks() -> None:
    codes = np.array(
        [
            listening.SILENT,
            listening.CONCEALED,
            listening.UNJUDGED,
            listening.HOWL,
            listening.ABSENT,
        ],
        dtype=np.uint8,
    )
    assert not listening.is_heard(codes).any()
    assert not listening.voice_mask(codes).any()
    assert not listening.private_mask(codes).any()
