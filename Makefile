# `make up` runs Tidemark, `make test` checks it, `make help` lists everything.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up test check faults bench-ingest bench-soak bench-spool bench-cache bench-storage bench-query bench-panels lock clean

PYTHON ?= python3
RUN := .venv/bin
PIP := $(RUN)/python -m pip --disable-pip-version-check --no-input install --require-hashes
LOCK := $(RUN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11

# An environment whose interpreter is gone is made anew.
$(shell $(RUN)/python -c '' 2>/dev/null || rm -f .venv/runtime.stamp .venv/dev.stamp)

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

up: .venv/runtime.stamp ## run Tidemark: its database, ingest, query and this host's agent
	@$(RUN)/python -m sql up || [ $$? -eq 130 ]

test: check ## check everything, then run all tests, three files at a time
	@$(RUN)/python -m pytest --numprocesses 3

check: .venv/dev.stamp ## style, types and import contracts
	@$(RUN)/ruff check --quiet .
	@$(RUN)/ruff format --check --quiet .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-logo
	@$(RUN)/oxlint --format=unix query/page/static

faults: .venv/dev.stamp ## strike a load with 200 rounds of faults, and count what is lost, doubled or wrong
	@TIDEMARK_FAULTS_ROUNDS=$${TIDEMARK_FAULTS_ROUNDS:-200} TIDEMARK_FAULTS_PAUSE_SECONDS=30 \
		$(RUN)/python -m pytest tests/faults

bench-ingest: .venv/dev.stamp ## measure writing, against raw COPY, VictoriaMetrics and InfluxDB
	@$(RUN)/python -m bench.ingest

bench-soak: .venv/dev.stamp ## load ingest for ten minutes, 100,000 series, and watch its memory
	@$(RUN)/python -m bench.soak

bench-spool: .venv/dev.stamp ## measure the spool: filled while the database is away, drained when it is back
	@$(RUN)/python -m bench.drain

bench-cache: .venv/dev.stamp ## measure the series cache at a million series
	@$(RUN)/python -m bench.cache

bench-storage: .venv/dev.stamp ## measure compression and rollups, on a community edition at DATABASE_URL
	@$(RUN)/python -m bench.storage

bench-query: .venv/dev.stamp ## measure reading, against psql, VictoriaMetrics and InfluxDB
	@$(RUN)/python -m bench.query

bench-panels: .venv/dev.stamp ## measure every panel of the dashboards, on a community edition at DATABASE_URL
	@$(RUN)/python -m bench.panels

lock: .venv/dev.stamp ## pin the dependencies that pyproject.toml names
	@$(LOCK) pyproject.toml --output-file requirements.lock
	@$(LOCK) pyproject.toml --group dev --constraints requirements.lock --output-file requirements-dev.lock

clean: ## remove what make has made here; the database stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# The stamps go first and come back last: what an interruption leaves is made anew. Of two that are run at once, as `make up`
# and `make test` may be, the second waits, and then finds it made.
.venv/runtime.stamp: requirements.lock
	@$(alone); [ $@ -nt requirements.lock ] || { \
		[ -e $@ ] || { $(make-environment); }; \
		rm -f .venv/*.stamp; \
		echo "installing what Tidemark needs into .venv"; \
		$(PIP) --requirement requirements.lock | $(progress); \
		touch $@; }

.venv/dev.stamp: requirements-dev.lock .venv/runtime.stamp
	@$(alone); { [ $@ -nt requirements-dev.lock ] && [ ! .venv/runtime.stamp -nt $@ ]; } || { \
		rm -f .venv/*.stamp; \
		echo "installing what its checks need into .venv"; \
		$(PIP) --requirement requirements-dev.lock | $(progress); \
		touch .venv/runtime.stamp $@; }

alone := exec 9<Makefile; flock --nonblock 9 || { echo "waiting for another make that installs into .venv"; flock 9; }

progress := sed -un 's/^Collecting \([^ ]*\).*/  \1/p'

define make-environment
command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON): install Python 3.11 or later, or name one with PYTHON=" >&2; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "$(PYTHON) is older than 3.11: name a later Python with PYTHON=" >&2; exit 1; }; \
$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	{ echo "$(PYTHON) cannot make environments: install its venv module (on Debian, the package python3-venv)" >&2; exit 1; }; \
rm -rf .venv; $(PYTHON) -m venv .venv
endef
