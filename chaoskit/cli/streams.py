"""Streams that outlive their reader: they fall silent instead of raising, and spell without UTF-8.

A run must be healed and taken down whether or not anybody still reads what it says.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, TextIO, cast

from chaoskit.report.plain_text import to_ascii


class LastingStream:
    """A text stream that never raises: without a reader it falls silent, without UTF-8 it spells.

    Whatever else is asked of it, the stream that it wraps answers.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._spells = not is_utf8(stream.encoding)

    def write(self, text: str) -> int:
        """Write `text`, or nothing when nobody can read it any more."""
        # A file name that is not UTF-8 holds surrogates, which no stream takes.
        shown = to_ascii(text) if self._spells else text.encode("utf-8", "replace").decode()
        try:
            self._stream.write(shown)
        except OSError:
            self._fall_silent()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream."""
        try:
            self._stream.flush()
        except OSError:
            self._fall_silent()

    def _fall_silent(self) -> None:
        # What is buffered still has to go somewhere when Python flushes it at the end.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        """Return what the wrapped stream has."""
        return getattr(self._stream, name)


@contextlib.contextmanager
def lasting_streams() -> Iterator[None]:
    """Make stdout and stderr lasting streams for the length of the block."""
    out, err = sys.stdout, sys.stderr
    # A closed stream (`>&-`) is None; rich and print both know what to do then.
    sys.stdout = cast(TextIO, LastingStream(out)) if out else out
    sys.stderr = cast(TextIO, LastingStream(err)) if err else err
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream:
                stream.flush()
        sys.stdout, sys.stderr = out, err


def is_utf8(encoding: str | None) -> bool:
    """Return whether a stream of that encoding takes every sign; unknown counts as UTF-8."""
    return (encoding or "utf-8").lower().startswith("utf")
