"""The sentinel: an ear and a speaker of the shard's own, with no service under test between them.

Both use the relay, like everybody's media. When the sentinel ear misses frames, the harness was at
fault and nothing can be said of that time (DESIGN §5.6).
"""

import asyncio
import contextlib
import logging
import socket

from chaoskit.model import Mic
from chaoskit.services.crowd.ear_table import EarRow, EarTable
from chaoskit.services.crowd.flow import Flow, Outlet
from chaoskit.services.crowd.media import Media
from chaoskit.services.crowd.mics import Microphone
from chaoskit.services.crowd.playout import Playout
from chaoskit.wire import identity
from chaoskit.wire.udplink import LinkRefused, name_peer, new_nonce, open_flow

log = logging.getLogger(__name__)

RETRY_S = 1.0
ALWAYS_SLOT = 1 << 40


def sentinel_mic(index: int, origin_s: float) -> Microphone:
    """Return the microphone of the sentinel speaker of shard `index`: its beacon never stops."""
    mic = Microphone(identity.SENTINEL_SPEAKER + index, 0, [], origin_s=origin_s)
    mic.override(Mic.BEACON, ALWAYS_SLOT)
    return mic


class Sentinel:
    """Opens the way from the sentinel speaker through the relay to the sentinel ear."""

    def __init__(
        self, *, link: tuple[str, int], index: int, ear: EarRow, mic: Microphone, origin_s: float
    ) -> None:
        """`link`: address of the shard's sentinel link."""
        self._link = link
        self._ear = ear
        self._mic = mic
        self._origin_s = origin_s
        self._ear_ip = identity.source_address(identity.SENTINEL_EAR + index)
        self._speaker_ip = identity.source_address(identity.SENTINEL_SPEAKER + index)
        self._speaker: socket.socket | None = None

    async def start(self, table: EarTable, media: Media, *, playout_s: float) -> None:
        """Open the way; tries until it is open, for as long as that takes."""
        while True:
            try:
                sock = await self._open()
            except (LinkRefused, OSError) as error:
                log.error("the sentinel link does not open: %r", error)
                await asyncio.sleep(RETRY_S)
                continue
            playout = Playout(origin_s=self._origin_s, playout_s=playout_s)
            media.attach(Flow(sock, self._ear, table, origin_s=self._origin_s, playout=playout))
            assert self._speaker is not None
            self._mic.outlet = Outlet(self._speaker, self._ear, ssrc=self._mic.k)
            return

    def stop(self) -> None:
        """Speak no more."""
        self._mic.outlet = None

    async def _open(self) -> socket.socket:
        with contextlib.ExitStack() as undo:
            ear, speaker = self._bind(self._ear_ip), self._bind(self._speaker_ip)
            undo.callback(ear.close)
            undo.callback(speaker.close)
            ear.connect(self._link)
            nonce = new_nonce()
            relay = await open_flow(ear, self._link, nonce=nonce)
            speaker.connect(relay)
            await name_peer(ear, self._link, speaker.getsockname(), nonce=nonce)
            undo.pop_all()
        self._speaker = speaker
        return ear

    @staticmethod
    def _bind(ip: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind((ip, 0))
        return sock
