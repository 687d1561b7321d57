"""The ready file: a service writes it once it serves, and whoever sees it can read all of it."""

import json
import os
from pathlib import Path


def write_ready(path: Path, *, name: str, port: int, **more: str) -> None:
    """Write `{"name", "pid", "port", **more}` in one step, in a folder that is made if need be.

    `port`: where it serves, 0 for a service without one. Raises OSError.
    """
    ready = {"name": name, "pid": os.getpid(), "port": port, **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(ready) + "\n", encoding="utf-8")
    draft.replace(path)
