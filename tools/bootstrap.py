"""Makes .venv with all that chaoskit and its tests need, from a bare Python.

Needs neither pip nor ensurepip nor uv. Quick when nothing changed; a half-made .venv is made anew.
This file keeps to syntax that an older Python parses, so that it can say why not.
"""

from __future__ import annotations

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
OLDEST_PYTHON = (3, 11)
EXIT_ENVIRONMENT = 4
EXIT_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Bring .venv up to date; return the exit code. `--report` speaks even when nothing is due."""
    refusal = _refusal_for(sys.platform, sys.version_info[:2])
    if refusal is not None:
        sys.stderr.write(refusal)
        return EXIT_ENVIRONMENT
    sys.path.insert(0, ROOT)
    # After the guard: these need a newer Python than the guard does.
    from tools.environment import Environment, SetupError

    try:
        Environment(ROOT, verbose="--verbose" in arguments).bring_up_to_date(
            report="--report" in arguments
        )
    except SetupError as error:
        sys.stderr.write(f"\n{error}\n\nhint: {error.hint}\n")
        return EXIT_ENVIRONMENT
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; the next `make setup` starts anew.\n")
        return EXIT_INTERRUPTED
    return 0


def _refusal_for(platform: str, python: tuple[int, ...]) -> str | None:
    if not platform.startswith("linux"):
        return (
            f"chaoskit runs on Linux; this is {platform}.\n\n"
            "hint: use a Linux machine, virtual machine or container\n"
        )
    if python < OLDEST_PYTHON:
        _go_on_with_a_newer_python()
        found = ".".join(map(str, python))
        return (
            f"chaoskit needs Python 3.11 or newer; {sys.executable} is Python {found}.\n\n"
            "hint: install a newer Python, or name one: make setup PYTHON=/path/to/python3.11\n"
        )
    return None


def _go_on_with_a_newer_python() -> None:
    for minor in range(19, OLDEST_PYTHON[1] - 1, -1):
        for folder in os.get_exec_path():
            candidate = os.path.join(folder, f"python3.{minor}")  # noqa: PTH118
            # Asked, not believed: the shims of version managers exist for interpreters that do not.
            if os.access(candidate, os.X_OK) and subprocess.call([candidate, "-c", ""]) == 0:
                os.execv(candidate, [candidate, "-E", "-s", *sys.argv])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
