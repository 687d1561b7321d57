"""The routes: HTTP in, one call of `Events`, HTTP out. Described in openapi.yaml."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from importlib import resources

from aiohttp import web

from chaoskit.services.directory.events import Events
from chaoskit.services.directory.refusals import Refused, bad_request
from chaoskit.services.directory.rooms_link import RoomNodes
from chaoskit.services.directory.store import Store
from chaoskit.services.directory.supervisor import Supervisor
from chaoskit.services.directory.watch import WatchHub
from chaoskit.services.directory.work import WorkerPool
from chaoskit.wire.directory import (
    DirectoryConfig,
    ErrorReply,
    EventRequest,
    FreshRoomRequest,
    Health,
    JoinRequest,
    LeaseRequest,
    Refusal,
)
from chaoskit.wire.directory_codec import M, Message, encode_message, parse_message

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DirectoryApp:
    """The HTTP side of one directory, and the lifetime of its parts."""

    def __init__(self, config: DirectoryConfig, *, store: Store, nodes: RoomNodes) -> None:
        """Build all parts; nothing runs before the application starts up."""
        self._hub = WatchHub(push=config.remedies.redirect)
        self._pool = WorkerPool(workers=config.workers, queue_size=config.queue_size)
        self._events = Events(config, store=store, nodes=nodes, hub=self._hub, pool=self._pool)
        self._supervisor = Supervisor(self._events, store=store, nodes=nodes)
        self._store = store
        self._nodes = nodes
        self._wasted = 0
        self._duties: list[asyncio.Task[None]] = []
        self._openapi = (
            resources.files("chaoskit.services.directory").joinpath("openapi.json").read_bytes()
        )

    def application(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[_errors_as_json], client_max_size=LARGEST_BODY)
        event = "/v1/events/{event}"
        app.router.add_post("/v1/events", self._create)
        app.router.add_get(event, self._state, allow_head=False)
        app.router.add_get(f"{event}/watch", self._watch, allow_head=False)
        app.router.add_post(f"{event}/join", self._join)
        app.router.add_post(f"{event}/leave", self._leave)
        app.router.add_put(f"{event}/lease", self._lease)
        app.router.add_post(f"{event}/stage", self._stage)
        app.router.add_post(f"{event}/fresh-room", self._fresh_room)
        app.router.add_post(f"{event}/end-room", self._end_room)
        for prefix in ("", "/v1"):
            app.router.add_get(f"{prefix}/health", self._health, allow_head=False)
            app.router.add_get(f"{prefix}/openapi.json", self._describe, allow_head=False)
        app.cleanup_ctx.append(self._background)
        app.on_shutdown.append(self._end_streams)
        return app

    async def _background(self, _: web.Application) -> AsyncIterator[None]:
        self._duties = [
            asyncio.create_task(duty)
            for duty in (self._nodes.run(), self._supervisor.run(), self._hub.keep_alive())
        ]
        yield
        for task in self._duties:
            task.cancel()
        await asyncio.wait(self._duties)
        await self._nodes.close()
        self._pool.stop()
        self._events.stop()
        self._store.close()

    async def failure(self) -> BaseException | None:
        """Wait until a duty ends, which none should; return why."""
        done, _ = await asyncio.wait(self._duties, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).exception()

    async def _end_streams(self, _: web.Application) -> None:
        self._hub.close()

    # --- events ----------------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.Response:
        wanted = await _parse_body(EventRequest, request)
        return _reply(await self._events.create(wanted), HTTPStatus.CREATED)

    async def _state(self, request: web.Request) -> web.Response:
        return _reply(self._events.state(_event(request)))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        event = _event(request)
        watcher = self._hub.open(event, encode_message(self._events.state(event)) + b"\n")
        stream = web.StreamResponse(
            headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
        )
        try:
            await stream.prepare(request)
            while lines := await watcher.take():
                await stream.write(lines)
        except ConnectionError:
            return stream  # it went away; its next stream begins with the state then
        finally:
            self._hub.leave(watcher)
        return stream

    async def _join(self, request: web.Request) -> web.Response:
        who = await _parse_body(JoinRequest, request)
        try:
            return _reply(await self._events.join(_event(request), who.identity))
        finally:
            if request.transport is None or request.transport.is_closing():
                self._wasted += 1

    async def _leave(self, request: web.Request) -> web.Response:
        who = await _parse_body(JoinRequest, request)
        await self._events.leave(_event(request), who.identity)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _lease(self, request: web.Request) -> web.Response:
        who = await _parse_body(LeaseRequest, request)
        return _reply(await self._events.heartbeat(_event(request), who.identity))

    async def _stage(self, request: web.Request) -> web.Response:
        who = await _parse_body(JoinRequest, request)
        answer = await self._events.ask_stage(_event(request), who.identity)
        return _reply(answer, HTTPStatus.OK if answer.granted else HTTPStatus.FORBIDDEN)

    # --- operators -------------------------------------------------------------------------------

    async def _fresh_room(self, request: web.Request) -> web.Response:
        wanted = await _parse_body(FreshRoomRequest, request)
        state = await self._events.fresh_room(
            _event(request), account=wanted.account, node=wanted.node
        )
        return _reply(state, HTTPStatus.CREATED)

    async def _end_room(self, request: web.Request) -> web.Response:
        return _reply(await self._events.end_room(_event(request)))

    async def _health(self, _: web.Request) -> web.Response:
        counters = self._events.counters | {
            "wasted": self._wasted,
            "waiting": self._pool.waiting,
            "waiting_peak": self._pool.waiting_peak,
            "watchers": len(self._hub),
        }
        return _reply(Health(status="ok", nodes=self._nodes.health(), counters=counters))

    async def _describe(self, _: web.Request) -> web.Response:
        return web.Response(body=self._openapi, content_type="application/json")


def _event(request: web.Request) -> str:
    return request.match_info["event"]


async def _parse_body(kind: type[M], request: web.Request) -> M:
    try:
        return parse_message(kind, await request.read())
    except ValueError as error:
        raise bad_request(str(error)) from error


def _reply(message: Message, status: int = HTTPStatus.OK) -> web.Response:
    return web.Response(
        body=encode_message(message), status=status, content_type="application/json"
    )


def _refuse(status: int, code: str, message: str) -> web.Response:
    return _reply(ErrorReply(error=Refusal(code=code, message=message)), status)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refusal:
        return _refuse(refusal.status, refusal.code, refusal.message)
    except web.HTTPException as error:
        code = HTTPStatus(error.status).phrase.lower().replace(" ", "_")
        return _refuse(error.status, code, f"{request.method} {request.path}: {error.reason}")
    except Exception:
        log.exception("a request failed: %s %s", request.method, request.path)
        return _refuse(500, "internal_error", "the directory failed; its log says why")
