"""Sessions, handles and connections of the Janus API, as far as rooms need to know them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chaoskit.wire import janus_api
from chaoskit.wire.audiobridge import PLUGIN
from chaoskit.wire.audiobridge_answers import BridgeAnnouncement, BridgeAnswer, encode_answer


class Connection(Protocol):
    """The sending half of one WebSocket."""

    def send(self, text: str) -> None:
        """Send a message; neither blocks nor raises."""


@dataclass(slots=True, eq=False)
class Session:
    """One session. `connection` is None while nobody holds it; `last_request_s` is monotonic."""

    id: int
    connection: Connection | None
    last_request_s: float
    handles: dict[int, "Handle"] = field(default_factory=dict)


class Handle:
    """One handle of the AudioBridge plugin."""

    __slots__ = ("_before", "id", "session")

    def __init__(self, number: int, session: Session) -> None:
        """Belong to `session`."""
        self.id = number
        self.session = session
        # Announcements differ between handles in their first part only, which is made once.
        self._before, _ = janus_api.encode_plugin_message(
            "event", session_id=session.id, sender=number, plugin=PLUGIN, data="|", transaction=None
        ).split("|")

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

    def announce(self, texts: Sequence[str]) -> None:
        """Send announcements, each the JSON text of its plugin data."""
        connection = self.session.connection
        if connection is not None:
            for text in texts:
                connection.send(f"{self._before}{text}}}}}")


def encode_announcement(announcement: BridgeAnnouncement) -> str:
    """Return the JSON text that is the same for everybody in a room."""
    return janus_api.dumps(encode_answer(announcement))
