"""The facts of one participant, stamped when they happen."""

import time
from collections.abc import Callable

from chaoskit.services.crowd.hops import Hop, HopFailed, Refused
from chaoskit.wire import facts
from chaoskit.wire.directory import JoinReply


class Teller:
    """Writes what happens to participant `p`. `at_s` is a monotonic stamp, now when left out."""

    def __init__(self, p: int, write: Callable[[facts.Fact], None]) -> None:
        """`write` takes facts from this thread."""
        self._p = p
        self._write = write

    def attempt(self, n: int, why: str, at_s: float) -> None:
        """A join attempt begins."""
        self._write(facts.Attempt(t=at_s, p=self._p, n=n, why=why))

    def looked_up(self, to: JoinReply) -> None:
        """The directory told where to go."""
        self._write(
            facts.LookedUp(
                t=time.monotonic(), p=self._p, room=to.room, node=to.node, generation=to.generation
            )
        )

    def failed(self, failed: HopFailed) -> None:
        """A request or connection could not be made."""
        hop = failed.hop
        self._write(
            facts.ConnectFailed(
                t=time.monotonic(), p=self._p, plane=hop.plane, link=hop.link, why=failed.why
            )
        )

    def refused(self, refused: Refused) -> None:
        """The directory or the room said no."""
        self._write(
            facts.Rejected(
                t=time.monotonic(),
                p=self._p,
                by=refused.by,
                status=refused.status,
                why=refused.why,
            )
        )

    def lost(self, hop: Hop, why: str, *, room: int | None = None, at_s: float = 0.0) -> None:
        """Something that was there is gone."""
        t = at_s or time.monotonic()
        self._write(facts.Lost(t=t, p=self._p, plane=hop.plane, link=hop.link, why=why, room=room))

    def left(self, why: str, *, at_s: float = 0.0) -> None:
        """The participant is out of the room."""
        self._write(facts.Left(t=at_s or time.monotonic(), p=self._p, why=why))

    def round_trip(self, link: str, ms: float, *, at_s: float = 0.0) -> None:
        """A request was answered."""
        t = at_s or time.monotonic()
        self._write(facts.RoundTrip(t=t, p=self._p, link=link, ms=ms))

    def found(self, generation: int, how: str) -> None:
        """A newer room is known."""
        self._write(facts.Found(t=time.monotonic(), p=self._p, generation=generation, how=how))

    def stage(self, granted: bool) -> None:
        """The right to speak came or went."""
        self._write(facts.Stage(t=time.monotonic(), p=self._p, granted=granted))
