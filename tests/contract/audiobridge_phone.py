"""What a participant of the AudioBridge contract has in hand: a UDP socket, tones, an ear."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from chaoskit.audio import mulaw
from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.rooms.driver import Joined, OnEvent
from chaoskit.wire.identity import audiobridge_id, identity, source_address
from chaoskit.wire.rtp import FRAME_SAMPLES, RtpHeader, pack, parse

SILENCE = bytes([mulaw.SILENCE]) * FRAME_SAMPLES
WAIT_S = 10.0


def tone(frequency_hz: int) -> bytes:
    """Return one frame of a tone at -18 dBFS; a multiple of 50 Hz goes on without a click."""
    wave = 4_096 * np.sin(2 * np.pi * frequency_hz * np.arange(FRAME_SAMPLES) / mulaw.RATE_HZ)
    return mulaw.encode(wave.astype(np.int16))


def tones_in(payload: bytes) -> set[int]:
    """Return the frequencies, in Hz, that stand out in one frame."""
    spectrum = np.abs(np.fft.rfft(mulaw.decode(payload).astype(float)))
    return {int(bin_) * 50 for bin_ in np.flatnonzero(spectrum > 4_096 * FRAME_SAMPLES / 8)}


async def wait_until(why_not: Callable[[], str | None], *, within_s: float = WAIT_S) -> None:
    """Return once `why_not` returns None; else fail with what it said last."""
    deadline = time.monotonic() + within_s
    while (reason := why_not()) is not None:
        assert time.monotonic() < deadline, f"after {within_s:g} s: {reason}"
        await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet as it arrived."""

    header: RtpHeader
    payload: bytes


class Phone:
    """One participant: its signalling, its socket, everything it heard since `forget`."""

    def __init__(self, k: int, client: AudioBridgeClient) -> None:
        self.k = k
        self.client = client
        self.heard: list[Packet] = []
        self._sequence = 0
        self._talking: asyncio.Task[None] | None = None
        self._socket = self._new_socket()

    @classmethod
    async def connect(
        cls,
        url: str,
        k: int,
        *,
        on_event: OnEvent | None = None,
        presence: bool = False,
    ) -> Self:
        client = await AudioBridgeClient.connect(
            url, source_ip=source_address(k), on_event=on_event, presence=presence
        )
        return cls(k, client)

    def _new_socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((source_address(self.k), 0))
        asyncio.get_running_loop().add_reader(sock, self._arrived)
        return sock

    @property
    def address(self) -> tuple[str, int]:
        """Where the socket is bound."""
        host, port = self._socket.getsockname()
        return host, port

    async def join(self, room: int, *, muted: bool = False, talk_first: bool = True) -> Joined:
        """Join and, with `talk_first`, send the two packets that make media come."""
        host, port = self.address
        place = await self.client.join(
            room,
            audiobridge_id(self.k),
            display=identity(self.k),
            rtp_ip=host,
            rtp_port=port,
            muted=muted,
        )
        self.connect_to(place.rtp_ip, place.rtp_port)
        if talk_first:
            self.say(SILENCE, SILENCE)
        return place

    def connect_to(self, ip: str, port: int) -> None:
        """Send to that address from now on."""
        self._socket.connect((ip, port))

    def say(self, *frames: bytes, sequence: int | None = None, ssrc: int | None = None) -> None:
        """Send frames at once; `sequence` is that of the first, else numbering goes on."""
        for frame in frames:
            number = self._sequence + 1 if sequence is None else sequence
            header = RtpHeader(
                0, number, number * FRAME_SAMPLES, 1 + self.k if ssrc is None else ssrc
            )
            self.send(pack(header, frame))
            if sequence is None:
                self._sequence = number
            else:
                sequence += 1

    def send(self, datagram: bytes) -> None:
        """Send a datagram as it is; a port that is closed is no failure of the test."""
        with contextlib.suppress(ConnectionRefusedError):
            self._socket.send(datagram)

    def talk(self, frequency_hz: int) -> None:
        """Send that tone, a frame each 20 ms, until `hush`."""
        self._talking = asyncio.create_task(self._talk(tone(frequency_hz)))

    async def _talk(self, frame: bytes) -> None:
        due_s = time.monotonic()
        while True:
            self.say(frame)
            due_s += 0.020
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def talks(self, frequency_hz: int, *, frames: int) -> None:
        """Send that tone for that many frames, and so in that time."""
        self.talk(frequency_hz)
        last = self._sequence + frames
        await wait_until(lambda: None if self._sequence >= last else "still talking")
        await self.hush()

    async def hush(self) -> None:
        """Send nothing any more."""
        if self._talking is not None:
            self._talking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._talking
            self._talking = None

    def forget(self) -> None:
        """Drop what was heard, also what still waits in the socket."""
        self._arrived()
        self.heard.clear()

    def tones(self) -> list[set[int]]:
        """Return the tones of each packet since `forget`."""
        self._arrived()
        return [tones_in(packet.payload) for packet in self.heard]

    async def hears(self, *frequencies_hz: int, frames: int = 10) -> None:
        """Wait until that many frames held exactly these tones."""
        expected = set(frequencies_hz)
        await wait_until(
            lambda: (
                None
                if self.tones().count(expected) >= frames
                else f"{identity(self.k)} heard {expected} in {self.tones().count(expected)} frames"
                f" of {len(self.heard)}; last: {self.tones()[-3:]}"
            )
        )

    async def gets(self, packets: int) -> None:
        """Wait until that many packets arrived since `forget`."""
        await wait_until(
            lambda: (
                None
                if len(self.heard) >= packets
                else f"{identity(self.k)} got {len(self.heard)} packets of {packets}"
            )
        )

    def _arrived(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            while self._socket.fileno() >= 0:
                self.heard.append(Packet(*parse(self._socket.recv(2_048))))

    async def unplug(self) -> None:
        """Close the UDP socket; signalling goes on."""
        await self.hush()
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    async def close(self) -> None:
        await self.unplug()
        await self.client.close()
