"""Sessions, handles and connections of the Janus API, as far as rooms need to know them."""

from dataclasses import dataclass, field
from typing import Protocol

from chaoskit.wire import janus_api
from chaoskit.wire.audiobridge import PLUGIN
from chaoskit.wire.audiobridge_answers import (
    BridgeAnnouncement,
    BridgeAnswer,
    encode_answer,
)


class Connection(Protocol):
    """The sending half of one WebSocket. Neither method blocks or raises."""

    def send(self, text: str) -> None:
        """Send a message at once, after everything that waits."""

    def send_soon(self, text: str) -> None:
        """Send a message within 20 ms: announcements of a crowded room travel together."""


@dataclass(slots=True, eq=False)
class Session:
    """One session. `connection` is None while nobody holds it; `last_request_s` is monotonic."""

    id: int
    connection: Connection | None
    last_request_s: float
    handles: dict[int, "Handle"] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Handle:
    """One handle of the AudioBridge plugin."""

    id: int
    session: Session

    def answer(
        self, connection: Connection | None, keyword: str, transaction: str, answer: BridgeAnswer
    ) -> None:
        """Send the answer to a request: `success` for synchronous ones, else `event`."""
        if connection is not None:
            connection.send(
                janus_api.encode_plugin_message(
                    keyword,
                    session_id=self.session.id,
                    sender=self.id,
                    plugin=PLUGIN,
                    data=janus_api.dumps(encode_answer(answer)),
                    transaction=transaction,
                )
            )

    def announce(self, encoded: str, *, soon: bool) -> None:
        """Send an announcement, `encode_announcement` text; `soon` allows it to wait for others."""
        connection = self.session.connection
        if connection is not None:
            text = janus_api.encode_plugin_message(
                "event",
                session_id=self.session.id,
                sender=self.id,
                plugin=PLUGIN,
                data=encoded,
                transaction=None,
            )
            if soon:
                connection.send_soon(text)
            else:
                connection.send(text)


def encode_announcement(announcement: BridgeAnnouncement) -> str:
    """Return the JSON text that is the same for everybody in a room."""
    return janus_api.dumps(encode_answer(announcement))
