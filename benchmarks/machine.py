"""What a number was measured on, and how numbers are printed."""

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import time


def this_machine() -> str:
    """Return one line: date, processor, cores, kernel, Python."""
    day = datetime.fromtimestamp(time(), UTC).date().isoformat()
    cores = len(os.sched_getaffinity(0))
    return (
        f"Measured {day} on {_processor()}, {cores} core{'s' if cores != 1 else ''},"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return " ".join(value.split())
    return platform.machine()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are right-aligned."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def spread(values: Sequence[float], *, unit: str, digits: int = 0) -> str:
    """Return median and range of some values."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} {unit} ({least:.{digits}f} to {most:.{digits}f})"


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)
