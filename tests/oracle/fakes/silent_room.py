"""A room server that answers `joined` and sends no RTP: the real one, its datagrams swallowed.

Started in place of `python -m chaoskit.services.room_server`, with the same arguments. The module
is run as the thing under test, nothing of it is used; what is patched is the standard library.
"""

import runpy
import socket
from typing import Any


class _Mute(socket.socket):
    def send(self, data: Any, flags: int = 0, /) -> int:
        """Take a datagram and let it vanish; streams (the WebSocket) are left alone."""
        if self.type == socket.SOCK_DGRAM:
            return memoryview(data).nbytes
        return super().send(data, flags)


if __name__ == "__main__":
    socket.socket = _Mute  # type: ignore[misc]
    runpy.run_module("chaoskit.services.room_server", run_name="__main__", alter_sys=True)
