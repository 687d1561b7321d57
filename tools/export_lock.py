"""Writes requirements.lock, what pip installs, from uv.lock, what uv resolved."""

import subprocess
import sys
from pathlib import Path

_HEADER = (
    "# What `make setup` installs. Made from uv.lock by `make lock`; a test holds both together.\n"
)
_COMMAND = (
    "uv export --frozen --all-groups --no-emit-project --no-annotate --no-header --quiet"
    " --format requirements-txt"
)


def main() -> None:
    """Write the file beside uv.lock. Raises CalledProcessError with uv's words when uv fails."""
    root = Path(__file__).resolve().parent.parent
    pins = subprocess.run(
        _COMMAND.split(), cwd=root, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    (root / "requirements.lock").write_text(_HEADER + pins)
    sys.stderr.write(f"requirements.lock: {pins.count('==')} packages\n")


if __name__ == "__main__":
    main()
