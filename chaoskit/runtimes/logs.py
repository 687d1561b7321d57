"""The last words of a process, for messages that say why it did not come up."""

from pathlib import Path

_TAIL_BYTES = 8192
LINES = 8


def last_lines(path: Path, count: int = LINES) -> str:
    """Return the last `count` lines of a log, each indented; says so when there are none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError as error:
        return f"  (no log: {error.strerror})"
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-count:]) or f"  (nothing in {path.name})"
