"""What can go wrong on a participant's way, and how it is told: which hop, and why."""

from dataclasses import dataclass

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ServerDisconnectedError,
)

from chaoskit.rooms.driver import LossReason

_WHY_OF_LOSS = {
    LossReason.REFUSED: "refused",
    LossReason.RESET: "reset",
    LossReason.EOF: "eof",
    LossReason.TIMEOUT: "timeout",
    LossReason.EXPIRED: "timeout",
    LossReason.CLOSED: "eof",
}


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop of a participant. `plane`: api | signal | media; `link`: its name."""

    plane: str
    link: str


class HopFailed(Exception):
    """A request or connection could not be made. `why`: eof | reset | refused | timeout."""

    def __init__(self, hop: Hop, why: str) -> None:
        """Say where and why."""
        super().__init__(f"{hop.link}: {why}")
        self.hop = hop
        self.why = why


class Refused(Exception):
    """Somebody answered no. `by`: directory | room; `status`: HTTP or AudioBridge code."""

    def __init__(self, by: str, status: int, why: str) -> None:
        """Keep the answer."""
        super().__init__(f"{by}: {status} {why}")
        self.by = by
        self.status = status
        self.why = why


def why_lost(reason: LossReason) -> str:
    """Return the word for a lost signalling connection: eof, reset, refused or timeout."""
    return _WHY_OF_LOSS[reason]


def why_failed(error: BaseException) -> str:
    """Return the word for a failed request: eof, reset, refused or timeout."""
    if isinstance(error, ClientConnectorError):
        error = error.os_error
    for cause in (error, error.__cause__):
        match cause:
            case TimeoutError():
                return "timeout"
            case ConnectionRefusedError():
                return "refused"
            case ConnectionResetError() | BrokenPipeError():
                return "reset"
            case ServerDisconnectedError():
                return "eof"
            case _:
                continue
    return "eof" if isinstance(error, ClientError) else "refused"
