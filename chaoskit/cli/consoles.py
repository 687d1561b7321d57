"""Consoles on the two streams: data on stdout, progress and errors on stderr."""

import sys

from rich.console import Console, RenderableType

from chaoskit.cli.streams import is_utf8


def data_console() -> Console:
    """Return a console on stdout, for what was asked for."""
    return Console(highlight=False, markup=False, emoji=False)


def progress_console() -> Console:
    """Return a console on stderr, for progress and errors."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def is_ascii(console: Console) -> bool:
    """Return whether what `console` shows must be ASCII."""
    return not is_utf8(console.encoding)


def show(console: Console, screen: RenderableType) -> None:
    """Print a screen on stdout; elsewhere than on a terminal without the spaces that pad lines."""
    if console.is_terminal:
        console.print(screen)
        return
    with console.capture() as captured:
        console.print(screen)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
