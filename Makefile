# Needs git, make and a Python >= 3.11, nothing else. `make` alone lists what there is.
PYTHON ?= python3
ARGS   ?=
V      ?=

.DEFAULT_GOAL := help
.PHONY: help setup ready replay test check full bench lock clean format lint types imports unused

ready_command = $(PYTHON) -E -s tools/bootstrap.py $(if $(V),--verbose)

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make or update .venv (the others do it by themselves); V=1 shows all of it
	@$(ready_command) --report

ready:
	@$(ready_command)

replay: ready  ## play the launch night, about two minutes; ARGS="--seed 3"
	@.venv/bin/chaoskit replay launch-night $(ARGS)

test: ready  ## all tests; ARGS="tests/unit -k gap" picks some
	@.venv/bin/python -m tools.run_tests $(ARGS)

check: ready  ## format, lint, types, import contracts, dead code; tells all that is wrong
	@$(MAKE) --no-print-directory --keep-going format lint types imports unused

format lint types imports unused:
	.venv/bin/$(check_$@)

check_format  = ruff format --check .
check_lint    = ruff check .
check_types   = mypy chaoskit tests tools benchmarks
check_imports = lint-imports --no-cache
check_unused  = python -m tools.unused

full: ready  ## the slow matrices
	@.venv/bin/python -m tools.run_tests -m full $(ARGS)

bench: ready  ## measure; see benchmarks/RESULTS.md
	@.venv/bin/python -m benchmarks $(ARGS)

lock: ready  ## after a change of dependencies: uv.lock (needs uv) and requirements.lock
	uv lock --default-index https://pypi.org/simple
	@.venv/bin/python -m tools.export_lock

clean:  ## remove .venv and caches; run folders stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
