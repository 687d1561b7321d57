"""Profiles of the directory: which remedies are on, and its timers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from chaoskit.data import fixtures_dir
from chaoskit.model import Profile
from chaoskit.spec.derive import Door
from chaoskit.spec.doors import Id, ProfileDoor, RemediesDoor, TimersDoor
from chaoskit.spec.messages import validate
from chaoskit.spec.yaml_lines import load_yaml, raise_findings
from chaoskit.wire.directory import DirectoryConfig, NodeConfig, Remedies

PROFILE_FORMAT = "chaoskit.profile/v1"


class ProfileFileDoor(Door):
    """A profile file."""

    format: Literal["chaoskit.profile/v1"]
    id: Id
    title: str
    remedies: RemediesDoor
    timers: TimersDoor | None = None


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles that come with chaoskit."""
    return tuple(sorted(p.stem for p in (fixtures_dir() / "profiles").glob("*.yaml")))


def load_profile(name: str) -> Profile:
    """Return a profile by name. `settings` hold keys of wire.directory.DirectoryConfig.

    Raises InvalidInput for a file that does not validate, FileNotFoundError for an unknown name.
    """
    path = fixtures_dir() / "profiles" / f"{name}.yaml"
    if name not in profile_names():
        raise FileNotFoundError(path)
    return load_profile_file(path)


def load_profile_file(path: Path) -> Profile:
    """Return the profile of a file. Raises InvalidInput."""
    document = load_yaml(path, shown_as=_shown(path))
    door, findings = validate(ProfileFileDoor, document)
    raise_findings(findings)
    assert door is not None
    try:
        settings = _settings({}, door.remedies, door.timers)
    except ValueError as error:
        raise_findings([document.finding(("timers",), str(error))])
        raise
    return Profile(name=door.id, settings=settings)


def resolve_profile(choice: str | ProfileDoor) -> Profile:
    """Return the profile that an experiment chose.

    Raises FileNotFoundError for an unknown name, ValueError for timers that no directory can run
    with.
    """
    if isinstance(choice, str):
        return load_profile(choice)
    base = load_profile(choice.base)
    settings = _settings(base.settings, choice.remedies, choice.timers)
    return Profile(name=f"{base.name} (changed)", settings=settings)


def _settings(
    base: Mapping[str, Any], remedies: Door | None, timers: Door | None
) -> dict[str, Any]:
    switches = {**base.get("remedies", {}), **(remedies.given() if remedies else {})}
    settings = {**base, **(timers.given() if timers else {}), "remedies": switches}
    # The directory's own rules decide; a node is needed for them, and is not part of a profile.
    nodes = [NodeConfig(name="any", signal_url="ws://any")]
    DirectoryConfig(nodes=nodes, **{**settings, "remedies": Remedies(**switches)})
    return settings


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
