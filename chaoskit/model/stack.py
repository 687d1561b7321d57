"""What a stack consists of: services, planes, links, and what may act on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from chaoskit.model.terms import Plane


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """One hop of one group through the fault proxy. `transport`: tcp | udp.

    `upstream`: host:port, or `dynamic` for a UDP link whose peers are announced (DESIGN §10).
    `allowed_peers`: addresses or networks that its clients may name; empty = 127.0.0.1 alone.
    """

    name: str
    transport: str
    upstream: str
    allowed_peers: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The group (first part of the name)."""
        return self.name.split(".")[0]

    @property
    def plane(self) -> str:
        """The plane (second part of the name)."""
        return self.name.split(".")[1]

    @property
    def service(self) -> str:
        """The service (last part of the name)."""
        return self.name.split(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthProbe:
    """How a service shows that it serves, on the port named `port`.

    `kind`: http (GET `path` answers 200) | tcp (accepts) | none.
    """

    kind: str = "none"
    port: str = "main"
    path: str = "/health"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One process of a stack, as a runtime starts it.

    `argv`: template; `{python}`, `{name}`, `{ready}` (the ready file, from the run folder) and
    `{port}` or `{port:NAME}` are filled in. `ports`: name → fixed number, 0 = one of the run's
    block; a restarted service keeps its ports. `ready`: the process writes its ready file when it
    serves. `depends`: services that must be healthy first.
    """

    name: str
    argv: tuple[str, ...]
    ports: Mapping[str, int] = field(default_factory=dict)
    ready: bool = True
    health: HealthProbe = field(default_factory=HealthProbe)
    depends: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSpec:
    """How a group reaches the services of one plane. `transport`: tcp | udp; `port`: a port's name.

    `upstream`: `service` (the service's address) or `dynamic` (peers are announced, UDP only).
    `allows`: fault kinds that may act on links of this plane.
    """

    plane: Plane
    services: tuple[str, ...]
    transport: str
    port: str = "main"
    upstream: str = "service"
    allows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Permits:
    """What faults may act on. `services` and `planes`: name → fault kinds that it allows.

    What is named in neither, and the links and members of the groups in `harness`, are chaoskit's
    own: no fault may act on them.
    """

    services: Mapping[str, tuple[str, ...]]
    planes: Mapping[str, tuple[str, ...]]
    harness: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack as its file describes it; any runtime realises it.

    `proxy`, `directory`, `rooms`: names of the services that play these parts. `allows`: service →
    fault kinds that may act on it. `harness`: link groups that are no crowd (observer, operator,
    the directory itself) → the planes that they use. `ear_delay_s`: stated mouth-to-ear delay of
    the healthy stack; audio planned at the microphone at t is due at the ear at t + ear_delay_s.
    """

    id: str
    title: str
    services: tuple[ServiceSpec, ...]
    planes: tuple[PlaneSpec, ...]
    proxy: str
    directory: str
    rooms: tuple[str, ...]
    harness: Mapping[str, tuple[Plane, ...]] = field(default_factory=dict)
    allows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ear_delay_s: float = 0.26

    def filled(self, values: Mapping[str, str]) -> "Stack":
        """Return the stack with `{key}` of `values` filled in in every command line."""

        def fill(word: str) -> str:
            for key, value in values.items():
                word = word.replace(f"{{{key}}}", value)
            return word

        services = tuple(
            replace(s, argv=tuple(fill(word) for word in s.argv)) for s in self.services
        )
        return replace(self, services=services)

    def service_names(self) -> tuple[str, ...]:
        """Return the names of all services, in the order of the file."""
        return tuple(s.name for s in self.services)

    def permits(self) -> Permits:
        """Return what faults may act on: everything but the proxy and the harness, as allowed."""
        names = (name for name in self.service_names() if name != self.proxy)
        return Permits(
            services={name: self.allows.get(name, ()) for name in names},
            planes={str(plane.plane): plane.allows for plane in self.planes},
            harness=frozenset(self.harness),
        )

    def links(
        self, groups: Iterable[str], addresses: Mapping[tuple[str, str], str] | None = None
    ) -> tuple[LinkSpec, ...]:
        """Return every link of `groups` and of the harness, in a stable order.

        `addresses`: (service, port name) → `host:port`; without them upstreams are empty, which is
        enough to plan. Raises KeyError when an address is missing from a mapping that is given.
        """
        # A group of the crowd may play a part of the harness (the canary does): one link is enough.
        wanted = {group: tuple(Plane) for group in groups}
        wanted |= {g: planes for g, planes in self.harness.items() if g not in wanted}
        return tuple(
            LinkSpec(
                name=f"{group}.{plane.plane}.{service}",
                transport=plane.transport,
                upstream=_upstream(plane, service, addresses),
            )
            for group, planes in wanted.items()
            for plane in self.planes
            if plane.plane in planes
            for service in plane.services
            if service != group
        )


def _upstream(
    plane: PlaneSpec, service: str, addresses: Mapping[tuple[str, str], str] | None
) -> str:
    if plane.upstream == "dynamic":
        return "dynamic"
    return "" if addresses is None else addresses[service, plane.port]
