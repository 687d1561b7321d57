"""The command line: Typer commands, output choice and exit codes; `wiring` alone builds adapters."""
