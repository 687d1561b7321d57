"""The oracle's own ear on signals whose answer is known."""

from itertools import pairwise

import numpy as np
import pytest

from tests.oracle import decoder, synthetic
from tests.oracle.decoder import HALF, SEQUENCE, SLOT_S, Datagram
from tests.oracle.synthetic import mix, stream

pytestmark = pytest.mark.oracle

ORIGIN_S = 1000.0
SILENCE = b"\xff" * 160
LEAD = 6
"""Slots between the first datagram of a stream on the grid's 3 ms and its own playing."""


def spoken(slots: range, *bands: int, lag: int = 0) -> list[bytes | None]:
    """What a room sends in `slots` when the voices of `bands` are on air."""
    return [mix(*((band, (slot - lag) % HALF) for band in bands)) for slot in slots]


def heard(datagrams: list[Datagram], slots: int) -> decoder.Heard:
    return decoder.hear(datagrams, ORIGIN_S, slots)


def test_the_sequence_never_repeats_within_nine_symbols() -> None:
    windows = {SEQUENCE[i : i + 9] for i in range(len(SEQUENCE) - 8)}
    assert len(SEQUENCE) == 65_536
    assert len(windows) == 65_528
    assert all(a != b for a, b in pairwise(SEQUENCE))


def test_the_least_binary_de_bruijn_sequence_of_order_four_is_the_known_one() -> None:
    assert decoder.de_bruijn(2, 4) == bytes(int(bit) for bit in "0000100110101111")


@pytest.mark.parametrize(
    ("byte", "sample"),
    [(0xFF, 0), (0x7F, 0), (0x80, 8031), (0x00, -8031), (0xF0, 30), (0xEF, 33), (0xC0, 471)],
)
def test_mulaw_bytes_stand_for_the_values_of_g711(byte: int, sample: int) -> None:
    assert decoder.mulaw_samples(bytes([byte]))[0] * 8192 == sample


def test_every_tone_of_every_band_is_read() -> None:
    first = {SEQUENCE[i]: i for i in range(200)}
    for band in range(3):
        frames = decoder.read_frames([mix((band, first[symbol])) for symbol in range(5)])
        assert list(frames.symbols[:, band]) == [0, 1, 2, 3, 4]
        others = [b for b in range(3) if b != band]
        assert (frames.symbols[:, others] == decoder.NONE).all()
        assert frames.loud.all()


def test_three_talkers_in_one_mix_are_told_apart() -> None:
    frames = decoder.read_frames([mix((0, i), (1, i + 50), (2, i + 90)) for i in range(300)])
    wanted = [[SEQUENCE[i], SEQUENCE[i + 50], SEQUENCE[i + 90]] for i in range(300)]
    assert frames.symbols.tolist() == wanted


def test_silence_and_noise_hold_no_symbol() -> None:
    rng = np.random.default_rng(1)
    noise = [synthetic.encoded(rng.normal(0, 0.1, 160)) for _ in range(300)]
    frames = decoder.read_frames([SILENCE, *noise])
    assert not frames.loud[0]
    assert (frames.symbols[0] == decoder.NONE).all()
    assert frames.loud[1:].all()
    # Noise passes for a tone now and then, but never nine times in a row.
    assert (frames.symbols[1:] == decoder.NONE).mean() > 0.8
    result = heard(stream(noise, first_at_s=ORIGIN_S), 400)
    assert not result.voices.any()
    assert not result.private.any()


def test_a_stream_plays_100_ms_after_its_first_datagram_rounded_up_to_the_grid() -> None:
    result = heard(stream(spoken(range(50), 0), first_at_s=ORIGIN_S + 0.003), 100)
    assert np.flatnonzero(result.voices == 1).tolist() == list(range(LEAD, LEAD + 50))


@pytest.mark.parametrize(("delay_ms", "is_heard"), [(116, True), (118, False)])
def test_a_datagram_is_heard_until_its_slot_begins(delay_ms: int, is_heard: bool) -> None:
    # The stream came at 3 ms and plays at 120 ms: 117 ms of patience with everything after it.
    on_time = stream(spoken(range(60), 0), first_at_s=ORIGIN_S + 0.003)
    late = [
        d if n != 40 else Datagram(d.at_s + delay_ms / 1000, d.source, d.target, d.data)
        for n, d in enumerate(on_time)
    ]
    result = heard(sorted(late, key=lambda d: d.at_s), 100)
    assert bool(result.voices[LEAD + 40]) is is_heard
    assert result.late == (0 if is_heard else 1)


def test_lost_datagrams_are_exactly_the_slots_not_heard() -> None:
    payloads = spoken(range(400), 1)
    lost = {30, 31, 77, *range(100, 125), *range(250, 350)}
    cut = [None if n in lost else payload for n, payload in enumerate(payloads)]
    result = heard(stream(cut, first_at_s=ORIGIN_S + 0.001), 500)
    wanted = [0] * LEAD + [0 if n in lost else 2 for n in range(400)]
    assert result.voices[: LEAD + 400].tolist() == wanted


def test_ten_percent_random_loss_is_read_frame_by_frame() -> None:
    lost = np.random.default_rng(3).random(600) < 0.1
    payloads = [None if gone else p for gone, p in zip(lost, spoken(range(600), 2), strict=True)]
    result = heard(stream(payloads, first_at_s=ORIGIN_S), 700)
    start = 5  # came at the very start of a slot: 100 ms and nothing to round up
    assert (result.voices[start : start + 600] == np.where(lost, 0, 4)).all()


def test_the_private_source_is_not_the_voice() -> None:
    voice = spoken(range(100), 0)
    private = [mix((0, HALF + slot)) for slot in range(100, 200)]
    result = heard(stream([*voice, *private], first_at_s=ORIGIN_S + 0.001), 300)
    assert np.flatnonzero(result.voices).tolist() == list(range(LEAD, LEAD + 100))
    assert np.flatnonzero(result.private).tolist() == list(range(LEAD + 100, LEAD + 200))


def test_voices_come_and_go_by_themselves() -> None:
    payloads = [*spoken(range(100), 0, 1), *spoken(range(100, 200), 1), *[SILENCE] * 50]
    result = heard(stream(payloads, first_at_s=ORIGIN_S + 0.001), 300)
    assert result.voices[LEAD : LEAD + 250].tolist() == [3] * 100 + [2] * 100 + [0] * 50
    assert result.loud[LEAD : LEAD + 250].tolist() == [True] * 200 + [False] * 50


def test_a_mixer_that_jumps_ahead_plays_on() -> None:
    payloads = [*spoken(range(100), 0), *spoken(range(100, 200), 0, lag=-7)]
    result = heard(stream(payloads, first_at_s=ORIGIN_S + 0.001), 300)
    # At the very jump a symbol may fit neither lock by itself; it is one slot or none.
    assert (result.voices[LEAD : LEAD + 200] == 1).sum() >= 199


def test_another_room_starts_another_stream() -> None:
    first = stream(spoken(range(100), 0), first_at_s=ORIGIN_S + 0.001)
    second = stream(spoken(range(200, 300), 0), first_at_s=ORIGIN_S + 4.007, timestamp=99, ssrc=8)
    result = heard([*first, *second], 400)
    assert np.flatnonzero(result.voices).tolist() == [
        *range(LEAD, LEAD + 100),
        *range(200 + LEAD, 300 + LEAD),
    ]


def test_a_fresh_join_of_the_same_room_starts_another_stream() -> None:
    first = stream(spoken(range(100), 0), first_at_s=ORIGIN_S + 0.001)
    peered = Datagram(ORIGIN_S + 3.9, synthetic.LINK, synthetic.EAR, b"CKPEERED 01234567")
    second = stream(spoken(range(200, 300), 0), first_at_s=ORIGIN_S + 4.001)
    result = heard([*first, peered, *second], 400)
    assert (result.voices[200 + LEAD : 300 + LEAD] == 1).all()


def test_timestamps_run_over_their_32_bits() -> None:
    start = 2**32 - 40 * 160
    result = heard(stream(spoken(range(100), 0), first_at_s=ORIGIN_S + 0.001, timestamp=start), 200)
    assert np.flatnonzero(result.voices).tolist() == list(range(LEAD, LEAD + 100))


def test_a_server_that_skipped_its_own_past_leaves_a_gap_of_that_length() -> None:
    before = stream(spoken(range(100), 0), first_at_s=ORIGIN_S + 0.001)
    after = stream(
        spoken(range(200, 300), 0), first_at_s=ORIGIN_S + 200 * SLOT_S, timestamp=200 * 160
    )
    result = heard([*before, *after], 400)
    silent = np.flatnonzero(result.voices[LEAD : LEAD + 300] == 0)
    assert silent.tolist() == list(range(100, 200))
