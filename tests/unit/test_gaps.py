"""Gaps, recovery and books on arrays small enough to read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chaoskit.audio.gaps import (
    NEVER,
    UNAFFECTED,
    GapClass,
    Mask,
    add_up,
    first_run,
    gap_counts,
    grown,
    in_long_gap,
    longest,
    recover,
    runs,
    sort_slots,
)
from chaoskit.audio.listening import ABSENT, CONCEALED, HOWL, SILENT, UNJUDGED

pytestmark = pytest.mark.unit


def mask(*rows: str) -> Mask:
    """Return a mask of rows written as `..xx`."""
    return np.array([[c == "x" for c in row] for row in rows])


def test_runs_are_found_in_every_row_and_at_both_ends() -> None:
    found = runs(mask("xx..x", ".....", ".xxx."))
    assert list(zip(found.row, found.start, found.length, strict=True)) == [
        (0, 0, 2),
        (0, 4, 1),
        (2, 1, 3),
    ]


def test_longest_is_per_row_and_zero_without_a_gap() -> None:
    assert longest(mask("xx..xxx", ".......")).tolist() == [3, 0]


def test_first_run_is_the_first_that_is_long_enough() -> None:
    assert first_run(mask("x.xx.xx", "x.x.x.x"), 2).tolist() == [2, -1]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, GapClass.MASKED),
        (2, GapClass.MASKED),
        (3, GapClass.AUDIBLE),
        (7, GapClass.AUDIBLE),
        (8, GapClass.INTERRUPTION),
        (49, GapClass.INTERRUPTION),
        (50, GapClass.DROPOUT),
        (249, GapClass.DROPOUT),
        (250, GapClass.DEAD_AIR),
    ],
)
def test_gap_classes_begin_at_60_150_1000_and_5000_ms(length: int, expected: GapClass) -> None:
    missed = np.zeros((1, 300), dtype=np.bool_)
    missed[0, 10 : 10 + length] = True
    assert [c for c, n in gap_counts(missed).items() if n[0]] == [expected]


def test_every_gap_is_counted_in_one_class() -> None:
    missed = np.zeros((2, 400), dtype=np.bool_)
    missed[0, 10:12] = missed[0, 20:24] = missed[0, 100:110] = True
    missed[1, 0:300] = True
    counts = gap_counts(missed)
    assert {c.value: n.tolist() for c, n in counts.items()} == {
        "masked": [1, 0],
        "audible": [1, 0],
        "interruption": [1, 0],
        "dropout": [0, 0],
        "dead_air": [0, 1],
    }


def test_slots_of_long_gaps_are_marked_and_those_of_short_ones_are_not() -> None:
    missed = mask("xx.xxxxxxxx.xxx")
    assert in_long_gap(missed)[0].tolist() == [c == "x" for c in "...xxxxxxxx...."]


def test_a_mask_grows_at_both_ends_and_not_over_the_border() -> None:
    got = grown(mask("x....xx...")[0], 2)
    assert "".join("x" if g else "." for g in got) == "xxxxxxxxx."
    assert grown(mask("x.")[0], 5).tolist() == [True, True]


def steady(slots: int = 1000) -> tuple[Mask, Mask]:
    heard = np.ones((1, slots), dtype=np.bool_)
    return heard, ~heard


def test_a_gap_of_140_ms_is_no_impact_and_one_of_160_ms_is() -> None:
    for length, impact in ((7, UNAFFECTED), (8, 100)):
        heard, missed = steady()
        heard[0, 100 : 100 + length] = False
        missed = ~heard
        found = recover(heard, missed)
        assert found.impact[0] == impact
    assert found.recovered[0] == 108


def test_a_two_second_outage_recovers_at_its_last_slot_plus_one() -> None:
    heard, _ = steady()
    heard[0, 300:400] = False
    found = recover(heard, ~heard, impact_from=250)
    assert (found.impact[0], found.recovered[0]) == (300, 400)


def test_a_gap_that_began_before_the_window_starts_at_the_window() -> None:
    heard, _ = steady()
    heard[0, 100:300] = False
    assert recover(heard, ~heard, impact_from=200).impact[0] == 200


def test_an_impact_after_the_window_is_not_the_faults() -> None:
    heard, _ = steady()
    heard[0, 500:600] = False
    found = recover(heard, ~heard, impact_from=100, impact_until=400)
    assert (found.impact[0], found.recovered[0]) == (UNAFFECTED, NEVER)


def test_hearing_in_fits_and_starts_is_no_recovery_until_five_steady_seconds() -> None:
    heard, _ = steady(1200)
    heard[0, 100:200] = False
    heard[0, 400:420] = False  # 4 s after it came back, an interruption
    assert recover(heard, ~heard).recovered[0] == 420
    heard[0, 421:1200:20] = False  # from then on 5 % missing, never long
    assert recover(heard, ~heard).recovered[0] == NEVER


def test_two_percent_missing_is_still_steady() -> None:
    heard, _ = steady()
    heard[0, 100:200] = False
    heard[0, 210:1000:50] = False
    assert recover(heard, ~heard).recovered[0] == 200


def test_less_than_five_seconds_before_the_end_shows_no_recovery() -> None:
    heard, _ = steady(400)
    heard[0, 100:160] = False
    assert recover(heard, ~heard).recovered[0] == NEVER


def test_unjudged_slots_are_neither_gap_nor_hearing() -> None:
    heard, missed = steady()
    heard[0, 300:320] = False  # not judged: no impact
    assert recover(heard, missed).impact[0] == UNAFFECTED
    heard[0, 100:200] = False
    missed[0, 100:200] = True
    assert recover(heard, missed).recovered[0] == 200  # 20 of 250 unjudged: still enough
    heard[0, 200:460] = False  # a whole span unjudged shows nothing
    assert recover(heard, missed).recovered[0] == 460


def test_books_sort_every_kind_of_code() -> None:
    codes = np.array([[1, 2, SILENT, CONCEALED, HOWL, UNJUDGED, ABSENT, 8]], dtype=np.uint8)
    planned = np.full(8, 0b001, dtype=np.uint8)
    due = np.ones((1, 8), dtype=np.bool_)
    books = add_up(sort_slots(codes, planned, due), due)
    got = [int(n[0]) for n in (books.due, books.heard, books.silent, books.howl, books.unjudged)]
    assert got == [8, 1, 5, 1, 1]


@given(
    codes=arrays(
        np.uint8,
        (3, 40),
        elements=st.one_of(
            st.integers(0, 63), st.sampled_from([CONCEALED, UNJUDGED, HOWL, ABSENT])
        ),
    ),
    planned=arrays(np.uint8, 40, elements=st.integers(0, 7)),
    due=arrays(np.bool_, (3, 40)),
)
def test_books_balance_whatever_the_ears_report(
    codes: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
    planned: np.ndarray[tuple[int], np.dtype[np.uint8]],
    due: Mask,
) -> None:
    books = add_up(sort_slots(codes, planned, due), due)
    total = books.heard + books.silent + books.howl + books.unjudged
    assert (books.due - total).tolist() == [0, 0, 0]


@given(heard=arrays(np.bool_, (4, 60)))
def test_runs_cover_exactly_the_missed_slots(heard: Mask) -> None:
    found = runs(~heard)
    again = np.zeros_like(heard)
    for row, start, length in zip(found.row, found.start, found.length, strict=True):
        assert not again[row, max(0, start - 1) : start + length].any()
        again[row, start : start + length] = True
    assert (again == ~heard).all()
