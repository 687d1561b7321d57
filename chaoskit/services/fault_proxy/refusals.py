"""The answers with which the control API refuses a request; codes and messages are Toxiproxy's.

Source: Toxiproxy 2.12.0, `api.go`, the table at its end.
"""


class Refusal(Exception):
    """A request that cannot be served: an HTTP status and the message of the JSON body."""

    def __init__(self, status: int, message: str) -> None:
        """Keep both; `message` becomes the body's `error`."""
        super().__init__(message)
        self.status = status
        self.message = message


def bad_body(why: str) -> Refusal:
    """Return the refusal of a body that does not decode, or whose values make no sense."""
    return Refusal(400, f"bad request body: {why}")


def missing_field(field: str) -> Refusal:
    """Return the refusal of a body without a required field."""
    return Refusal(400, f"missing required field: {field}")


def proxy_not_found() -> Refusal:
    """Return the refusal of a name that no link has."""
    return Refusal(404, "proxy not found")


def proxy_exists() -> Refusal:
    """Return the refusal of a name that is taken."""
    return Refusal(409, "proxy already exists")


def toxic_not_found() -> Refusal:
    """Return the refusal of a name that no toxic of the link has."""
    return Refusal(404, "toxic not found")


def toxic_exists() -> Refusal:
    """Return the refusal of a toxic name that is taken on this link."""
    return Refusal(409, "toxic already exists")


def invalid_toxic_type() -> Refusal:
    """Return the refusal of an unknown toxic type."""
    return Refusal(400, "invalid toxic type")


def invalid_stream() -> Refusal:
    """Return the refusal of a stream that is neither of the two."""
    return Refusal(400, "stream was invalid, can be either upstream or downstream")
