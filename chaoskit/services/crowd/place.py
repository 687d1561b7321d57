"""A participant's place in a room: signalling, media, and the way in through every hop."""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from chaoskit.rooms.audiobridge import AudioBridgeClient
from chaoskit.rooms.driver import OnEvent, RoomError, RoomUnavailable
from chaoskit.services.crowd.ear_table import Awaited, EarRow, EarTable
from chaoskit.services.crowd.flow import Flow, Outlet
from chaoskit.services.crowd.hops import Hop, HopFailed, Refused, why_failed, why_lost
from chaoskit.services.crowd.media import Media
from chaoskit.services.crowd.mics import Microphone
from chaoskit.services.crowd.playout import Playout, slot_at
from chaoskit.wire import identity
from chaoskit.wire.crowd import GroupPlan
from chaoskit.wire.directory import JoinReply
from chaoskit.wire.facts import Fact, Joined, SignalUp
from chaoskit.wire.udplink import LinkRefused, name_peer, new_nonce, open_flow

KEEPALIVE_S = 5.0
"""How often a client asks its room server for a sign of life."""
GOODBYE_S = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all participants of a shard share."""

    event: str
    seed: int
    origin_s: float
    playout_s: float
    table: EarTable
    media: Media
    write: Callable[[Fact], None]


@dataclass(slots=True, kw_only=True)
class Place:
    """A joined place; `leave` or `abandon` ends it."""

    room: int
    node: str
    generation: int
    signal: Hop
    media_hop: Hop
    joined_s: float
    client: AudioBridgeClient
    flow: Flow
    mic: Microphone | None
    media: Media

    def silence(self) -> None:
        """Neither hear nor speak from here any more; idempotent."""
        if self.mic is not None:
            self.mic.outlet = None
        self.media.detach(self.flow)

    async def abandon(self) -> None:
        """End it without a word but the closing of the connection."""
        self.silence()
        await self.client.close()

    async def leave(self) -> None:
        """Leave politely, within half a second."""
        self.silence()
        with contextlib.suppress(RoomError, RoomUnavailable, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self.client.leave()
        await self.client.close()


async def enter(
    around: Surroundings,
    group: GroupPlan,
    to: JoinReply,
    *,
    ear: EarRow,
    mic: Microphone | None,
    muted: bool,
    attempt: int,
    on_event: OnEvent,
    on_hop: Callable[[Hop], None],
) -> Place:
    """Go to the room of `to`: signalling, flow, join, peer, first packets.

    mic: that of a speaker who has the stage, else None. on_hop is told which hop is next, for the
    caller who bounds the whole and must say where it hung. Raises HopFailed and Refused; nothing is
    left behind then.
    """
    if to.node not in group.signal or to.node not in group.media:
        raise Refused("directory", 404, f"unknown node {to.node}")
    signal = Hop("signal", group.signal_links[to.node])
    media_hop = Hop("media", group.media_links[to.node])
    source_ip = identity.source_address(ear.k)
    async with contextlib.AsyncExitStack() as undo:
        on_hop(signal)
        try:
            client = await AudioBridgeClient.connect(
                group.signal[to.node],
                source_ip=source_ip,
                timeout_s=group.join_timeout_s,
                on_event=on_event,
                answer_s=group.join_timeout_s,
                keepalive_s=KEEPALIVE_S,
            )
        except RoomUnavailable as error:
            raise HopFailed(signal, why_lost(error.reason)) from error
        except RoomError as error:
            raise Refused("room", error.code, error.text) from error
        except ValueError as error:
            raise Refused("room", 0, "malformed answer") from error
        undo.push_async_callback(client.close)
        around.write(SignalUp(t=time.monotonic(), p=ear.k, node=to.node))

        on_hop(media_hop)
        link = _address(group.media[to.node])
        nonce = new_nonce()
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            undo.callback(sock.close)
            sock.bind((source_ip, 0))
            sock.connect(link)
            ours = await open_flow(sock, link, nonce=nonce, timeout_s=group.join_timeout_s)
        except LinkRefused as error:
            raise HopFailed(media_hop, "refused") from error
        except OSError as error:
            raise HopFailed(media_hop, why_failed(error)) from error

        on_hop(signal)
        try:
            joined = await client.join(
                to.room,
                identity.audiobridge_id(ear.k),
                display=identity.identity(ear.k),
                rtp_ip=ours[0],
                rtp_port=ours[1],
                muted=muted or mic is None,
            )
        except RoomUnavailable as error:
            raise HopFailed(signal, why_lost(error.reason)) from error
        except RoomError as error:
            raise Refused("room", error.code, error.text) from error
        except ValueError as error:
            raise Refused("room", 0, "malformed answer") from error
        joined_s = time.monotonic()

        on_hop(media_hop)
        try:
            peer = (joined.rtp_ip, joined.rtp_port)
            await name_peer(sock, link, peer, nonce=nonce, timeout_s=group.join_timeout_s)
        except LinkRefused as error:
            raise HopFailed(media_hop, "refused") from error
        except OSError as error:
            raise HopFailed(media_hop, why_failed(error)) from error
        undo.pop_all()

    around.write(
        Joined(
            t=joined_s,
            p=ear.k,
            room=joined.room,
            node=to.node,
            generation=to.generation,
            rtp_port=joined.rtp_port,
        )
    )
    flow = _start_media(around, sock, ear, mic, attempt=attempt, to=to)
    return Place(
        room=joined.room,
        node=to.node,
        generation=to.generation,
        signal=signal,
        media_hop=media_hop,
        joined_s=joined_s,
        client=client,
        flow=flow,
        mic=mic,
        media=around.media,
    )


def _start_media(
    around: Surroundings,
    sock: socket.socket,
    ear: EarRow,
    mic: Microphone | None,
    *,
    attempt: int,
    to: JoinReply,
) -> Flow:
    playout = Playout(origin_s=around.origin_s, playout_s=around.playout_s)
    flow = Flow(sock, ear, around.table, origin_s=around.origin_s, playout=playout)
    rng = random.Random(f"{around.seed}/{ear.k}/{attempt}/ssrc")
    outlet = Outlet(sock, ear, ssrc=rng.randrange(1, 1 << 32))
    ear.awaited.append(Awaited(playout, to.room, to.generation))
    around.media.attach(flow)
    outlet.open(slot_at(time.monotonic(), around.origin_s))
    if mic is not None:
        mic.outlet = outlet
    return flow


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
