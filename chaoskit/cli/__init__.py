"""The command line: commands, output choice and exit codes; `session` builds the adapters."""
