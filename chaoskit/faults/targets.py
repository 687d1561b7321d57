"""Which links, services and participants a fault means, and what it may touch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaoskit.errors import PlanRefused
from chaoskit.model import BlastRadius, Crowd, LinkSpec, Target, TargetKind


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
    target: Target, *, crowd: Crowd, links: Sequence[LinkSpec], services: Sequence[str]
) -> Resolved:
    """Return what `target` means in this run. Raises PlanRefused when nothing matches."""
    if target.kind is TargetKind.LINK:
        names = set(target.matches(link.name for link in links))
        resolved = Resolved(links=tuple(link for link in links if link.name in names))
    elif target.kind is TargetKind.SERVICE:
        resolved = Resolved(services=target.matches(services))
    else:
        groups = target.matches(_group_words(crowd))
        resolved = Resolved(participants=crowd.members(groups))
    if not resolved.names():
        patterns = ", ".join(target.patterns)
        raise PlanRefused(f"no {_word(target.kind)} matches {patterns}: a fault must hit something")
    return resolved


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


def _group_words(crowd: Crowd) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for g in crowd.groups for word in (g.name, g.role)))


def _word(kind: TargetKind) -> str:
    return {TargetKind.LINK: "link", TargetKind.SERVICE: "service"}.get(kind, "participant")
