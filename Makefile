# Everything happens inside .venv, which is made from requirements.lock when it is missing or the lock has changed.
# Arguments: make run ARGS="--set market.speed=max", make bench ARGS="mailbox", make test ARGS="-k ladder".

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/made-from-lock
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow check bench clean

help:
	@echo "make setup      make .venv from requirements.lock"
	@echo "make run        run the whole tree: a simulated market on paper, unless config.toml says otherwise"
	@echo "make test       the tests, without the slow ones"
	@echo "make test-slow  the slow tests"
	@echo "make check      format, lint, types and architecture"
	@echo "make bench      the benchmarks"
	@echo "make clean      remove .venv and caches; databases (var/) and logs (logs/) stay"

setup: $(STAMP)

# The first Python from 3.11 on that runs; PYTHON=... names another.
$(STAMP): requirements.lock
	@python="$(PYTHON)"; \
	for candidate in $${python:-python3 python3.14 python3.13 python3.12 python3.11 python}; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			found="$$candidate"; break; \
		fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Pure Alpha needs Python 3.11 or newer, and found none$${python:+ in PYTHON=$$python}." >&2; \
		echo "Install it, or name it: make setup PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.lock
	@touch $@

run: $(STAMP)
	@$(BIN)/python -m supervisor $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/architecture

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

# Never var/ (the databases: your trades) and never logs/.
clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path "./var/*" -not -path "./logs/*" -prune -exec rm -rf {} +
	@echo "Removed .venv and caches. var/ (databases) and logs/ were not touched."
