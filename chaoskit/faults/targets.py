"""Which links, services and participants a fault means, and what it may touch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaoskit.errors import PlanRefused
from chaoskit.model import BlastRadius, Crowd, LinkSpec, Permits, Target, TargetKind
from chaoskit.ports import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a target came to in this run; at least one of the three is not empty."""

    links: tuple[LinkSpec, ...] = ()
    services: tuple[str, ...] = ()
    participants: tuple[int, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return the names of what is touched, for plans and for comparing two faults."""
        people = tuple(f"p{k}" for k in self.participants)
        return (*(link.name for link in self.links), *self.services, *people)


def resolve(
    target: Target,
    *,
    crowd: Crowd,
    links: Sequence[LinkSpec],
    services: Sequence[str],
    permits: Permits | None = None,
) -> Resolved:
    """Return what `target` means in this run; globs pass over what is chaoskit's own.

    Raises PlanRefused when nothing matches, and when something of chaoskit's own is named.
    """
    harness = frozenset[str]() if permits is None else permits.harness
    if target.kind is TargetKind.LINK:
        own = {link.name for link in links if link.group in harness}
        names = set(target.matches(link.name for link in links))
        _refuse_own(target, own)
        resolved = Resolved(links=tuple(n for n in links if n.name in names - own))
    elif target.kind is TargetKind.SERVICE:
        own = set(services) - set(services if permits is None else permits.services)
        _refuse_own(target, own)
        resolved = Resolved(services=tuple(n for n in target.matches(services) if n not in own))
    else:
        groups = [g for g in crowd.groups if g.name not in harness]
        _refuse_own(target, harness)
        found = target.matches(dict.fromkeys(w for g in groups for w in (g.name, g.role)))
        resolved = Resolved(participants=Crowd(groups=tuple(groups)).members(found))
    if not resolved.names():
        patterns = ", ".join(target.patterns)
        raise PlanRefused(f"no {_word(target.kind)} matches {patterns}: a fault must hit something")
    return resolved


def meant(target: Target, tools: Tools) -> Resolved:
    """Return what `target` means in a run with these tools. Raises PlanRefused as `resolve`."""
    return resolve(
        target,
        crowd=tools.crowd,
        links=tools.links,
        services=() if tools.services is None else tools.services.services(),
        permits=tools.permits,
    )


def not_allowed(kind: str, resolved: Resolved, permits: Permits) -> tuple[str, ...]:
    """Return where the stack does not allow faults of `kind`, one reason a line."""
    allows = {link.name: permits.planes[link.plane] for link in resolved.links}
    allows |= {name: permits.services[name] for name in resolved.services}
    refused: dict[tuple[str, ...], list[str]] = {}
    for name, kinds in allows.items():
        if kind not in kinds:
            refused.setdefault(kinds, []).append(name)
    return tuple(
        f"the stack does not allow {kind} on {', '.join(names)};"
        f" it allows {', '.join(kinds) or 'no fault'}"
        for kinds, names in refused.items()
    )


def touched(resolved: Resolved, *, crowd: Crowd, links: Sequence[LinkSpec]) -> tuple[int, ...]:
    """Return the participants whose own traffic the fault can reach, ascending.

    A fault on a service, or on a link of the harness, reaches everybody who has a link to it.
    """
    groups = {g.name for g in crowd.groups}
    reached = {link.group for link in resolved.links if link.group in groups}
    services = {*resolved.services, *(n.group for n in resolved.links if n.group not in groups)}
    reached |= {link.group for link in links if link.service in services and link.group in groups}
    return tuple(sorted({*resolved.participants, *crowd.members(reached)}))


def outside(
    resolved: Resolved, radius: BlastRadius, *, crowd: Crowd, duration_s: float | None
) -> tuple[str, ...]:
    """Return why the fault is outside `radius`, one reason a line; empty when it is inside."""
    roles = {g.name: g.role for g in crowd.groups}
    reasons: list[str] = []
    wanted = {roles[link.group] for link in resolved.links if link.group in roles}
    wanted |= {crowd.group_of(k).role for k in resolved.participants}
    for role in sorted(wanted - set(radius.roles)):
        allowed = ", ".join(radius.roles) or "no role"
        reasons.append(f"touches role {role}; the blast radius allows {allowed}")
    # A link of the harness belongs to a service's own traffic, so it counts as that service.
    services = {*resolved.services, *(n.group for n in resolved.links if n.group not in roles)}
    for service in sorted(services - set(radius.services)):
        allowed = ", ".join(radius.services) or "no service"
        reasons.append(f"touches service {service}; the blast radius allows {allowed}")
    if duration_s is not None and duration_s > radius.max_duration_s + 1e-9:
        reasons.append(
            f"lasts {duration_s:g} s; the blast radius allows {radius.max_duration_s:g} s"
        )
    return tuple(reasons)


def by_group(participants: Iterable[int], crowd: Crowd) -> Mapping[str, int]:
    """Return how many of `participants` each group has, groups in the crowd's order."""
    wanted = set(participants)
    counts = {g.name: len(wanted.intersection(g.members())) for g in crowd.groups}
    return {name: n for name, n in counts.items() if n}


def _refuse_own(target: Target, own: Iterable[str]) -> None:
    named = [pattern for pattern in target.patterns if pattern in own]
    if named:
        belong = "belongs" if len(named) == 1 else "belong"
        raise PlanRefused(f"{', '.join(named)} {belong} to chaoskit itself: no fault acts on it")


def _word(kind: TargetKind) -> str:
    return {TargetKind.LINK: "link", TargetKind.SERVICE: "service"}.get(kind, "participant")
