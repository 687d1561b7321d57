"""What this proxy adds to Toxiproxy's API: leases, epochs, live numbers and events."""

from aiohttp import web

from chaoskit.services.fault_proxy import gojson
from chaoskit.services.fault_proxy.api import LONGEST_TTL_S, answer, read_body, read_terms
from chaoskit.services.fault_proxy.lag import LagMeter
from chaoskit.services.fault_proxy.link_table import LinkTable
from chaoskit.services.fault_proxy.refusals import bad_body
from chaoskit.services.fault_proxy.relay import Relay
from chaoskit.services.fault_proxy.tenure import FaultBook


class Extensions:
    """The routes under /chaoskit/."""

    def __init__(self, relay: Relay, table: LinkTable, book: FaultBook, lag: LagMeter) -> None:
        """Serve the state of one relay."""
        self._relay = relay
        self._table = table
        self._book = book
        self._lag = lag

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/chaoskit/links", self.links, allow_head=False),
            web.get("/chaoskit/links/{link}", self.link, allow_head=False),
            web.post("/chaoskit/leases", self.open_lease),
            web.put("/chaoskit/leases/{lease}", self.renew_lease),
            web.delete("/chaoskit/leases/{lease}", self.close_lease),
            web.post("/chaoskit/epochs/{epoch}/close", self.close_epoch),
            web.get("/chaoskit/clock", self.clock, allow_head=False),
            web.get("/chaoskit/events", self.events, allow_head=False),
            web.get("/chaoskit/lag", self.lag, allow_head=False),
        ]

    async def links(self, request: web.Request) -> web.Response:
        """GET /chaoskit/links: the live numbers of all links."""
        return answer({"links": {link.name: link.counters() for link in self._table}})

    async def link(self, request: web.Request) -> web.Response:
        """GET /chaoskit/links/{link}: the live numbers of one link."""
        return answer(self._table.get(request.match_info["link"]).counters())

    async def open_lease(self, request: web.Request) -> web.Response:
        """POST /chaoskit/leases {"ttl_s", "holder"}."""
        body = gojson.read_object(await read_body(request))
        ttl_s, holder = body.number("ttl_s", 0.0), body.text("holder", "")
        if not 0 < ttl_s <= LONGEST_TTL_S:
            raise bad_body(f"ttl_s must be above 0 and at most {LONGEST_TTL_S:.0f}")
        self._book.admit(read_terms(request))
        return answer(self._book.open_lease(ttl_s, holder), status=201)

    async def renew_lease(self, request: web.Request) -> web.Response:
        """PUT /chaoskit/leases/{lease}."""
        self._book.admit(read_terms(request))
        return answer(self._book.renew_lease(request.match_info["lease"]))

    async def close_lease(self, request: web.Request) -> web.Response:
        """DELETE /chaoskit/leases/{lease}; allowed in a closed epoch too, for it only heals."""
        self._book.close_lease(request.match_info["lease"])
        return web.Response(status=204)

    async def close_epoch(self, request: web.Request) -> web.Response:
        """POST /chaoskit/epochs/{epoch}/close."""
        self._book.close_epoch(request.match_info["epoch"])
        return web.Response(status=204)

    async def clock(self, request: web.Request) -> web.Response:
        """GET /chaoskit/clock: CLOCK_MONOTONIC of this process, the base of all stamps."""
        return answer({"monotonic_s": self._relay.timeline.now()})

    async def events(self, request: web.Request) -> web.Response:
        """GET /chaoskit/events?since=N."""
        since = request.query.get("since", "0")
        if not (since.isascii() and since.isdecimal()):
            raise bad_body("since must be a whole number")
        return answer(self._relay.events.since(int(since)))

    async def lag(self, request: web.Request) -> web.Response:
        """GET /chaoskit/lag: how late the loop was, milliseconds."""
        return answer(self._lag.to_json())
