"""The media thread: every socket of the shard's ears and microphones, in one epoll.

Joins and signalling run elsewhere: a join costs milliseconds, and five hundred of them at once
would make every ear late (DESIGN §10). Nothing here waits for anything but the epoll.
"""

import select
import threading
import time
from collections import deque
from collections.abc import Callable

from chaoskit.services.crowd.flow import Flow
from chaoskit.services.crowd.mics import MicDesk
from chaoskit.services.crowd.playout import slot_at, slot_from, stall

DATAGRAM_BYTES = 2_048
LONGEST_WAIT_S = 0.020
LONG_STALL_S = 1.0
"""After a longer stall sockets may have overflowed: what was not heard meanwhile is unjudged."""


class Media(threading.Thread):
    """Receives for all flows and ticks the microphones, until `stop`.

    `progress_s`: everything that had arrived by this monotonic stamp is in its ear.
    `long_stalls`: spans of slots (first, end) in which this thread was not awake.
    """

    def __init__(self, desk: MicDesk, *, origin_s: float, descriptors: int) -> None:
        """`descriptors`: most sockets that may be ready at once."""
        super().__init__(name="media", daemon=True)
        self.progress_s = time.monotonic()
        self.long_stalls: deque[tuple[int, int]] = deque()
        self.failure: BaseException | None = None
        """What ended the thread, None while it runs or when it was stopped."""
        self._desk = desk
        self._origin_s = origin_s
        self._most = descriptors
        self._epoll = select.epoll()
        self._flows: dict[int, Flow] = {}
        self._orders: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._lag_s = 0.0

    # --- for other threads -----------------------------------------------------------------------

    def attach(self, flow: Flow) -> None:
        """Receive for `flow` from now on."""
        descriptor = flow.sock.fileno()
        self._flows[descriptor] = flow
        self._epoll.register(descriptor, select.EPOLLIN)

    def detach(self, flow: Flow) -> None:
        """Close the socket of `flow` as soon as the thread is awake.

        Only this thread closes sockets: another could give the descriptor's number to a new one
        while an event of the old one waits.
        """
        self._orders.append(lambda: self._close(flow))

    def take_lag_s(self) -> float:
        """Return the most that the thread was late to look, since the last call."""
        lag_s, self._lag_s = self._lag_s, 0.0
        return lag_s

    def stop(self) -> None:
        """End the thread and close all sockets."""
        self._stopping = True
        if self.is_alive():
            self.join()

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Receive and send until stopped."""
        try:
            self._run()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            for flow in list(self._flows.values()):
                self._close(flow)
            self._epoll.close()

    def _run(self) -> None:
        poll, desk, flows = self._epoll.poll, self._desk, self._flows
        awake_s = time.monotonic()
        while not self._stopping:
            wait_s = min(max(desk.due_s(awake_s) - time.monotonic(), 0.0), LONGEST_WAIT_S)
            ready = poll(wait_s, self._most)
            now_s = time.monotonic()
            stall_s = stall(awake_s, now_s)
            self._lag_s = max(self._lag_s, now_s - awake_s - wait_s)
            for descriptor, _ in ready:
                flow = flows.get(descriptor)
                if flow is None:
                    continue
                try:
                    # One a turn, for more would only be asked for: the epoll says when there is.
                    flow.take(flow.recv(DATAGRAM_BYTES), now_s, stall_s)
                    while stall_s:
                        flow.take(flow.recv(DATAGRAM_BYTES), now_s, stall_s)
                except OSError:
                    continue  # nothing more, or the kernel says that the link's port is closed
            if stall_s > LONG_STALL_S:
                span = slot_at(awake_s, self._origin_s), slot_from(now_s, self._origin_s)
                self.long_stalls.append(span)
            awake_s = self.progress_s = now_s
            if now_s >= desk.due_s(now_s):
                desk.tick(now_s)
            while self._orders:
                self._orders.popleft()()

    def _close(self, flow: Flow) -> None:
        descriptor = flow.sock.fileno()
        if self._flows.get(descriptor) is flow:
            del self._flows[descriptor]
            flow.sock.close()
