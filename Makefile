# Tidewire's commands. `make help` lists them; each one first makes .venv what the lock says.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
WORKERS ?= 2
# Integration tests mostly wait, for leases and sessions to end: one worker more than cores. The whole pipeline is a
# dozen processes, and runs alone afterwards.
TEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test pages check check-shape check-tests fmt generate perf faults lock

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## the whole pipeline on this machine, from content to analytics
	@$(BIN)/python -m publishing.cli.main demo

test: $(READY) ## every test but the long faults, with coverage (85 % overall, 95 % of the domain)
	@$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadgroup --cov --cov-report= -m "not long and not e2e" $(PYTEST)
	$(BIN)/python -m pytest --cov --cov-append --cov-report= tests/e2e $(PYTEST)
	@$(BIN)/python -m coverage report
	@$(BIN)/python -m coverage report --include='publishing/domain/*' --fail-under=95

pages: $(READY) ## the dashboard in headless Chromium; pictures in build/pages
	$(BIN)/python -m pytest tests/pages $(PYTEST)

check: $(READY) ## style, types, imports, generated files, and the tests that need no service
	@$(MAKE) --no-print-directory -j 2 check-shape check-tests

check-shape: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m topics.generate --check
	$(BIN)/python -m publishing.cli.documents --check
	$(BIN)/python -m ingest_api.openapi --check
	$(BIN)/python -m mypy

check-tests: $(READY)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup --hypothesis-profile quick \
	  tests/unit tests/contract tests/architecture

fmt: $(READY) ## format, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(READY) ## write the files that follow from topics/, schemas/, settings and routes
	$(BIN)/python -m topics.generate
	$(BIN)/python -m publishing.cli.documents
	$(BIN)/python -m ingest_api.openapi

perf: $(READY) ## a bench beside its peers (BENCH=name; without it, their names)
	@$(BIN)/python -m perf $(BENCH)

faults: $(READY) ## break things on purpose, the long ones too, and prove that each fault hit (some 20 minutes)
	$(BIN)/python -m pytest tests/faults $(PYTEST)

lock: $(READY) ## resolve the dependencies again
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	  --no-header --python-version 3.11 pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	  --no-header --python-version 3.11 --group dev pyproject.toml -o requirements-dev.lock

# The environment: hashed packages only, then the project itself in place. A second call finds it ready.
$(READY): requirements-dev.lock pyproject.toml
	@PYTHON='$(PYTHON)' sh .ci/bootstrap
	@touch $(READY)
