"""Paths as people type them."""

from contextlib import suppress
from pathlib import Path


def shown_path(path: Path) -> str:
    """Return a path relative to the working directory where it lies below it, else as it is."""
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
