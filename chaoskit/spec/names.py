"""Names that must mean something: groups, links, services, faults, roles, profiles.

Works on the raw document, so that a wrong name is reported beside errors of form elsewhere.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from chaoskit.faults.registry import KINDS as FAULTS
from chaoskit.faults.registry import fault_class
from chaoskit.model import Stack, Target, TargetKind
from chaoskit.spec.doors import ROLES, SHORT_GROUPS, TARGET_KEYS
from chaoskit.spec.profile import profile_names
from chaoskit.spec.yaml_lines import Finding, Where, YamlDocument, nearest

EVERYONE = "everyone"
WINDOWS = ("run", "steady")
COUNTS = ("joined", "trying", "away", "gone", "present", "hearing", "attempts")
"""What `when:` can count of a group or of the whole `crowd` (ports.CrowdFacts.count)."""


class NameCheck:
    """Collects findings about names in one experiment document."""

    def __init__(self, document: YamlDocument, stack: Stack | None) -> None:
        """Check names against `stack`; without one, links and services are not looked at."""
        self._document = document
        self._stack = stack
        self.findings: list[Finding] = []
        root = document.value if isinstance(document.value, dict) else {}
        self._root: dict[str, Any] = root
        self._roles = _groups(root.get("crowd"))
        self._steps = _mappings(root.get("method"))
        # Backwards, so that of two equal ids the first is the one that counts.
        self._step_ids = {id_: i for i, s in reversed(self._steps) if (id_ := step_id(s))}
        self._faults = [
            id_ for i, step in self._steps if "fault" in step and (id_ := step_id(step))
        ]

    def run(self) -> list[Finding]:
        """Return every finding."""
        self._crowd()
        self._clients()
        self._profile()
        self._on_air()
        for i, step in self._steps:
            self._step(("method", i), step)
        self._checks()
        self._blast_radius()
        for i, condition in _mappings(self._root.get("abort")):
            self._words("group or role", condition.get("members"), ("abort", i, "members"))
            if ("below" in condition) == ("above" in condition):
                self._add(("abort", i), 'an abort condition needs either "below" or "above"')
        return self.findings

    def _crowd(self) -> None:
        crowd = self._root.get("crowd")
        if isinstance(crowd, dict):
            for name in crowd:
                if name not in SHORT_GROUPS:
                    hint = nearest(name, SHORT_GROUPS)
                    message = f'unknown group "{name}"{hint or "; other groups need the long form"}'
                    self._add(("crowd", name), message, key=True)
        seen: set[str] = set()
        reserved = self._stack.harness if self._stack else {}
        for i, group in _mappings(crowd):
            name = group.get("name")
            if isinstance(name, str) and name in seen:
                self._add(("crowd", i, "name"), f'group "{name}" stands here twice')
            if isinstance(name, str) and (name in reserved or name in (EVERYONE, "crowd")):
                self._add(("crowd", i, "name"), f'"{name}" is taken by chaoskit itself')
            seen.add(str(name))
        if self._roles and "listener" not in self._roles.values():
            self._add(("crowd",), "0 listeners; a crowd needs somebody who listens")

    def _clients(self) -> None:
        clients = self._root.get("client")
        for name in clients if isinstance(clients, dict) else ():
            self._word("group", name, self._roles, ("client", name), key=True)

    def _profile(self) -> None:
        profile = self._root.get("profile")
        where: Where = ("profile",)
        if isinstance(profile, dict):
            profile, where = profile.get("base"), ("profile", "base")
        if isinstance(profile, str):
            self._word("profile", profile, profile_names(), where)

    def _on_air(self) -> None:
        speakers = self._speakers()
        if self._roles and not speakers:
            self._add(("crowd",), "nobody speaks; a crowd needs a host, a guest or an owner")
        for i, segment in _mappings(self._root.get("programme")):
            for name in _texts(segment.get("speakers")):
                self._speaker(name, speakers, ("programme", i, "speakers"))
        for i, cue in _mappings(self._root.get("script")):
            for name in _texts(cue.get("group")):
                self._speaker(name, speakers, ("script", i, "group"))

    def _speaker(self, name: str, speakers: Sequence[str], where: Where) -> None:
        if name in self._roles and name not in speakers:
            self._add(where, f'group "{name}" does not speak; speakers are {", ".join(speakers)}')
        else:
            self._word("group", name, self._roles, where)

    def _speakers(self) -> list[str]:
        bands = {g.get("name"): g.get("speaker") for _, g in _mappings(self._root.get("crowd"))}
        return [
            name
            for name, role in self._roles.items()
            if role != "listener" or bands.get(name) is not None
        ]

    def _step(self, where: Where, step: dict[str, Any]) -> None:
        id_ = step_id(step)
        if id_ is not None and self._step_ids[id_] != where[-1]:
            self._add((*where, "id") if "id" in step else where, f'step "{id_}" stands here twice')
        triggers = [key for key in ("at", "when", "after") if key in step]
        if len(triggers) != 1:
            self._add(where, 'a step needs exactly one of "at", "when" and "after"')
        if "delay" in step and "after" not in step:
            self._add(
                (*where, "delay"), '"delay" goes with "after"; with "at" add the two', key=True
            )
        if isinstance(step.get("after"), str):
            self._word("step", step["after"], self._step_ids, (*where, "after"))
        if isinstance(step.get("when"), str):
            self._count(step["when"], (*where, "when"))
        kind = step.get("fault")
        if isinstance(kind, str) and kind in FAULTS:
            self._target(where, step, kind)

    def _count(self, condition: str, where: Where) -> None:
        if ">=" not in condition:
            return
        name = condition.split(">=")[0].strip()
        who, _, what = name.partition(".")
        known = [*self._roles, "crowd"]
        if who not in known or what not in COUNTS:
            options = [f"{w}.{c}" for w in known for c in COUNTS]
            self._add(where, f'unknown count "{name}"{nearest(name, options)}')

    def _target(self, where: Where, step: dict[str, Any], kind: str) -> None:
        acts_on = fault_class(kind).acts_on
        key = TARGET_KEYS[acts_on]
        for pattern in _texts(step.get(key)):
            here = (*where, key)
            if self._is_own(acts_on, pattern):
                message = f"{pattern} belongs to chaoskit itself: no fault acts on it"
                self._add(here, message, True)
            elif acts_on is TargetKind.PARTICIPANTS:
                known = [*self._roles, *self._roles.values()]
                self._match("group or role", pattern, known, here)
            elif self._stack is not None and acts_on is TargetKind.SERVICE:
                allows = self._stack.permits().services
                found = self._match("service", pattern, list(allows), here)
                self._allowed(kind, {name: allows[name] for name in found}, here)
            elif self._stack is not None and self._roles:
                permits = self._stack.permits()
                links = [
                    n for n in self._stack.links(self._roles) if n.group not in permits.harness
                ]
                allows = {link.name: permits.planes[link.plane] for link in links}
                found = self._match("link", pattern, list(allows), here)
                # A glob may reach further than a kind can (loss on `listeners.*` meets TCP): that
                # is the plan's to refuse, with its reason.
                named = {name: allows[name] for name in found if name == pattern}
                self._allowed(kind, named, here)

    def _is_own(self, acts_on: TargetKind, name: str) -> bool:
        stack = self._stack
        if stack is None:
            return False
        if acts_on is TargetKind.SERVICE:
            return name == stack.proxy
        if acts_on is TargetKind.PARTICIPANTS:
            return name in stack.harness
        return any(n.name == name and n.group in stack.harness for n in stack.links(self._roles))

    def _match(self, word: str, pattern: str, known: Sequence[str], where: Where) -> list[str]:
        found = Target(kind=TargetKind.LINK, patterns=(pattern,)).matches(known)
        if not found and any(c in pattern for c in "*?["):
            near = _nearest_pattern(pattern, known)
            message = f'no {word} matches "{pattern}": a fault must hit something{near}'
            self._add(where, message, True)
        elif not found:
            self._add(where, f'unknown {word} "{pattern}"{nearest(pattern, known)}')
        return list(found)

    def _allowed(self, kind: str, allows: dict[str, tuple[str, ...]], where: Where) -> None:
        for name, kinds in allows.items():
            if kind not in kinds:
                allowed = ", ".join(kinds) or "no fault"
                message = f"the stack does not allow {kind} on {name}; it allows {allowed}"
                self._add(where, message, True)

    def _checks(self) -> None:
        hypothesis = self._root.get("hypothesis")
        checks = hypothesis.get("checks") if isinstance(hypothesis, dict) else None
        for i, check in _mappings(checks):
            where: Where = ("hypothesis", "checks", i)
            kind, of, during = check.get("check"), check.get("of"), check.get("during")
            if isinstance(of, str) and of not in self._faults:
                self._add((*where, "of"), _no_fault(f"check {kind}", of, self._faults))
            if isinstance(during, str) and during not in (*WINDOWS, *self._faults):
                known = [*WINDOWS, *self._faults]
                message = f'check {kind} has an unknown window "{during}"{nearest(during, known)}'
                self._add((*where, "during"), message)
            self._words("group or role", check.get("members"), (*where, "members"))
            speaker = check.get("speaker")
            if isinstance(speaker, str):
                self._speaker(speaker, self._speakers(), (*where, "speaker"))

    def _blast_radius(self) -> None:
        radius = self._root.get("blast_radius")
        if not isinstance(radius, dict):
            return
        for role in _texts(radius.get("roles")):
            known = [*dict.fromkeys(self._roles.values())] or list(ROLES)
            self._word("role", role, known, ("blast_radius", "roles"))
        if self._stack is not None:
            known = [*self._stack.service_names()]
            for service in _texts(radius.get("services")):
                self._word("service", service, known, ("blast_radius", "services"))

    def _words(self, word: str, value: Any, where: Where) -> None:
        for name in _texts(value):
            if name != EVERYONE:
                self._word(word, name, [*self._roles, *self._roles.values()], where)

    def _word(
        self, word: str, name: str, known: Iterable[str], where: Where, *, key: bool = False
    ) -> None:
        names = list(known)
        # With no name known at all, the mistake is elsewhere and already found.
        if names and name not in names:
            self._add(where, f'unknown {word} "{name}"{nearest(name, names)}', key=key)

    def _add(self, where: Where, message: str, refusal: bool = False, *, key: bool = False) -> None:
        self.findings.append(self._document.finding(where, message, key=key, refusal=refusal))


def step_id(step: dict[str, Any]) -> str | None:
    """Return the id of a raw step: as written, or the kind of fault or action."""
    found = step.get("id", step.get("fault", step.get("action")))
    return found if isinstance(found, str) else None


def _groups(crowd: Any) -> dict[str, str]:
    """Return group → role of those that have both."""
    if isinstance(crowd, dict):
        return {name: SHORT_GROUPS[name] for name in crowd if name in SHORT_GROUPS}
    pairs = [(g.get("name"), g.get("role")) for _, g in _mappings(crowd)]
    return {n: r for n, r in pairs if isinstance(n, str) and isinstance(r, str)}


def _mappings(value: Any) -> list[tuple[int, dict[str, Any]]]:
    items = value if isinstance(value, list) else []
    return [(i, item) for i, item in enumerate(items) if isinstance(item, dict)]


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]


def _nearest_pattern(pattern: str, known: Sequence[str]) -> str:
    """Return a hint at the pattern with plain parts as known names have them, else at a name."""
    parts = pattern.split(".")
    made = set()
    for name in known:
        own = name.split(".")
        if len(parts) <= len(own):
            pairs = zip(parts, own, strict=False)
            made.add(".".join(p if any(c in p for c in "*?[") else o for p, o in pairs))
    match = [m for m in made if Target(kind=TargetKind.LINK, patterns=(m,)).matches(known)]
    return nearest(pattern, match) or nearest(pattern, known)


def _no_fault(who: str, name: str, known: Sequence[str]) -> str:
    hint = nearest(name, known)
    return f'{who} names fault "{name}", which the method does not have{hint}'
