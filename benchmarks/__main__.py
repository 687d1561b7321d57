"""`python -m benchmarks`: list the measurements, run some or all, and keep their results.

    python -m benchmarks                     what there is
    python -m benchmarks startup cpu         run these and print their Markdown
    python -m benchmarks all --write         run all and update RESULTS.md

Run them on a machine that does nothing else.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import clock_error, cpu, startup
from benchmarks.machine import this_machine

RESULTS = Path(__file__).parent / "RESULTS.md"
BENCHMARKS: dict[str, Callable[[], str]] = {
    "clock_error": clock_error.measure,
    "startup": startup.measure,
    "cpu": cpu.measure,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the real product. Without a name: list what there is.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*BENCHMARKS, "all"]))
    parser.add_argument("--write", action="store_true", help="update benchmarks/RESULTS.md")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - BENCHMARKS.keys() - {"all"})
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if not options.names:
        for name, measure in BENCHMARKS.items():
            print(f"{name:12} {_title(measure)}")
        return 0
    for name in BENCHMARKS if "all" in options.names else dict.fromkeys(options.names):
        print(f"measuring {name} …", file=sys.stderr)
        section = f"## {name}\n\n{this_machine()}\n\n{BENCHMARKS[name]().strip()}\n"
        print(section)
        if options.write:
            RESULTS.write_text(with_section(RESULTS.read_text(), name, section))
    return 0


def with_section(page: str, name: str, section: str) -> str:
    """Return the page with the section `## name` replaced, or appended when it had none."""
    head, *old = page.split("\n## ")
    sections = {text.partition("\n")[0].strip(): f"## {text}" for text in old}
    sections[name] = section
    return "\n".join([head.rstrip() + "\n", *(f"{text.rstrip()}\n" for text in sections.values())])


def _title(measure: Callable[[], str]) -> str:
    module = sys.modules[measure.__module__]
    return (module.__doc__ or "").strip().partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
