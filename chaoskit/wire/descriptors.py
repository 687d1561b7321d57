"""How many open files each kind of process needs: who starts it and itself go by the same numbers.

Source: DESIGN §10 for the proxy; the others follow from what one participant opens, below.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """Open files of one process: `each` participant, and `besides` (logs, listening sockets)."""

    each: int
    besides: int

    def need(self, participants: int) -> int:
        """Return how many it needs for `participants`."""
        return self.each * participants + self.besides

    def __str__(self) -> str:
        """Return the rule for a message."""
        return f"{self.each} a listener + {self.besides}"


FAULT_PROXY = OpenFiles(each=5, besides=256)
"""Both ends of its connection to the directory and of its signalling, a server-side media socket;
beside them links, the control API and its clients. (A second connection to the directory beside a
watch is short.)"""
ROOM = OpenFiles(each=2, besides=100)
"""WebSocket and RTP."""
DIRECTORY = OpenFiles(each=2, besides=100)
"""A watch, and a request beside it."""
CROWD = OpenFiles(each=4, besides=64)
"""Media socket, WebSocket, and two HTTP connections: one may watch while another asks."""
