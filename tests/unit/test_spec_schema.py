"""The JSON Schema says what the parser accepts; stack and profile files load."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chaoskit.data import experiments_dir, fixtures_dir
from chaoskit.errors import InvalidInput
from chaoskit.faults.registry import KINDS
from chaoskit.model import LinkSpec, Plane
from chaoskit.spec.profile import load_profile, load_profile_file, profile_names
from chaoskit.spec.schema import SCHEMAS, schema
from chaoskit.spec.stack import load_stack, stack_names
from chaoskit.spec.yaml_lines import load_yaml
from chaoskit.wire.directory import DirectoryConfig, NodeConfig, Remedies

pytestmark = pytest.mark.unit

FILES = [
    *(("experiment", p) for p in sorted(experiments_dir().glob("*.yaml"))),
    *(("stack", p) for p in sorted((fixtures_dir() / "stacks").glob("*.yaml"))),
    *(("profile", p) for p in sorted((fixtures_dir() / "profiles").glob("*.yaml"))),
]


@pytest.mark.parametrize("of", SCHEMAS)
def test_each_schema_is_a_schema(of: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(of))


@pytest.mark.parametrize(("of", "path"), FILES, ids=lambda v: v.stem if isinstance(v, Path) else v)
def test_every_file_that_comes_with_chaoskit_fits_its_schema(of: str, path: Path) -> None:
    jsonschema.validate(load_yaml(path).value, schema(of))


@pytest.mark.parametrize(
    "change",
    [
        {"method": [{"at": "5s", "fault": "packetloss", "link": "x"}]},
        {"method": [{"at": 5, "fault": "drop", "link": "x"}]},
        {"method": [{"at": "5s", "fault": "drop"}]},
        {"method": [{"at": "5s", "fault": "drop", "link": "x", "loss_rate": 0.1}]},
        {"crowd": {"host": 0}},
        {"seed": -1},
        {"colour": "red"},
        {"hypothesis": {"title": "x", "checks": []}},
    ],
)
def test_the_schema_refuses_what_the_parser_refuses(change: dict[str, Any]) -> None:
    good = load_yaml(experiments_dir() / "host-drop-fresh-room.yaml").value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**good, **change}, schema())


def test_every_fault_kind_is_in_the_schema() -> None:
    steps = schema()["properties"]["method"]["items"]["oneOf"]
    assert len(steps) == len(KINDS) + 2


def test_an_unknown_kind_of_file_has_no_schema() -> None:
    with pytest.raises(KeyError):
        schema("poem")


def test_the_embedded_stack_has_its_services_and_links() -> None:
    assert "embedded" in stack_names()
    stack = load_stack("embedded")
    assert stack.service_names() == ("fault-proxy", "room-a", "room-b", "directory")
    assert (stack.proxy, stack.directory, stack.rooms) == (
        "fault-proxy",
        "directory",
        ("room-a", "room-b"),
    )
    addresses = {(name, "main"): f"127.0.0.1:{i}" for i, name in enumerate(stack.service_names())}
    links = stack.links(["host"], addresses)
    assert links[:5] == (
        LinkSpec(name="host.api.directory", transport="tcp", upstream="127.0.0.1:3"),
        LinkSpec(name="host.signal.room-a", transport="tcp", upstream="127.0.0.1:1"),
        LinkSpec(name="host.signal.room-b", transport="tcp", upstream="127.0.0.1:2"),
        LinkSpec(name="host.media.room-a", transport="udp", upstream="dynamic"),
        LinkSpec(name="host.media.room-b", transport="udp", upstream="dynamic"),
    )
    names = {link.name for link in links}
    assert {"directory.signal.room-a", "observer.signal.room-b", "operator.api.directory"} <= names
    assert "directory.media.room-a" not in names
    with pytest.raises(KeyError):
        stack.links(["host"], {})
    names_with_canary = [link.name for link in stack.links(["host", "canary"])]
    assert len(names_with_canary) == len(set(names_with_canary))


def test_the_command_lines_of_a_stack_are_filled_in() -> None:
    values = {"seed": "7", "listeners": "200", "config": "directory.json"}
    stack = load_stack("embedded").filled(values)
    proxy, *_, directory = stack.services
    assert proxy.argv[-4:] == ("--seed", "7", "--listeners", "200")
    assert directory.argv[-1] == "directory.json"
    assert proxy.argv[0] == "{python}"


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_one_the_directory_can_run_with(name: str) -> None:
    profile = load_profile(name)
    settings = {**profile.settings, "remedies": Remedies(**profile.settings["remedies"])}
    nodes = [NodeConfig(name="room-a", signal_url="ws://x")]
    assert DirectoryConfig(nodes=nodes, **settings).lease_s == 4.0


def test_the_two_profiles_differ_in_their_remedies_alone() -> None:
    before, after = load_profile("as-it-happened").settings, load_profile("hardened").settings
    assert {k: v for k, v in before.items() if k != "remedies"} == {
        k: v for k, v in after.items() if k != "remedies"
    }
    assert not any(before["remedies"].values())
    assert all(after["remedies"].values())
    assert set(before["remedies"]) == set(after["remedies"]) == set(Remedies.__dataclass_fields__)


@pytest.mark.parametrize("load", [load_profile, load_stack])
def test_an_unknown_name_is_not_found(load: Any) -> None:
    with pytest.raises(FileNotFoundError):
        load("ghost")


def test_a_stack_file_is_checked_like_any_other(tmp_path: Path) -> None:
    text = (fixtures_dir() / "stacks" / "embedded.yaml").read_text(encoding="utf-8")
    bad = text.replace("rooms: [room-a, room-b]", "rooms: [room-c]")
    bad = bad.replace("allows: [kill, pause]", "allows: [kil]", 1)
    bad = bad.replace("observer: [signal]", "observer: [signl]")
    path = tmp_path / "mine.yaml"
    path.write_text(bad, encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        load_stack(str(path))
    told = caught.value.message
    assert 'unknown service "room-c"' in told
    assert 'unknown fault kind "kil"; did you mean "kill"?' in told
    assert 'unknown plane "signl"; did you mean "signal"?' in told
    path.write_text(text.replace("transport: udp", "transport: pigeon"), encoding="utf-8")
    with pytest.raises(InvalidInput, match='"pigeon" is not one of tcp, udp'):
        load_stack(str(path))


def test_a_profile_file_is_checked_like_any_other(tmp_path: Path) -> None:
    text = (fixtures_dir() / "profiles" / "hardened.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("lease: 4s", "lease: 0s"), encoding="utf-8")
    with pytest.raises(InvalidInput, match="lease_s: must be above 0"):
        load_profile_file(path)
    path.write_text(text.replace("redirect: true", "redirekt: true"), encoding="utf-8")
    with pytest.raises(InvalidInput, match='unknown key "redirekt"; did you mean "redirect"'):
        load_profile_file(path)


def test_planes_of_the_stack_are_those_of_the_model() -> None:
    assert {p.plane for p in load_stack("embedded").planes} == set(Plane)
