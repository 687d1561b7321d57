"""What is wrong with a record or a replay map, and where in its file."""

Where = tuple[str | int, ...]
"""Keys and list indices from the root of the file."""


class ReplayError(ValueError):
    """A record or map that cannot be used. `where`: place in the file that it was read from."""

    def __init__(self, message: str, where: Where = ()) -> None:
        """Keep the message and the place."""
        super().__init__(message)
        self.where = where
