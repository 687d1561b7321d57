"""Stack files: the one that comes with chaoskit is whole; what a run would miss is told before."""

from pathlib import Path

import pytest

from chaoskit.data import fixtures_dir
from chaoskit.errors import InvalidInput
from chaoskit.spec.stack import load_stack

pytestmark = pytest.mark.unit

EMBEDDED = (fixtures_dir() / "stacks" / "embedded.yaml").read_text()
MEDIA = EMBEDDED[EMBEDDED.index("  media:\n") : EMBEDDED.index("# Links of those who")]


def test_the_embedded_stack_is_whole() -> None:
    stack = load_stack("embedded")
    assert (stack.proxy, stack.directory, stack.rooms) == (
        "fault-proxy",
        "directory",
        ("room-a", "room-b"),
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            '--port, "{port}", --seed',
            '--port, "{port:man}", --seed',
            ':17:20: service "fault-proxy" has no port "man"; did you mean "main"?',
        ),
        ("ports: {main: 0}", "ports: {main: 70000}", ": 70000 is no port; it must be 0 (any) to"),
        ("{kind: http, path: /version}", "{kind: http, port: api}", 'has no port "api"'),
        ("    transport: udp\n", "    transport: udp\n    port: rtp\n", None),
        (
            "    services: [directory]",
            "    services: [room-a]",
            'reaches "directory" on the plane api',
        ),
        ("  operator: [api]\n", "", '"operator" needs links of its own on the plane api'),
        ("  observer: [signal]\n", "", '"observer" needs links of its own on the plane signal'),
        ("  directory: [signal]\n", "", '"directory" needs links of its own on the plane signal'),
        (MEDIA, "", 'no group reaches "room-a" on the plane media'),
        (
            "    allows: []\n",
            "    depends: [directory]\n",
            "services wait for each other: ",
        ),
    ],
)
def test_what_a_run_would_miss_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, told: str | None
) -> None:
    file = tmp_path / "mine.yaml"
    before, found, after = EMBEDDED.partition(old)
    assert found
    file.write_text(before + new + after)
    if told is None:
        load_stack(str(file))  # peers of a dynamic plane announce their ports
        return
    with pytest.raises(InvalidInput) as error:
        load_stack(str(file))
    assert told in error.value.message
    assert error.value.message.splitlines()[0].startswith(f"{file}:")
