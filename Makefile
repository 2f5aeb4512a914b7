# Everything here works alone and on a fresh machine: what is missing is installed first.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=
BENCH ?= bare lateness insert_to_fire storm priority drain instructions idle scale enqueue batches features metrics overlap flow bulk prune memory churn

.PHONY: help
help: ## Show this list
	@echo 'make TARGET [ARGS="options for the tool"]'
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.complete ## Make the virtual environment .venv with everything in it

$(VENV)/.complete: pyproject.toml constraints.txt scripts/make-venv hatch_build.py package-lock.json
	[[ -e $(VENV)/.running ]] || scripts/make-venv $(VENV)
	$(PIP) install --quiet --require-hashes --no-deps --requirement constraints.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# A third of that, in a quarter of the time.
$(VENV)/.running: pyproject.toml constraints-run.txt scripts/make-venv hatch_build.py package-lock.json
	@echo 'Installing into $(VENV) what it takes to run; this takes half a minute, once.'
	scripts/make-venv $(VENV)
	$(PIP) install --quiet --require-hashes --no-deps --requirement constraints-run.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: run
run: $(if $(wildcard $(VENV)/.complete),setup,$(VENV)/.running) ## Start everything: a Postgres, the API and a scheduler instance
	$(BIN)/tocsin dev $(ARGS)

.PHONY: vendor
vendor: setup ## Take what the dashboard loads in browsers from npm, as the build does
	$(BIN)/python hatch_build.py

.PHONY: triggers
triggers: setup ## Make db/triggers.sql of its parts in db/triggers
	$(BIN)/python -m tests.support.triggers

.PHONY: client
client: setup ## Make the parts of clients/python that follow from the API
	$(BIN)/python -m clients.python.generate

.PHONY: test
test: setup servers ## Run all tests
	$(BIN)/pytest --numprocesses 3 --dist loadfile $(ARGS)

.PHONY: test-unit
test-unit: setup ## Run the tests that need no server
	$(BIN)/pytest tests/unit --numprocesses 2 $(ARGS)

.PHONY: test-faults
test-faults: setup servers ## Kill, cut and freeze whatever a scheduler depends on
	$(BIN)/pytest tests/faults --numprocesses 2 --dist loadfile $(ARGS)

.PHONY: upgrade-test
upgrade-test: setup servers ## Upgrade databases of older versions, under load and by psql
	$(BIN)/pytest tests/upgrade $(ARGS)

.PHONY: fault-runs
fault-runs: setup servers ## Do that again and again with other seeds (ARGS="--runs 10")
	$(BIN)/python -m tests.faults.runs --numprocesses 2 --dist loadfile $(ARGS)

.PHONY: schemathesis
schemathesis: setup ## Try 20,000 requests on the API, in minutes (ARGS="--timeout 7200")
	SCHEMATHESIS_EXAMPLES=$${SCHEMATHESIS_EXAMPLES:-900} $(BIN)/pytest -s tests/security/test_schemathesis.py $(ARGS)

.PHONY: fuzz
fuzz: setup ## Fuzz what reads text of strangers (ARGS="--seconds 600 cron http_url")
	$(PIP) install --quiet 'uv>=0.13,<0.14'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: soak
soak: setup ## Break things at random for a long time (ARGS="--minutes 60 --seed 7")
	$(BIN)/python -m tests.faults.soak $(ARGS)

.PHONY: mutants
mutants: setup ## Break the build on purpose and show that the tests notice
	$(BIN)/python -m tests.faults.mutants $(ARGS)

.PHONY: bench
bench: setup ## Measure beside the peers: hours; ARGS=--quick: minutes; BENCH="drain idle": those
	$(PIP) install --quiet 'uv>=0.13,<0.14'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	$(BIN)/python -m benchmarks.peers.install
	for one in $(BENCH); do $(BIN)/python -m benchmarks.$$one $(ARGS); done

.PHONY: cov
cov: setup servers ## Run all tests and show which lines none of them reached
	$(BIN)/pytest --numprocesses 2 --dist loadfile --cov --cov-report=term --cov-report=html $(ARGS)

.PHONY: fmt
fmt: setup ## Format the code and fix what can be fixed by itself
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: lint
lint: setup ## Check format, style and spelling
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/codespell

.PHONY: types
types: setup ## Check the types
	$(BIN)/mypy

.PHONY: layers
layers: setup ## Check that every layer imports only downwards
	$(BIN)/lint-imports

.PHONY: compose
compose: ## Check compose.yaml, where this machine has Docker Compose
	if docker compose version >/dev/null 2>&1; then docker compose config --quiet --no-interpolate; fi

.PHONY: check
check: lint types layers compose ## Check everything that can be checked without running it

.PHONY: site
site: setup ## Build the documentation into build/handbook/site; warnings are errors
	$(BIN)/python -m handbook

.PHONY: ci
ci: check site test ## Do what CI does

.PHONY: servers
servers: setup ## Install the servers that the tests need and this machine lacks
	scripts/install-servers $(BIN)/python
	$(BIN)/python hatch_build.py
	scripts/install-recipes $(BIN)/python
	$(BIN)/python -m tests.support.clients

.PHONY: db-dump
db-dump: setup ## Print the schema as Postgres understands it
	$(BIN)/python -m tests.support.dump

.PHONY: llms
llms: setup ## Write docs/llms.txt anew, of what the API says of itself
	$(BIN)/python -m tests.support.llms

.PHONY: helptext
helptext: setup ## Write app/cli/help.txt anew, of what `tocsin --help` prints by click
	$(BIN)/python -m tests.support.helptext

.PHONY: reads
reads: setup ## Write app/cli/reads.json anew: the options of commands that read, as click has them
	$(BIN)/python -m tests.support.reads

.PHONY: constraints
constraints: setup ## Pin every dependency anew (ARGS=--upgrade: to its newest version)
	$(PIP) install --quiet 'uv>=0.13,<0.14'
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --quiet --system-certs \
		--custom-compile-command 'make constraints' --output-file constraints.txt $(ARGS)
	$(PIP) install --quiet --require-hashes --no-deps --requirement constraints.txt
	$(BIN)/python -m tests.support.pins

.PHONY: audit
audit: setup ## Ask the index for known vulnerabilities of what is pinned; fails if it cannot say
	$(PIP) install --quiet 'uv>=0.13,<0.14'
	$(BIN)/uv tool run --quiet --system-certs --from 'pip-audit>=2.10,<3' pip-audit --strict --progress-spinner off \
		--disable-pip --require-hashes --requirement constraints.txt $(ARGS)

.PHONY: freeze
freeze: setup ## Freeze the migrations for the release of this version and date CHANGELOG.md
	$(BIN)/python -m tests.support.releases

.PHONY: wheel
wheel: setup ## Build the wheel into dist
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

.PHONY: packages
packages: setup ## Try wheel and sdist in empty places, with each Python that there is
	$(PIP) install --quiet 'uv>=0.13,<0.14'
	scripts/try-packages $(BIN)/python

.PHONY: sbom
sbom: setup ## List what a release consists of, as CycloneDX, in dist
	$(BIN)/python -m tests.support.sbom

.PHONY: clean
clean: ## Remove what was made here, except the data of `make run`
	rm -rf $(VENV) dist build htmlcov .coverage .coverage.* .hypothesis
	rm -rf .cache .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
