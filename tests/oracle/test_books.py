"""Oracle 3, books: for each listener the frames add up to the frames due, remainder 0."""

import pytest

from tests.oracle.observed import Observed
from tests.oracle.recorded import BOOKS, Recorded, sort_codes

pytestmark = [pytest.mark.oracle, pytest.mark.needs("capture"), pytest.mark.timeout(300)]


@pytest.fixture(
    params=["host_drop", "engine_stopped", "struck", pytest.param("night", marks=pytest.mark.full)]
)
def recorded(request: pytest.FixtureRequest) -> Recorded:
    observed: Observed = request.getfixturevalue(request.param)
    return observed.recorded


def test_every_listener_has_books_that_balance(recorded: Recorded) -> None:
    books = recorded.books()
    assert sorted(books) == recorded.members("listener")
    for k, row in books.items():
        assert sum(row[name] for name in BOOKS) == row["due"], f"listener {k}: {row}"
        assert row["due"] > 0


def test_the_books_are_the_facts_added_up(recorded: Recorded) -> None:
    for k, row in recorded.books().items():
        due = recorded.due(k)
        counts = sort_codes(recorded.codes(k), recorded.planned, due)
        assert sum(counts.values()) == int(due.sum())
        told = {name: row[name] for name in BOOKS}
        # The last slot or two depend on when exactly the run was over.
        off = {name: counts[name] - told[name] for name in BOOKS}
        assert all(abs(n) <= 2 for n in off.values()), f"listener {k}: {counts} from facts, {told}"


def test_the_totals_of_the_result_are_the_books_added_up(recorded: Recorded) -> None:
    books, listeners = recorded.books(), recorded.result["listeners"]
    for name in BOOKS:
        total_s = sum(row[name] for row in books.values()) * 0.020
        assert listeners[f"{name}_listener_seconds"] == pytest.approx(total_s, abs=0.001)
    due_s = sum(row["due"] for row in books.values()) * 0.020
    assert listeners["planned_listener_seconds"] == pytest.approx(due_s, abs=0.001)
    split_s = sum(listeners["silent_by_cause"].values())
    assert split_s == pytest.approx(listeners["silent_listener_seconds"], abs=0.001)
