"""From playout buffers to facts: changes of code, marks, samples, first frames, the unjudged."""

from collections import deque
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from chaoskit.audio import listening, mulaw
from chaoskit.audio.beacon import SAMPLES, SEQUENCE, voice_index
from chaoskit.services.crowd.ear_table import EMPTY, UNJUDGED, Awaited, EarRow, EarTable
from chaoskit.services.crowd.facts_writer import FactsWriter
from chaoskit.services.crowd.judging import (
    Absences,
    Judging,
    band_of,
    changes,
    ear_line,
    first_heard,
    in_spans,
)
from chaoskit.services.crowd.playout import Playout, slot_start_s
from chaoskit.wire.facts import (
    Ear,
    Fact,
    FirstFrame,
    HeardSymbols,
    Mark,
    Net,
    ShardStopped,
    decode_fact,
    encode_fact,
)

pytestmark = pytest.mark.unit

ORIGIN_S = 1_000.0


class Media:
    """Stands in for the media thread."""

    def __init__(self) -> None:
        self.progress_s = ORIGIN_S
        self.long_stalls: deque[tuple[int, int]] = deque()

    def take_lag_s(self) -> float:
        return 0.004


class Ears:
    """Some ears, the last of them the sentinel's, and their judging without a thread."""

    def __init__(self, folder: Path, participants: list[int]) -> None:
        self.media = Media()
        self.table = EarTable([*participants, 16_000], first_slot=0)
        self.path = folder / "facts.jsonl"
        self.writer = FactsWriter(self.path)
        self.judging = Judging(
            self.table,
            cast("Any", self.media),
            self.writer,
            shard="s",
            origin_s=ORIGIN_S,
            playout_s=0.1,
            sentinel=self.table.rows[-1],
        )
        for row in self.table.rows:
            row.appear(0)

    def play(self, row: int, slots: range, *, bands: tuple[int, ...] = (0,)) -> None:
        """Let an ear play the voices of `bands`, 5 slots old."""
        for slot in slots:
            total = sum(SAMPLES[b, SEQUENCE[voice_index(slot - 5)]].astype(int) for b in bands)
            payload = mulaw.encode(np.asarray(total).astype(np.int16))
            self.table.numbers[row, slot & 1_023] = self.table.payloads.number(payload)
            self.table.arrivals_s[row, slot & 1_023] = slot_start_s(slot, ORIGIN_S) - 0.09

    def judge_to(self, slot: int, *, final: bool = False) -> None:
        """Let run time reach the start of `slot`."""
        self.judging.judge_to(slot_start_s(slot, ORIGIN_S), behind_s=0.0 if final else None)

    def facts(self) -> list[Fact]:
        self.writer.flush()
        return [decode_fact(line) for line in self.path.read_bytes().splitlines()]

    def codes(self, p: int) -> list[tuple[int, int]]:
        return [(f.s, f.c) for f in self.facts() if isinstance(f, Ear) and f.p == p]


@pytest.fixture
def ears(tmp_path: Path) -> Ears:
    return Ears(tmp_path, [10, 11])


codes_strategy = st.lists(
    st.lists(st.sampled_from([0, 1, 3, 64, 128, 255]), min_size=12, max_size=12),
    min_size=1,
    max_size=4,
)


@given(table=codes_strategy, cut=st.integers(1, 11))
def test_changes_alone_rebuild_every_code(table: list[list[int]], cut: int) -> None:
    codes = np.array(table, dtype=np.uint8)
    before = np.full(len(table), 255, dtype=np.uint8)
    rebuilt = np.full(codes.shape, 255, dtype=np.uint8)
    for first, part in ((0, codes[:, :cut]), (cut, codes[:, cut:])):
        rows, columns = changes(part, before)
        for row, column in zip(rows, columns, strict=True):
            rebuilt[row, first + column :] = part[row, column]
        before = part[:, -1]
    assert (rebuilt == codes).all()


def test_an_ear_line_is_what_the_codec_writes() -> None:
    t = slot_start_s(1_234, 98_765.4321)
    assert ear_line(t, 7, 1_234, 64) == encode_fact(Ear(t=t, p=7, s=1_234, c=64))


def test_absence_ends_and_begins_where_it_was_said(ears: Ears) -> None:
    row = EarRow(1, memoryview(bytearray()), cast("Any", memoryview(bytearray())))
    absences = Absences([row])
    row.appear(3)
    row.vanish(12)
    row.appear(14)
    spans = [absences.take(0, 5), absences.take(5, 10), absences.take(10, 16)]
    absent = np.concatenate(spans, axis=1)[0]
    assert np.flatnonzero(absent).tolist() == [0, 1, 2, 12, 13]


def test_a_change_of_a_slot_already_judged_counts_from_the_next(ears: Ears) -> None:
    row = EarRow(1, memoryview(bytearray()), cast("Any", memoryview(bytearray())))
    absences = Absences([row])
    absences.take(0, 10)
    row.appear(4)
    assert not absences.take(10, 12).any()


def test_spans_of_slots() -> None:
    inside = in_spans(np.arange(8), [(1, 3), (6, 7)])
    assert np.flatnonzero(inside).tolist() == [1, 2, 6]


@pytest.mark.parametrize(("code", "band"), [(1, 0), (2, 1), (6, 1), (8, 0), (32, 2), (33, 0)])
def test_the_band_of_a_code(code: int, band: int) -> None:
    assert band_of(code) == band


def awaited(first_slot: int | None, generation: int = 1) -> Awaited:
    playout = Playout(origin_s=ORIGIN_S, playout_s=0.1)
    playout.first_slot = first_slot
    return Awaited(playout, 99, generation)


@pytest.mark.parametrize(
    ("firsts", "expected"),
    [
        ([None], None),
        ([100], 102),
        ([104], 104),
        ([200], None),
        ([100, 103], 102),
        ([100, 102], None),
        ([100, None], 102),
    ],
)
def test_the_first_heard_slot_of_a_join(firsts: list[int | None], expected: int | None) -> None:
    codes: NDArray[np.uint8] = np.array([0, 0, 1, 1, 1, 64], dtype=np.uint8)
    assert first_heard(codes, 100, [awaited(s) for s in firsts]) == expected


def test_what_played_becomes_codes_by_change(ears: Ears) -> None:
    ears.play(0, range(10, 40))
    ears.play(0, range(40, 60), bands=(0, 1))
    ears.play(0, range(70, 131))
    for slot in range(25, 131, 25):
        ears.judge_to(slot)
    assert ears.codes(10) == [(0, 0), (10, 1), (40, 3), (60, 0), (70, 1)]
    assert ears.codes(11) == [(0, 0)]
    marks = [f for f in ears.facts() if isinstance(f, Mark)]
    assert [m.s for m in marks] == [6, 31, 56, 81, 106]
    assert {m.lag_ms for m in marks} == {4.0}


def test_the_last_judgement_goes_up_to_now(ears: Ears) -> None:
    ears.play(0, range(10, 50))
    ears.judge_to(40)
    ears.judge_to(49, final=True)
    assert ears.codes(10) == [(0, 0), (10, 1)]
    assert [f.s for f in ears.facts() if isinstance(f, Mark)] == [21, 50]


def test_buffers_are_empty_behind_the_judge(ears: Ears) -> None:
    ears.play(0, range(0, 45))
    ears.judge_to(50)
    assert ears.table.judged_slot == 31
    assert (ears.table.numbers[0, :31] == EMPTY).all()
    assert (ears.table.numbers[0, 31:45] != EMPTY).all()


def test_a_sleep_longer_than_the_buffer_is_judged_in_steps(ears: Ears) -> None:
    ears.judge_to(5_000)
    marks = [f.s for f in ears.facts() if isinstance(f, Mark)]
    assert marks == [512 * n for n in range(1, 10)] + [4_981]


def test_unjudged_frames_are_neither_heard_nor_silent(ears: Ears) -> None:
    ears.play(0, range(0, 61))
    ears.table.numbers[0, 30:33] = UNJUDGED
    ears.judge_to(60)
    assert ears.codes(10) == [(0, 1), (30, 128), (33, 1)]
    assert sum(f.unjudged for f in ears.facts() if isinstance(f, Mark)) == 3


def test_a_long_stall_leaves_what_was_not_heard_unjudged(ears: Ears) -> None:
    ears.play(0, range(0, 20))
    ears.play(0, range(50, 121))
    ears.media.long_stalls.append((15, 90))
    ears.judge_to(60)
    ears.judge_to(120)
    assert ears.codes(10) == [(0, 1), (20, 128), (50, 1)]
    assert ears.codes(11) == [(0, 0), (15, 128), (90, 0)]
    assert not ears.media.long_stalls or ears.media.long_stalls[0][1] > 60


def test_absent_ears_have_no_frames(ears: Ears) -> None:
    ears.table.rows[1].vanish(20)
    ears.judge_to(60)
    assert ears.codes(11) == [(0, 0), (20, 255)]


def test_the_sentinel_counts_what_it_did_not_hear(ears: Ears) -> None:
    ears.play(2, range(0, 61))
    ears.table.numbers[2, 30:33] = EMPTY
    ears.table.numbers[2, 33] = UNJUDGED
    ears.judge_to(60)
    (mark,) = (f for f in ears.facts() if isinstance(f, Mark))
    assert mark.sentinel_missing == 3
    assert mark.unjudged == 0
    assert ears.codes(16_000) == [(0, 1), (30, 0), (33, 128), (34, 1)]


def test_a_first_frame_is_told_once_a_join_with_its_arrival(ears: Ears) -> None:
    row = ears.table.rows[0]
    row.awaited.append(awaited(10))
    ears.play(0, range(14, 40))
    ears.judge_to(60)
    row.awaited.append(awaited(70, generation=2))
    ears.play(0, range(80, 200))
    ears.judge_to(150)
    ears.judge_to(190)
    told = [f for f in ears.facts() if isinstance(f, FirstFrame)]
    assert [(f.p, f.room, f.generation, f.band) for f in told] == [(10, 99, 1, 0), (10, 99, 2, 0)]
    assert [f.t for f in told] == pytest.approx(
        [slot_start_s(s, ORIGIN_S) - 0.09 for s in (14, 80)]
    )


def test_a_join_that_never_heard_is_passed_over(ears: Ears) -> None:
    row = ears.table.rows[0]
    row.awaited.extend([awaited(None), awaited(None, generation=2)])
    ears.judge_to(40)
    row.awaited[-1].playout.first_slot = 50
    ears.play(0, range(50, 100))
    ears.judge_to(90)
    assert [f.generation for f in ears.facts() if isinstance(f, FirstFrame)] == [2]


def test_a_sample_a_second_names_index_and_arrival_of_every_ear_that_hears(ears: Ears) -> None:
    ears.play(0, range(0, 100), bands=(0, 2))
    ears.play(1, range(0, 100))
    ears.play(2, range(0, 100))
    for slot in (25, 50, 75, 99):
        ears.judge_to(slot)
    samples = [f for f in ears.facts() if isinstance(f, HeardSymbols)]
    assert len(samples) == 2
    for sample in samples:
        assert sample.p == [10, 10, 11]
        assert sample.band == [0, 2, 0]
        assert sample.index == [sample.s - 5] * 3
        assert sample.arrival_ms == [-90.0] * 3


def test_counters_are_told_of_ears_that_have_any(ears: Ears) -> None:
    row = ears.table.rows[1]
    row.received, row.missing, row.late, row.sent = 50, -1, 2, 3
    row.transit_s, row.stamps = 0.5, 50
    ears.judge_to(50)
    ears.judge_to(75)
    row.transit_s, row.stamps = 0.5 + 0.25, 60
    ears.judge_to(100)
    ears.judge_to(125)
    told = [f for f in ears.facts() if isinstance(f, Net)]
    assert [f.p for f in told] == [[11], [11]]
    assert (told[0].received, told[0].missing, told[0].late, told[0].sent) == ([50], [0], [2], [3])
    assert [f.transit_ms for f in told] == [[10.0], [25.0]]


def test_the_writer_refuses_to_mix_facts_and_writes_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    writer = FactsWriter(path)
    with pytest.raises(FileExistsError):
        FactsWriter(path)
    writer.write(ShardStopped(t=1.0, shard="a"))
    assert path.read_bytes() == b""
    writer.write_line(ear_line(1.0, 1, 2, 3))
    writer.close()
    lines = path.read_bytes().splitlines()
    assert [decode_fact(line).kind for line in lines] == ["stopped", "ear"]


def test_listening_codes_stay_apart_from_ring_numbers() -> None:
    assert listening.ABSENT == 255
    assert {EMPTY, UNJUDGED} == {0, 1}
