"""The control API: Toxiproxy 2.12's routes on aiohttp, and what every request of it goes through.

Codes, messages, merge rules and header quirks are Toxiproxy's (`api.go`): errors are JSON sent as
text/plain, creating a toxic is 200, browsers are turned away, only known routes get a request id.
"""

import asyncio
import hmac
import logging
import posixpath
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

import chaoskit
from chaoskit.services.fault_proxy import gojson
from chaoskit.services.fault_proxy.link_table import LinkTable, read_wanted
from chaoskit.services.fault_proxy.refusals import Refusal, bad_body
from chaoskit.services.fault_proxy.tenure import FaultBook, Terms

log = logging.getLogger(__name__)

VERSION = "2.12.0"
"""The Toxiproxy release whose API this is; clients compare it."""
BODY_BYTES = 4 * 1024 * 1024
READ_TIMEOUT_S = 15.0
TTL_HEADER = "X-Chaoskit-Ttl"
LEASE_HEADER = "X-Chaoskit-Lease"
EPOCH_HEADER = "X-Chaoskit-Epoch"
CUT_HEADER = "X-Chaoskit-Cut"
COHORT_HEADER = "X-Chaoskit-Cohort"
LONGEST_TTL_S = 7 * 24 * 3600.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ToxiproxyApi:
    """Toxiproxy's routes over the links of one relay."""

    def __init__(self, table: LinkTable, book: FaultBook) -> None:
        """`book` takes note of faults that end by themselves."""
        self._table = table
        self._book = book

    def routes(self) -> list[web.RouteDef]:
        """Return the routes. HEAD is no GET here, as with Toxiproxy."""
        proxy, toxic = "/proxies/{proxy}", "/proxies/{proxy}/toxics/{toxic}"
        return [
            web.get("/proxies", self.list, allow_head=False),
            web.post("/proxies", self.create),
            web.get(proxy, self.show, allow_head=False),
            web.patch(proxy, self.update),
            web.post(proxy, self.update),
            web.delete(proxy, self.delete),
            web.get(f"{proxy}/toxics", self.list_toxics, allow_head=False),
            web.post(f"{proxy}/toxics", self.add_toxic),
            web.get(toxic, self.show_toxic, allow_head=False),
            web.patch(toxic, self.update_toxic),
            web.post(toxic, self.update_toxic),
            web.delete(toxic, self.remove_toxic),
            web.post("/populate", self.populate),
            web.post("/reset", self.reset),
            web.get("/version", self.version, allow_head=False),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """GET /proxies."""
        return answer({link.name: link.to_json() for link in self._table})

    async def create(self, request: web.Request) -> web.Response:
        """POST /proxies."""
        wanted = read_wanted(gojson.read_object(await read_body(request)))
        self._book.admit(read_terms(request))
        link = await self._table.create(wanted)
        return answer(link.to_json(), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """GET /proxies/{proxy}."""
        return answer(self._table.get(request.match_info["proxy"]).to_json())

    async def update(self, request: web.Request) -> web.Response:
        """PATCH or POST /proxies/{proxy}; `X-Chaoskit-Cut: reset` cuts connections with RST."""
        name = request.match_info["proxy"]
        self._table.get(name)
        body = gojson.read_object(await read_body(request))
        terms = read_terms(request)
        self._book.admit(terms)
        link = await self._table.update(name, body, reset=wants_reset(request))
        if not body.flag("enabled", True):
            self._book.hold(link, None, terms)
        elif link.enabled:
            self._book.lifted(link, None)
        return answer(link.to_json())

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /proxies/{proxy}."""
        self._book.admit(read_terms(request))
        self._table.delete(request.match_info["proxy"])
        return web.Response(status=204)

    async def list_toxics(self, request: web.Request) -> web.Response:
        """GET /proxies/{proxy}/toxics."""
        return answer(self._table.get(request.match_info["proxy"]).toxics.to_json())

    async def add_toxic(self, request: web.Request) -> web.Response:
        """POST /proxies/{proxy}/toxics; `X-Chaoskit-Cohort` makes toxics hit the same clients."""
        name = request.match_info["proxy"]
        self._table.get(name)
        body = gojson.read_object(await read_body(request))
        terms = read_terms(request)
        self._book.admit(terms)
        link = self._table.get(name)
        toxic = link.add_toxic(body, cohort=request.headers.get(COHORT_HEADER, ""))
        self._book.hold(link, toxic, terms)
        return answer(toxic.to_json())

    async def show_toxic(self, request: web.Request) -> web.Response:
        """GET /proxies/{proxy}/toxics/{toxic}."""
        link = self._table.get(request.match_info["proxy"])
        return answer(link.toxics.get(request.match_info["toxic"]).to_json())

    async def update_toxic(self, request: web.Request) -> web.Response:
        """PATCH or POST /proxies/{proxy}/toxics/{toxic}."""
        name, toxic_name = request.match_info["proxy"], request.match_info["toxic"]
        self._table.get(name)
        data = await read_body(request)
        terms = read_terms(request)
        self._book.admit(terms)
        link = self._table.get(name)
        link.toxics.get(toxic_name)
        toxic = link.update_toxic(toxic_name, gojson.read_object(data))
        if terms.ttl_s is not None or terms.lease is not None:
            self._book.hold(link, toxic, terms)
        return answer(toxic.to_json())

    async def remove_toxic(self, request: web.Request) -> web.Response:
        """DELETE /proxies/{proxy}/toxics/{toxic}."""
        self._book.admit(read_terms(request))
        link = self._table.get(request.match_info["proxy"])
        toxic = link.toxics.get(request.match_info["toxic"])
        link.remove_toxic(toxic)
        self._book.lifted(link, toxic)
        return web.Response(status=204)

    async def populate(self, request: web.Request) -> web.Response:
        """POST /populate; its errors are JSON with the part that was made."""
        try:
            bodies = gojson.read_objects(await read_body(request))
            wanted = [read_wanted(body, at=f" at proxy {n}") for n, body in enumerate(bodies, 1)]
            self._book.admit(read_terms(request))
        except Refusal as refusal:
            failed = {"error": refusal.message, "status": refusal.status, "proxies": None}
            return answer(failed, status=refusal.status)
        made, stopped_by = await self._table.populate(wanted)
        proxies = [link.to_json() for link in made] or None  # Go's empty slice is null
        if stopped_by is None:
            return answer({"proxies": proxies}, status=201)
        failed = {"error": stopped_by.message, "status": stopped_by.status, "proxies": proxies}
        return answer(failed, status=stopped_by.status)

    async def reset(self, request: web.Request) -> web.Response:
        """POST /reset."""
        self._book.admit(read_terms(request))
        self._table.reset()
        return web.Response(status=204)

    async def version(self, request: web.Request) -> web.Response:
        """GET /version; `server` tells clients that the extensions are there."""
        text = f'{{"version": "{VERSION}", "server": "chaoskit/{chaoskit.__version__}"}}\n'
        return web.Response(
            body=text.encode(), headers={"Content-Type": "application/json;charset=utf-8"}
        )


def application(routes: list[web.RouteDef], *, token: str | None) -> web.Application:
    """Return the application of `routes`. With `token`, every request must bear it."""
    app = web.Application(middlewares=[_gate(token)], client_max_size=BODY_BYTES)
    app.add_routes(routes)
    return app


def answer(value: object, *, status: int = 200) -> web.Response:
    """Return `value` as JSON."""
    return web.Response(
        status=status, body=gojson.write(value), headers={"Content-Type": "application/json"}
    )


async def read_body(request: web.Request) -> bytes:
    """Return the body. Raises Refusal 400 when it is too big or does not arrive in time."""
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise bad_body(f"not complete after {READ_TIMEOUT_S:.0f} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise bad_body(f"longer than {BODY_BYTES} bytes") from None


def read_terms(request: web.Request) -> Terms:
    """Return what the request's headers say of the fault's life. Raises Refusal 400."""
    ttl_s = None
    if TTL_HEADER in request.headers:
        ttl_s = _seconds(request.headers[TTL_HEADER], TTL_HEADER)
    return Terms(
        ttl_s=ttl_s,
        lease=request.headers.get(LEASE_HEADER),
        epoch=request.headers.get(EPOCH_HEADER),
    )


def wants_reset(request: web.Request) -> bool:
    """Whether connections are to be cut with RST. Raises Refusal 400."""
    cut = request.headers.get(CUT_HEADER, "close")
    if cut not in ("close", "reset"):
        raise bad_body(f"{CUT_HEADER} must be close or reset")
    return cut == "reset"


def _seconds(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST_TTL_S:
        raise bad_body(f"{name} must be seconds, above 0 and at most {LONGEST_TTL_S:.0f}")
    return seconds


def _gate(token: str | None) -> Any:
    """Return what every request passes: unknown routes, browsers, the token, refusals."""

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        unmatched = _unmatched(request)
        if unmatched is not None:
            return unmatched
        response = await _guarded(request, handler)
        response.headers["X-Toxiproxy-Request-Id"] = secrets.token_hex(10)
        return response

    async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("User-Agent", "").startswith("Mozilla/"):
            return _plain(403, "User agent not allowed\n")
        if token is not None and not _bears(request, token):
            refused = _refuse(Refusal(401, "missing or invalid auth token"))
            refused.headers["WWW-Authenticate"] = "Bearer"
            return refused
        try:
            return await handler(request)
        except Refusal as refusal:
            return _refuse(refusal)
        except (web.HTTPException, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            return _refuse(Refusal(500, f"{type(error).__name__}: {error}"))

    return gate


def _unmatched(request: web.Request) -> web.Response | None:
    """Return the answer to a request that no route takes, in the words of Go's router."""
    path = request.rel_url.raw_path
    clean = posixpath.normpath("/" + path.lstrip("/")) + ("/" if path.endswith("/") else "")
    clean = "/" if clean == "//" else clean
    if clean != path:
        return web.Response(status=301, headers={"Location": clean})
    if "%2f" in path.lower():  # Go unquotes first, so the name falls apart
        return _plain(404, "404 page not found\n")
    error = request.match_info.http_exception
    if error is None:
        return None
    if error.status == 405:
        return web.Response(status=405)
    return _plain(404, "404 page not found\n")


def _bears(request: web.Request, token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme == "Bearer" and hmac.compare_digest(given.encode(), token.encode())


def _refuse(refusal: Refusal) -> web.Response:
    body = gojson.write({"error": refusal.message, "status": refusal.status}) + b"\n"
    return _plain(refusal.status, body.decode())


def _plain(status: int, text: str) -> web.Response:
    return web.Response(
        status=status,
        body=text.encode(),
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
        },
    )
