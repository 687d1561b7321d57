"""Streams that outlive their reader, and texts in the words of people."""

import doctest
import io
import os
import sys

import pytest

from chaoskit.cli.streams import LastingStream, is_utf8, lasting_streams
from chaoskit.model import CheckSpec
from chaoskit.report import plain_text, words
from chaoskit.report.plain_text import to_ascii
from chaoskit.report.words import check_text

pytestmark = pytest.mark.cli


class Torn(io.StringIO):
    """A stream whose other end is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise OSError(5, "Input/output error")


def test_a_stream_without_a_reader_falls_silent() -> None:
    stream = LastingStream(Torn())
    assert stream.write("anything") == len("anything")
    stream.writelines(["two\n", "lines\n"])
    stream.flush()


def test_what_is_buffered_goes_nowhere_once_the_reader_is_gone() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "w", encoding="utf-8") as pipe:
        stream = LastingStream(pipe)
        os.close(ours)
        stream.write("still buffered")
        stream.flush()
        stream.write("written to nowhere")
    # Closing flushed without an error: the descriptor leads to /dev/null now.


def test_without_utf8_signs_are_spelled() -> None:
    raw = io.BytesIO()
    stream = LastingStream(io.TextIOWrapper(raw, encoding="latin-1", newline=""))
    stream.write("p95 ≤ 12 s · ✔ … ☃\n")
    stream.flush()
    assert raw.getvalue() == b"p95 <= 12 s - + ... ?\n"


def test_a_name_that_is_no_utf8_can_be_shown() -> None:
    raw = io.BytesIO()
    stream = LastingStream(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
    stream.write("runs/\udcff/7f3c")
    stream.flush()
    assert raw.getvalue() == b"runs/?/7f3c"


def test_streams_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stdout
    monkeypatch.setattr(sys, "stderr", None)
    with lasting_streams():
        assert sys.stdout.isatty() == before.isatty()
        assert sys.stdout is not before
        assert sys.stderr is None
    assert sys.stdout is before


@pytest.mark.parametrize(
    ("encoding", "whole"),
    [("utf-8", True), ("UTF8", True), (None, True), ("ascii", False), ("iso8859-15", False)],
)
def test_utf8_by_the_name_of_the_encoding(encoding: str | None, whole: bool) -> None:
    assert is_utf8(encoding) is whole


@pytest.mark.parametrize("module", [words, plain_text])
def test_examples_in_the_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.failed == 0
    assert result.attempted > 0


def test_every_sign_has_a_spelling_of_its_own_length() -> None:
    for sign in "━─▁▃█▒╳▕▏✔✘·●":
        assert len(to_ascii(sign)) == 1, "lanes and bars keep their width"


def check(
    kind: str,
    *,
    name: str = "",
    of: str | None = None,
    from_: str = "effect",
    during: str = "run",
    **params: float | str,
) -> CheckSpec:
    return CheckSpec(name=name or kind, kind=kind, params=params, of=of, from_=from_, during=during)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (check("join_success", at_least=0.99), "join_success ≥ 99 %"),
        (check("dead_air", at_most_s=0.15, heard_by=0.5), "dead_air ≤ 150 ms, heard by 50 %"),
        (
            check("recovery", of="cut", p95_at_most_s=12.0, never_at_most=0),
            "recovery of cut p95 ≤ 12 s, never 0",
        ),
        (
            check("recovery", of="cut", from_="heal", max_at_most_s=8.0, never_at_most=3),
            "recovery of cut's heal max ≤ 8 s, never ≤ 3",
        ),
        (
            check("audio_gap", name="under-loss", p99_at_most_s=0.06, during="loss"),
            "audio_gap (under-loss) p99 ≤ 60 ms during loss",
        ),
        (
            check("first_word", speaker="guest", within_s=60.0, after_s=9.0, at_least=0.5),
            "first_word of guest within 60 s, from 9 s on, ≥ 50 %",
        ),
    ],
)
def test_a_check_is_told_as_one_would_say_it(spec: CheckSpec, text: str) -> None:
    assert check_text(spec) == text
