"""The end of a command that a signal stopped."""

import signal


class Interrupted(Exception):
    """A command was stopped by a signal, and nothing of it is left."""

    def __init__(self, signum: int) -> None:
        """Keep the first signal's number."""
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum
