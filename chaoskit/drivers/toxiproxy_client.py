"""Blocking calls to one Toxiproxy-like server, made safe. `toxiproxy` keeps them off the loop.

The project's client package is toxiproxy-python. It keeps host and port on a class, has no
timeouts, and takes most refusals for success, so here it works through a session of ours that
bounds each call and raises on every error status; no change is believed before it is read back.
What the package lacks (populate, versions, leases, live numbers) goes through the same session.
Source: reference/toxiproxy.md section 8.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
import toxiproxy
import toxiproxy.api

from chaoskit.errors import AdapterError
from chaoskit.model import (
    DirectionCounters,
    Json,
    LinkCounters,
    LinkSpec,
    LinkState,
    ProxyVersion,
    Toxic,
)

T = TypeVar("T")
UDP = "udp://"
_SAFE_NAME = re.compile(r"[A-Za-z0-9._~@+=,:!-]+\Z")  # the package does not quote names


class ToxiproxyError(AdapterError):
    """The server refused a call, answered nonsense, or not at all (`status` 0)."""

    def __init__(self, status: int, message: str, *, hint: str | None = None) -> None:
        """Keep the HTTP status beside the message."""
        super().__init__(f"toxiproxy: {message}", hint=hint)
        self.status = status


class _Session(requests.Session):
    """Bounds each call, adds our headers, and raises ToxiproxyError on every error status."""

    def __init__(self, timeout_s: float, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.trust_env = False  # no HTTP proxy of this machine stands before a fault proxy
        self.headers.update({"Connection": "close", **headers})
        self.call_headers: dict[str, str] = {}
        self._timeout_s = timeout_s

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        """Send one request. Raises ToxiproxyError."""
        options["headers"] = {**(options.get("headers") or {}), **self.call_headers}
        options["timeout"] = self._timeout_s
        try:
            response = super().request(method, url, *args, **options)
        except requests.RequestException as error:
            place = urlsplit(str(url)).netloc
            raise ToxiproxyError(0, f"no answer from {place}: {_reason(error)}") from error
        if response.status_code >= 400:
            raise ToxiproxyError(response.status_code, _message(response))
        return response


class ToxiproxyClient:
    """One server, for one thread at a time. Every call is bounded and raises ToxiproxyError."""

    def __init__(
        self,
        url: str,
        *,
        epoch: str | None = None,
        lease: str | None = None,
        token: str | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        """Know where the server is (`http://ip:port`); connect to nothing yet.

        `epoch`, `lease`: sent with every write, for servers that know them.
        """
        self._url = url.rstrip("/")
        parts = urlsplit(self._url)
        if parts.scheme != "http" or not parts.hostname or parts.path:
            raise ToxiproxyError(0, f"not the address of a server: {url}")
        self._host, self._port = parts.hostname, parts.port or 80
        headers = {"X-Chaoskit-Epoch": epoch} if epoch else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._headers, self._timeout_s = headers, timeout_s
        self._session = _Session(timeout_s, headers)
        self.lease = lease

    def start_anew(self) -> None:
        """Leave a call that hangs alone with its session; later calls get another one."""
        self._session = _Session(self._timeout_s, self._headers)

    def close(self) -> None:
        """End all connections."""
        self._session.close()

    # --- reading ---------------------------------------------------------------------------------

    def version(self) -> ProxyVersion:
        """Return the server's version; a real Toxiproxy has no `server`."""
        return self._read(
            "/version",
            lambda found: ProxyVersion(
                version=str(found["version"]), server=str(found.get("server", ""))
            ),
        )

    def links(self) -> dict[str, LinkState]:
        """Return all links by name."""
        return self._read(
            "/proxies",
            lambda found: {name: _link_state(state) for name, state in found.items()},
        )

    def link(self, name: str) -> LinkState:
        """Return one link."""
        return self._read(f"/proxies/{_quoted(name)}", _link_state)

    def toxics(self, name: str) -> tuple[Toxic, ...]:
        """Return the toxics of a link."""
        return self.link(name).toxics

    def counters(self, name: str) -> LinkCounters:
        """Return live counters of a link."""
        return self._read(f"/chaoskit/links/{_quoted(name)}", _link_counters)

    def all_counters(self) -> dict[str, LinkCounters]:
        """Return live counters of all links by name."""
        return self._read(
            "/chaoskit/links",
            lambda found: {name: _link_counters(one) for name, one in found["links"].items()},
        )

    def events(self, since: int) -> tuple[tuple[Mapping[str, Json], ...], int]:
        """Return the server's events from number `since` on, and the number to ask for next."""
        return self._read(
            f"/chaoskit/events?since={since}",
            lambda found: (tuple(found["events"]), int(found["next"])),
        )

    def lag(self) -> dict[str, float]:
        """Return how late the server's loop was: `max_ms_1s`, `max_ms`."""
        names = ("max_ms_1s", "max_ms")
        return self._read(
            "/chaoskit/lag", lambda found: {name: float(found[name]) for name in names}
        )

    def clock(self) -> float:
        """Return the server's CLOCK_MONOTONIC in seconds."""
        return self._read("/chaoskit/clock", lambda found: float(found["monotonic_s"]))

    # --- changing --------------------------------------------------------------------------------

    def populate(self, specs: Sequence[LinkSpec]) -> dict[str, LinkState]:
        """Create all links on ports of the server's choice; return their states by name."""
        if any(spec.transport == "udp" for spec in specs) and not self.version().server:
            raise ToxiproxyError(
                0, "this server has no UDP links", hint="use the embedded fault proxy"
            )
        self._send("POST", "/populate", [_wanted(spec) for spec in specs])
        states = self.links()
        for spec in specs:
            state = states.get(spec.name)
            if state is None or state.upstream != spec.upstream or not state.enabled:
                raise ToxiproxyError(200, f"link {spec.name} was not created as asked: {state}")
        return {spec.name: states[spec.name] for spec in specs}

    def set_enabled(
        self, name: str, enabled: bool, *, ttl_s: float | None = None, reset: bool = False
    ) -> None:
        """Cut or restore a link. `reset`: live TCP connections end with RST instead of EOF."""
        headers = self._terms(ttl_s) if not enabled else {}
        if reset and not enabled:
            headers["X-Chaoskit-Cut"] = "reset"
        with self._package(headers):
            proxy = self._proxy(name)
            if enabled:
                proxy.enable()
            else:
                proxy.disable()
        if self.link(name).enabled is not enabled:
            raise ToxiproxyError(200, f"link {name} did not become {_able(enabled)}")

    def add_toxic(self, name: str, toxic: Toxic, *, ttl_s: float | None = None) -> None:
        """Add `toxic` to link `name`."""
        _check_name(toxic.name)
        headers = self._terms(ttl_s)
        if toxic.cohort:
            headers["X-Chaoskit-Cohort"] = toxic.cohort
        with self._package(headers):
            self._proxy(name).add_toxic(
                name=toxic.name,
                type=toxic.type,
                stream=toxic.stream,
                toxicity=toxic.toxicity,
                attributes=dict(toxic.attributes),
            )
        found = next((found for found in self.toxics(name) if found.name == toxic.name), None)
        if found is None or not _same(found, toxic):
            raise ToxiproxyError(200, f"link {name}: asked for {toxic}, got {found}")

    def update_toxic(self, name: str, toxic: Toxic) -> None:
        """Change attributes and toxicity of a toxic that is there."""
        path = f"/proxies/{_quoted(name)}/toxics/{_quoted(toxic.name)}"
        body = {"attributes": dict(toxic.attributes), "toxicity": toxic.toxicity}
        try:
            self._send("PATCH", path, body)
        except ToxiproxyError as error:
            if error.status != 405:
                raise
            self._send("POST", path, body)  # below 2.6
        found = next((found for found in self.toxics(name) if found.name == toxic.name), None)
        if found is None or not _same(found, toxic):
            raise ToxiproxyError(200, f"link {name}: asked for {toxic}, got {found}")

    def remove_toxic(self, name: str, toxic_name: str) -> None:
        """Remove a toxic."""
        _check_name(toxic_name)
        with self._package({}):
            self._proxy(name).destroy_toxic(toxic_name)
        if any(toxic.name == toxic_name for toxic in self.toxics(name)):
            raise ToxiproxyError(200, f"link {name} still has toxic {toxic_name}")

    def reset(self) -> None:
        """Enable all links and remove all toxics."""
        with self._package({}):
            toxiproxy.Toxiproxy().reset()
        for state in self.links().values():
            if not state.enabled or state.toxics:
                raise ToxiproxyError(200, f"link {state.name} was not reset: {state}")

    def open_lease(self, ttl_s: float, holder: str) -> str:
        """Open a lease and return its id; later faults of this client are set under it."""
        found = self._send("POST", "/chaoskit/leases", {"ttl_s": ttl_s, "holder": holder})
        self.lease = str(found["id"])
        return self.lease

    def renew_lease(self, lease: str) -> None:
        """Let a lease live for its whole time from now on."""
        self._send("PUT", f"/chaoskit/leases/{_quoted(lease)}", None)

    def close_lease(self, lease: str) -> None:
        """End a lease; its faults are lifted."""
        self._send("DELETE", f"/chaoskit/leases/{_quoted(lease)}", None)
        if self.lease == lease:
            self.lease = None

    def close_epoch(self, epoch: str) -> None:
        """Refuse later writes of a run's epoch."""
        self._send("POST", f"/chaoskit/epochs/{_quoted(epoch)}/close", None)

    # --- how -------------------------------------------------------------------------------------

    def _read(self, path: str, parse: Callable[[dict[str, Any]], T]) -> T:
        with _sense():
            return parse(_object(self._session.get(self._url + path)))

    def _send(self, method: str, path: str, body: object) -> dict[str, Any]:
        response = self._session.request(method, self._url + path, json=body)
        return _object(response) if response.content else {}

    def _terms(self, ttl_s: float | None) -> dict[str, str]:
        headers = {} if ttl_s is None else {"X-Chaoskit-Ttl": f"{ttl_s:.3f}"}
        if self.lease is not None:
            headers["X-Chaoskit-Lease"] = self.lease
        return headers

    @contextmanager
    def _package(self, headers: dict[str, str]) -> Iterator[None]:
        """Point toxiproxy-python at our server and our session while the block runs."""
        module, consumer, session = toxiproxy.api, toxiproxy.api.APIConsumer, self._session
        before = module.requests, consumer.host, consumer.port
        if isinstance(before[0], _Session):  # of a call that hangs
            before = requests, *before[1:]
        session.call_headers = headers
        module.requests, consumer.host, consumer.port = session, self._host, self._port
        try:
            with _sense():
                yield
        finally:
            session.call_headers = {}
            if module.requests is session:
                module.requests, consumer.host, consumer.port = before

    def _proxy(self, name: str) -> Any:
        _check_name(name)
        proxy = toxiproxy.Toxiproxy().get_proxy(name)
        if proxy is None:
            raise ToxiproxyError(404, f"no link {name}")
        return proxy


@contextmanager
def _sense() -> Iterator[None]:
    """Turn what goes wrong with an unexpected body, here or in the package, into our error."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ToxiproxyError(200, f"an answer that makes no sense: {error!r}") from error


def _reason(error: requests.RequestException) -> str:
    cause = error.args[0] if error.args else error
    return str(getattr(cause, "reason", cause)).rpartition(": ")[2] or type(error).__name__


def _message(response: requests.Response) -> str:
    """Return the message of an error, whatever the content type says."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text.strip()[:200] or f"HTTP {response.status_code}"


def _object(response: requests.Response) -> dict[str, Any]:
    try:
        found = json.loads(response.content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        text = response.text.strip()[:200]
        raise ToxiproxyError(response.status_code, f"an answer that is no JSON object: {text}")
    return found


def _quoted(name: str) -> str:
    if "/" in name or not name:
        raise ToxiproxyError(0, f"a name that no path can carry: {name!r}")
    return quote(name, safe="")


def _check_name(name: str) -> None:
    if not _SAFE_NAME.match(name):
        raise ToxiproxyError(0, f"a name that toxiproxy-python cannot carry: {name!r}")


def _wanted(spec: LinkSpec) -> dict[str, Any]:
    scheme = UDP if spec.transport == "udp" else ""
    wanted: dict[str, Any] = {
        "name": spec.name,
        "listen": f"{scheme}127.0.0.1:0",
        "upstream": scheme + spec.upstream,
        "enabled": True,
    }
    if spec.allowed_peers:
        wanted["allowed_peers"] = list(spec.allowed_peers)
    return wanted


def _link_state(found: Mapping[str, Any]) -> LinkState:
    listen = str(found["listen"])
    return LinkState(
        name=str(found["name"]),
        transport="udp" if listen.startswith(UDP) else "tcp",
        listen=listen.removeprefix(UDP),
        upstream=str(found["upstream"]).removeprefix(UDP),
        enabled=bool(found["enabled"]),
        toxics=tuple(_toxic(toxic) for toxic in found.get("toxics") or ()),
    )


def _toxic(found: Mapping[str, Any]) -> Toxic:
    return Toxic(
        name=str(found["name"]),
        type=str(found["type"]),
        stream=str(found["stream"]),
        toxicity=float(found["toxicity"]),
        attributes=dict(found.get("attributes") or {}),
        cohort=str(found.get("cohort", "")),
    )


def _same(found: Toxic, asked: Toxic) -> bool:
    """Whether the server has what was asked; it may show more, and keeps toxicity in 32 bits."""
    return (
        (found.type, found.stream, found.cohort) == (asked.type, asked.stream, asked.cohort)
        and math.isclose(found.toxicity, asked.toxicity, rel_tol=1e-6, abs_tol=1e-7)
        and all(
            found.attributes.get(name, type(value)()) == value
            for name, value in asked.attributes.items()
            if isinstance(value, (int, float))
        )
    )


def _link_counters(found: Mapping[str, Any]) -> LinkCounters:
    transport = str(found["transport"])
    connections, flows = found["connections"], found["flows"]
    is_udp = transport == "udp"
    return LinkCounters(
        name=str(found["name"]),
        transport=transport,
        enabled=bool(found["enabled"]),
        open=int(flows["open"] if is_udp else connections["open"]),
        accepted=int(flows["opened"] if is_udp else connections["accepted"]),
        refused=int(flows["refused_opens"] if is_udp else connections["refused"]),
        cut=int(connections["cut"]),
        up=_direction(found["up"]),
        down=_direction(found["down"]),
        first_effect_s=found["first_effect_s"],
        last_effect_s=found["last_effect_s"],
    )


def _direction(found: Mapping[str, Any]) -> DirectionCounters:
    names = ("seen", "forwarded", "dropped", "delayed", "bytes")
    return DirectionCounters(**{name: int(found[name]) for name in names})


def _able(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"
