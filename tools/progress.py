"""What the setup shows: numbered steps, and within a step how many packages are done.

On a terminal one line that is redrawn; elsewhere a line now and then. Everything goes to stderr.
"""

import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

_EVERY_N = 20
_TAIL = 12


class Progress:
    """Shows steps 1..`steps`. `verbose`: pip's own output instead of a count of it."""

    def __init__(self, steps: int, *, verbose: bool = False) -> None:
        self._steps = steps
        self._verbose = verbose
        self._live = sys.stderr.isatty() and not verbose
        self._step = ""

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self.clear()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def step(self, number: int, what: str) -> None:
        """Announce a step."""
        self._step = f"[{number}/{self._steps}] {what}"
        self.say(self._step)

    def note(self, text: str) -> None:
        """Show a line that belongs to the current step."""
        self.say(f"      {text}")

    def clear(self) -> None:
        """Take the redrawn line away."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def follow(
        self, command: list[str], environ: dict[str, str], log: Path, expected: int
    ) -> tuple[int, list[str]]:
        """Run pip, show how far it is of `expected` packages, append its output to `log`.

        Returns its exit status and its last lines.
        """
        tail: deque[str] = deque(maxlen=_TAIL)
        counted = _Count(expected)
        with (
            log.open("a") as record,
            subprocess.Popen(
                command,
                env=environ,
                text=True,
                close_fds=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ) as pip,
        ):
            assert pip.stdout is not None
            finished = threading.Event()
            painter = threading.Thread(target=self._paint, args=(counted, finished))
            if self._live:
                painter.start()
            try:
                for line in pip.stdout:
                    record.write(line)
                    if line.strip():
                        tail.append(line.rstrip())
                    if self._verbose:
                        sys.stderr.write(line)
                    elif counted.read(line) and not self._live:
                        self.note(counted.text())
            except BaseException:
                pip.terminate()
                raise
            finally:
                finished.set()
                if self._live:
                    painter.join()
            return pip.wait(), list(tail)

    def _paint(self, counted: "_Count", finished: threading.Event) -> None:
        started_s = time.monotonic()
        while not finished.wait(0.2):
            took_s = time.monotonic() - started_s
            sys.stderr.write(f"\r      {counted.text()} · {took_s:.0f} s\x1b[K")
            sys.stderr.flush()
        self.clear()


class _Count:
    """Reads pip's lines: how many of the packages it has got, and what it does now."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._done = 0
        self._now = "starting pip"

    def read(self, line: str) -> bool:
        """Take one line; return whether it is worth a line of ours on a dumb terminal."""
        words = line.split()
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            self._done += 1
            self._now = words[1 if words[0] == "Collecting" else 3].split("==")[0]
            return self._done % _EVERY_N == 0
        if line.startswith("Installing collected packages"):
            self._done = self._expected
            self._now = "unpacking into .venv"
            return self._expected > 0
        return False

    def text(self) -> str:
        """How far it is."""
        return f"{self._done} of {self._expected} · {self._now}" if self._expected else self._now
