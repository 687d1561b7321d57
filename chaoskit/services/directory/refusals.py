"""How the directory says no: an HTTP status, a code to branch on, a message to read."""


class Refused(Exception):
    """A request that is not carried out. The codes are listed in openapi.yaml."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep what the error reply says."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def bad_request(message: str) -> Refused:
    """Return the refusal of a request that cannot be read."""
    return Refused(400, "bad_request", message)


def no_event(event: str) -> Refused:
    """Return the refusal for an event that is not there."""
    return Refused(404, "no_event", f"there is no event {event!r}")


def no_room(event: str) -> Refused:
    """Return the refusal while an event has no room."""
    return Refused(409, "no_room", f"event {event!r} has no room now")


def no_node(what: str) -> Refused:
    """Return the refusal when no node could open a room; `what` says what each answered."""
    return Refused(503, "no_node", f"no room node could open a room: {what}")
