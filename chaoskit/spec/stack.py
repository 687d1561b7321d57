"""Stack files: services with their commands, planes of their links, what is allowed on each."""

import graphlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from chaoskit.data import fixtures_dir
from chaoskit.faults.registry import KINDS
from chaoskit.model import HealthProbe, Plane, PlaneSpec, ServiceSpec, Stack
from chaoskit.spec.derive import Door, build, derive
from chaoskit.spec.door_types import Names
from chaoskit.spec.doors import Id
from chaoskit.spec.messages import validate
from chaoskit.spec.yaml_lines import (
    Finding,
    Where,
    YamlDocument,
    load_yaml,
    nearest,
    raise_findings,
)

STACK_FORMAT = "chaoskit.stack/v1"
KNOWN_STACKS = ("embedded", "livekit", "janus")
"""Names that a per-stack value may use, whether or not this version has their files."""
LAST_PORT = 65535
_PORT = re.compile(r"\{port(?::([\w-]+))?\}")

if TYPE_CHECKING:
    HealthDoor: TypeAlias = Door
else:
    HealthDoor = derive(HealthProbe, name="Health")


class ServiceDoor(Door):
    """A service of a stack. `allows`: fault kinds that may act on it."""

    name: Id
    argv: Annotated[list[str], Field(min_length=1)]
    ports: dict[str, int] = Field(default_factory=dict)
    ready: bool = True
    health: HealthDoor | None = None
    depends: Names = ()
    env: dict[str, str] = Field(default_factory=dict)
    allows: Names = ()


class PlaneDoor(Door):
    """A plane: whom a group reaches over it, and how."""

    services: Names
    transport: Literal["tcp", "udp"]
    port: str = "main"
    upstream: Literal["service", "dynamic"] = "service"
    allows: Names = ()


class StackDoor(Door):
    """A stack file."""

    format: Literal["chaoskit.stack/v1"]
    id: Id
    title: str
    proxy: str
    directory: str
    rooms: Names
    services: Annotated[list[ServiceDoor], Field(min_length=1)]
    planes: dict[Annotated[Plane, Field(strict=False)], PlaneDoor]
    harness: dict[str, Names] = Field(default_factory=dict)


def stack_names() -> tuple[str, ...]:
    """Return the names of the stacks that this version has files for."""
    return tuple(sorted(p.stem for p in (fixtures_dir() / "stacks").glob("*.yaml")))


def load_stack(name: str) -> Stack:
    """Return a stack by name or by the path of its file.

    Raises InvalidInput for a file that does not validate, FileNotFoundError for an unknown name.
    """
    path, shown = Path(name), name
    if path.suffix not in (".yaml", ".yml"):
        path = fixtures_dir() / "stacks" / f"{name}.yaml"
        shown = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        raise FileNotFoundError(path)
    document = load_yaml(path, shown_as=shown)
    door, findings = validate(StackDoor, document)
    raise_findings(findings)
    assert door is not None
    raise_findings([*_unknown_names(door, document), *_missing_parts(door, document)])
    return _stack(door)


def _stack(door: StackDoor) -> Stack:
    services = tuple(
        build(
            ServiceSpec,
            service,
            argv=tuple(service.argv),
            health=build(HealthProbe, service.health) if service.health else HealthProbe(),
        )
        for service in door.services
    )
    planes = tuple(build(PlaneSpec, plane, plane=name) for name, plane in door.planes.items())
    harness = {group: tuple(Plane(p) for p in names) for group, names in door.harness.items()}
    return Stack(
        id=door.id,
        title=door.title,
        services=services,
        planes=planes,
        proxy=door.proxy,
        directory=door.directory,
        rooms=door.rooms,
        harness=harness,
        allows={s.name: s.allows for s in door.services},
    )


def _unknown_names(door: StackDoor, document: YamlDocument) -> list[Finding]:
    services = [s.name for s in door.services]
    found: list[Finding] = []

    def check(word: str, names: tuple[str, ...], known: list[str], where: Where) -> None:
        for name in names:
            if name not in known:
                message = f'unknown {word} "{name}"{nearest(name, known)}'
                found.append(document.finding(where, message))

    check("service", (door.proxy,), services, ("proxy",))
    check("service", (door.directory,), services, ("directory",))
    check("service", door.rooms, services, ("rooms",))
    for i, service in enumerate(door.services):
        check("service", service.depends, services, ("services", i, "depends"))
        check("fault kind", service.allows, list(KINDS), ("services", i, "allows"))
    for name, plane in door.planes.items():
        check("service", plane.services, services, ("planes", name, "services"))
        check("fault kind", plane.allows, list(KINDS), ("planes", name, "allows"))
    for group, planes in door.harness.items():
        check("plane", planes, [str(p) for p in Plane], ("harness", group))
    return found


def _missing_parts(door: StackDoor, document: YamlDocument) -> list[Finding]:
    """What a run would look for in vain: ports, planes, links of the harness, an order to start."""
    found: list[Finding] = []
    ports = {s.name: s.ports for s in door.services}

    def need_port(service: str, port: str, where: Where) -> None:
        known = ports.get(service)
        if known is not None and port not in known:
            message = f'service "{service}" has no port "{port}"{nearest(port, known)}'
            found.append(document.finding(where, message))

    for i, service in enumerate(door.services):
        for name, number in service.ports.items():
            if not 0 <= number <= LAST_PORT:
                message = f"{number} is no port; it must be 0 (any) to {LAST_PORT}"
                found.append(document.finding(("services", i, "ports", name), message))
        for word, text in enumerate(service.argv):
            for port in _PORT.findall(text):
                need_port(service.name, port or "main", ("services", i, "argv", word))
        if service.health is not None:
            probe = build(HealthProbe, service.health)
            if probe.kind != "none":
                need_port(service.name, probe.port, ("services", i, "health"))
    need_port(door.proxy, "main", ("proxy",))
    for plane, parts in door.planes.items():
        for name in parts.services if parts.upstream == "service" else ():
            need_port(name, parts.port, ("planes", plane, "port"))
    needed = {Plane.API: (door.directory,), Plane.SIGNAL: door.rooms, Plane.MEDIA: door.rooms}
    for plane, names in needed.items():
        there = door.planes[plane].services if plane in door.planes else ()
        for name in names:
            if name not in there:
                message = f'no group reaches "{name}" on the plane {plane}'
                found.append(document.finding(("planes", str(plane)), message))
    own_links = {door.directory: Plane.SIGNAL, "observer": Plane.SIGNAL, "operator": Plane.API}
    for group, plane in own_links.items():
        if plane not in door.harness.get(group, ()):
            message = f'"{group}" needs links of its own on the plane {plane}'
            found.append(document.finding(("harness",), message))
    try:
        graphlib.TopologicalSorter({s.name: s.depends for s in door.services}).prepare()
    except graphlib.CycleError as error:
        circle = " → ".join(error.args[1])
        found.append(document.finding(("services",), f"services wait for each other: {circle}"))
    return found
