"""Refuses a platform or a Python that cannot work, then hands over to the command line."""

import sys

_OLDEST_PYTHON = (3, 11)
_EXIT_ENVIRONMENT = 4
_EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line; exit 4 with a hint where chaoskit cannot work at all."""
    refusal = refusal_for(sys.platform, sys.version_info[:2])
    if refusal is not None:
        sys.stderr.write(refusal)
        raise SystemExit(_EXIT_ENVIRONMENT)
    try:
        # After the guard: what follows does not even import on another platform or an older Python.
        from chaoskit.cli.app import main as cli_main

        cli_main()
    except KeyboardInterrupt:
        raise SystemExit(_EXIT_INTERRUPTED) from None


def refusal_for(platform: str, python: tuple[int, int]) -> str | None:
    """Return why chaoskit cannot run on this platform and Python, with a hint; None when it can."""
    if python < _OLDEST_PYTHON:
        return (
            f"chaoskit needs Python 3.11 or newer; this is Python {python[0]}.{python[1]}.\n\n"
            "hint: make setup PYTHON=python3.11 makes the environment with another interpreter\n"
        )
    if platform != "linux":
        return (
            f"chaoskit runs on Linux; this is {platform}.\n\n"
            "hint: use a Linux machine, virtual machine or container;"
            " it needs pidfds, epoll and the whole of 127.0.0.0/8\n"
        )
    return None


if __name__ == "__main__":
    main()
