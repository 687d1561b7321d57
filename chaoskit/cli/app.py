"""The command line: commands, options and exit codes. A command imports what it needs when run."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from chaoskit import __version__
from chaoskit.errors import ChaosKitError
from chaoskit.report.result import EXIT_CODES

_EPILOG = "Exit codes: " + "; ".join(f"{code} {text}" for code, text in EXIT_CODES) + "."

app = typer.Typer(
    name="chaoskit",
    help=(
        "Break a live audio room on purpose, and hear from every listener whether it heals.\n\n"
        "  chaoskit replay launch-night    the launch night of May 2023, for real\n\n"
        "  chaoskit run experiments/host-drop-fresh-room.yaml\n\n"
        "  chaoskit plan experiments/host-drop-fresh-room.yaml    starts nothing"
    ),
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunsDir = Annotated[
    Path,
    typer.Option("--runs-dir", envvar="CHAOSKIT_RUNS", help="Where run folders are made."),
]
Format = Annotated[str, typer.Option("--format", help="text or json (on stdout).")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of schedule and proxy decisions.")]
Listeners = Annotated[
    int | None, typer.Option("--listeners", help="Real listeners instead of the file's number.")
]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"chaoskit {__version__}")
        raise typer.Exit


def _check_format(value: str) -> None:
    from chaoskit.errors import InvalidInput

    if value not in ("text", "json"):
        raise InvalidInput(f"--format {value!r} is neither text nor json")


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""


@app.command(
    epilog="Example: chaoskit run experiments/packet-loss-listeners.yaml --format json",
    short_help="Run experiments and judge them by what listeners heard.",
)
def run(
    files: Annotated[list[str], typer.Argument(help="Experiment files or ids.")],
    seed: Seed = None,
    listeners: Listeners = None,
    control: Annotated[
        bool, typer.Option("--control", help="Run the other half of the pair (its `control:`).")
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="Remedies of the directory instead of the file's."),
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Run each experiment: gate, inject, observe, recover, judge. Exit code: the worst of them."""
    from chaoskit.cli.commands import run_experiments

    _check_format(format)
    raise typer.Exit(
        run_experiments(
            files,
            seed=seed,
            listeners=listeners,
            control=control,
            profile=profile,
            runs_dir=runs_dir,
            as_json=format == "json",
            quiet=quiet,
        )
    )


@app.command(
    epilog="Example: chaoskit replay launch-night --seed 7 --format json",
    short_help="Execute a written incident and compare the run with the record.",
)
def replay(
    incident: Annotated[str, typer.Argument(help="An incident id or the folder of one.")],
    seed: Seed = None,
    listeners: Listeners = None,
    runs_dir: RunsDir = Path("runs"),
    format: Format = "text",
    quiet: Quiet = False,
) -> None:
    """Play an incident for real, at reduced scale, and print the fidelity table."""
    from chaoskit.cli.commands import replay_incident

    _check_format(format)
    raise typer.Exit(
        replay_incident(
            incident,
            seed=seed,
            listeners=listeners,
            runs_dir=runs_dir,
            as_json=format == "json",
            quiet=quiet,
        )
    )


@app.command(epilog="Example: chaoskit plan launch-night")
def plan(
    what: Annotated[str, typer.Argument(help="An experiment file or id, or an incident id.")],
    seed: Seed = None,
    listeners: Listeners = None,
    control: Annotated[bool, typer.Option("--control", help="The other half of the pair.")] = False,
) -> None:
    """Show resolved targets, schedule, undo and proof of each fault. Starts nothing."""
    from chaoskit.cli.commands import show_plan

    raise typer.Exit(show_plan(what, seed=seed, listeners=listeners, control=control))


@app.command(epilog="Example: chaoskit validate experiments/*.yaml")
def validate(
    files: Annotated[list[str], typer.Argument(help="Experiment files or ids, or incident ids.")],
) -> None:
    """Read files and print every error with file:line:column. Starts nothing."""
    from chaoskit.cli.commands import validate_files

    raise typer.Exit(validate_files(files))


@app.command(epilog="Examples: chaoskit heal 7f3c · chaoskit heal --all")
def heal(
    run_id: Annotated[str | None, typer.Argument(help="A run id.", metavar="RUN")] = None,
    all_runs: Annotated[bool, typer.Option("--all", help="Every run that is not alive.")] = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Undo what a run left behind, from its journal alone. Repeatable; live runs are skipped."""
    from chaoskit.cli.commands import heal_runs

    raise typer.Exit(heal_runs(run_id, all_runs=all_runs, runs_dir=runs_dir))


@app.command("list", epilog="Example: chaoskit list faults")
def list_(
    what: Annotated[str, typer.Argument(help="experiments, faults, checks, incidents or runs.")],
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """List what there is."""
    from chaoskit.cli.listing import show_list

    raise typer.Exit(show_list(what, runs_dir=runs_dir))


@app.command(epilog="Example: chaoskit report latest")
def report(
    run_id: Annotated[str, typer.Argument(help="A run id, or `latest`.", metavar="RUN")] = "latest",
    runs_dir: RunsDir = Path("runs"),
    format: Format = "text",
) -> None:
    """Show the summary of a stored run again."""
    from chaoskit.cli.commands import show_report

    _check_format(format)
    raise typer.Exit(show_report(run_id, runs_dir=runs_dir, as_json=format == "json"))


def render_error(error: ChaosKitError) -> None:
    """Print an error with its hint and exit code on stderr."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    body = Text(error.message)
    for note in getattr(error, "__notes__", ()):
        body.append(f"\n{note}", style="dim")
    if error.hint:
        body.append(f"\nhint: {error.hint}", style="bold")
    body.append(f"   exit {error.exit_code}", style="dim")
    console.print(body)


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the command's code."""
    try:
        app(args=argv, prog_name="chaoskit")
    except ChaosKitError as error:
        if os.environ.get("CHAOSKIT_DEBUG"):
            raise
        render_error(error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of our stdout is gone (`| head`): not an error, and nothing to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    raise SystemExit(0)
