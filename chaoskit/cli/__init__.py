"""The command line: commands, output choice and exit codes; `wiring` alone builds adapters."""
