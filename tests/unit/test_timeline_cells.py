"""Cells of timeline.md."""

import pytest

from chaoskit.report.timeline import escape_cell

pytestmark = pytest.mark.unit


def test_a_cell_holds_one_line_of_text_without_control_characters() -> None:
    assert escape_cell("a | b\n c\t d") == "a \\| b c d"
    assert escape_cell("\x1b[31mred\x07\x9b1m\x7f") == "[31mred1m"
