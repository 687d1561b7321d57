"""The core of the Janus API: reads requests, keeps sessions, hands bodies to the bridge."""

import random
from collections.abc import Callable, Iterator

from chaoskit import __version__
from chaoskit.services.room_server.bridge import Bridge
from chaoskit.services.room_server.sessions import Connection, Handle, Session
from chaoskit.wire.audiobridge import PLUGIN
from chaoskit.wire.janus_api import (
    MAX_ID,
    CoreError,
    CoreErrorCode,
    Request,
    encode_error,
    encode_reply,
    parse_requests,
)

SWEEP_S = 2.0
"""How often sessions are checked for having expired."""


class Gateway:
    """Answers requests of any number of connections.

    A session ends when it is destroyed, when `session_timeout_s` passed without a request (0 =
    never), or when its connection is gone and `reclaim_s` passed since its last request. With
    `reclaim_s` 0 it goes with the connection.
    """

    def __init__(
        self,
        bridge: Bridge,
        *,
        name: str,
        now: Callable[[], float],
        rng: random.Random,
        session_timeout_s: float = 60.0,
        reclaim_s: float = 0.0,
    ) -> None:
        """`now` gives monotonic seconds; `rng` draws ids; `name` is shown by `info`."""
        self.sessions: dict[int, Session] = {}
        self._bridge = bridge
        self._name = name
        self._now = now
        self._rng = rng
        self._session_timeout_s = session_timeout_s
        self._reclaim_s = reclaim_s

    def receive(self, connection: Connection, text: str) -> None:
        """Answer one WebSocket message."""
        for request in parse_requests(text):
            try:
                if isinstance(request, CoreError):
                    raise request
                self._answer(connection, request)
            except CoreError as error:
                connection.send(encode_error(error))

    def disconnected(self, connection: Connection) -> None:
        """Take notice that a connection is gone."""
        for session in self._held_by(connection):
            session.connection = None
            if self._reclaim_s <= 0:
                self._end(session)

    def sweep(self) -> None:
        """End the sessions that expired; call it every `SWEEP_S`."""
        now_s = self._now()
        for session in list(self.sessions.values()):
            idle_s = now_s - session.last_request_s
            if session.connection is None:
                if idle_s >= self._reclaim_s:
                    self._end(session)
            elif 0 < self._session_timeout_s <= idle_s:
                session.connection.send(encode_reply("timeout", session_id=session.id))
                self._end(session)

    # --- requests --------------------------------------------------------------------------------

    def _answer(self, connection: Connection, request: Request) -> None:
        if not request.session_id and not request.handle_id:
            self._answer_outside_sessions(connection, request)
            return
        session, handle = self._place(request)
        match request.keyword:
            case "keepalive":
                self._reply(connection, request, "ack")
            case "claim" if handle is None:
                session.connection = connection
                self._reply(connection, request, "success")
            case "attach" if handle is None:
                self._attach(connection, request, session)
            case "destroy" if handle is None:
                self._reply(connection, request, "success")
                self._end(session)
            case "message" if handle is not None:
                body = request.object_field("body")
                self._bridge.request(handle, connection, request.transaction, body)
            case "detach" if handle is not None:
                self._reply(connection, request, "success")
                del session.handles[handle.id]
                self._bridge.detach(handle)
                connection.send(encode_reply("detached", session_id=session.id, sender=handle.id))
            case "hangup" if handle is not None:
                self._reply(connection, request, "success")
                self._bridge.hang_up(handle)
            case "claim" | "attach" | "destroy" | "message" | "detach" | "hangup":
                raise _unhandled(request)
            case keyword:
                raise request.refusal(CoreErrorCode.UNKNOWN_REQUEST, f"Unknown request '{keyword}'")

    def _answer_outside_sessions(self, connection: Connection, request: Request) -> None:
        match request.keyword:
            case "ping":
                self._reply(connection, request, "pong")
            case "info":
                connection.send(self._server_info(request.transaction))
            case "create":
                number = request.id_field("id")
                if number in self.sessions:
                    raise CoreError(
                        CoreErrorCode.SESSION_CONFLICT,
                        "Session ID already in use",
                        session_id=number,
                        transaction=request.transaction,
                    )
                session = Session(number or self._unused(self.sessions), connection, self._now())
                self.sessions[session.id] = session
                self._reply(connection, request, "success", new_id=session.id)
            case _:
                raise _unhandled(request)

    def _place(self, request: Request) -> tuple[Session, Handle | None]:
        if not request.session_id:
            raise request.refusal(CoreErrorCode.SESSION_NOT_FOUND, "Session not found")
        session = self.sessions.get(request.session_id)
        if session is None:
            raise request.refusal(
                CoreErrorCode.SESSION_NOT_FOUND, f"No such session {request.session_id}"
            )
        session.last_request_s = self._now()
        if not request.handle_id:
            return session, None
        handle = session.handles.get(request.handle_id)
        if handle is None:
            raise request.refusal(
                CoreErrorCode.HANDLE_NOT_FOUND,
                f"No such handle {request.handle_id} in session {session.id}",
            )
        return session, handle

    def _attach(self, connection: Connection, request: Request, session: Session) -> None:
        plugin = request.text_field("plugin")
        if plugin != PLUGIN:
            raise request.refusal(CoreErrorCode.PLUGIN_NOT_FOUND, f"No such plugin '{plugin}'")
        handle = Handle(self._unused(session.handles), session)
        session.handles[handle.id] = handle
        self._bridge.attach(handle)
        self._reply(connection, request, "success", new_id=handle.id)

    def _end(self, session: Session) -> None:
        del self.sessions[session.id]
        # Nobody of this session is told any more, not even that its other handles are leaving.
        session.connection = None
        for handle in session.handles.values():
            self._bridge.detach(handle)

    def _held_by(self, connection: Connection) -> Iterator[Session]:
        return iter([s for s in self.sessions.values() if s.connection is connection])

    def _reply(
        self, connection: Connection, request: Request, keyword: str, *, new_id: int | None = None
    ) -> None:
        connection.send(
            encode_reply(
                keyword,
                session_id=request.session_id or None,
                transaction=request.transaction,
                members=None if new_id is None else {"data": {"id": new_id}},
            )
        )

    def _server_info(self, transaction: str) -> str:
        members = {
            "name": "chaoskit embedded room server",
            "version_string": __version__,
            "accepting-new-sessions": True,
            "session-timeout": int(self._session_timeout_s),
            "reclaim-session-timeout": int(self._reclaim_s),
            "server-name": self._name,
            "plugins": {
                PLUGIN: {
                    "name": "AudioBridge subset",
                    "description": "Plain RTP, µ-law at 8 kHz; no WebRTC, no Opus",
                    "version_string": __version__,
                }
            },
        }
        return encode_reply("server_info", transaction=transaction, members=members)

    def _unused(self, taken: dict[int, Session] | dict[int, Handle]) -> int:
        while True:
            number = self._rng.randrange(1, MAX_ID)
            if number not in taken:
                return number


def _unhandled(request: Request) -> CoreError:
    return request.refusal(
        CoreErrorCode.INVALID_REQUEST_PATH, f"Unhandled request '{request.keyword}' at this path"
    )
