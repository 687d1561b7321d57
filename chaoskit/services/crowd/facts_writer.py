"""The shard's facts file: written from several threads, flushed a few times a second."""

import os
from collections import deque
from pathlib import Path

from chaoskit.wire.facts import Fact, encode_fact


class FactsWriter:
    """Appends facts to one file.

    `write` and `write_line` may be called from any thread and never wait for the disk; `flush` is
    one thread's business. Facts reach the file in the order in which they were written.
    """

    def __init__(self, path: Path) -> None:
        """Create the file. Raises FileExistsError when there is one: facts are never mixed."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o644)
        self._lines: deque[str] = deque()

    def write(self, fact: Fact) -> None:
        """Queue one fact."""
        self._lines.append(encode_fact(fact))

    def write_line(self, line: str) -> None:
        """Queue one line that is a fact already, newline included."""
        self._lines.append(line)

    def flush(self) -> None:
        """Hand all that was queued until now to the kernel, whole lines only."""
        count = len(self._lines)
        data = "".join(self._lines.popleft() for _ in range(count)).encode()
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        """Flush and close the file."""
        self.flush()
        os.close(self._fd)
