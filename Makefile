# Each target does all the set-up it needs: a virtual environment with pinned dependencies, nothing outside this folder.
# Another interpreter: make test PYTHON=python3.13

PYTHON ?= python3
VENV ?= .venv/$(notdir $(PYTHON))
BIN = $(VENV)/bin
RUN = $(VENV)/ready
DEV = $(VENV)/ready-dev
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Empty, it is not set: the tests start a thousand processes, each of which would otherwise compile all modules anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup run test attack bench pictures lock wheel clean

setup: $(RUN)

run: $(RUN)
	$(BIN)/floodtest run --ips 17 --fit

# Three processes of tests, each with loopback addresses of its own; by itself, pytest takes one. Tests wait for a fifth
# of their time (for a ramp, a hold, a limit), so that two leave two cores idle; who has none left takes another's.
test: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

# A quarter of an hour on two cores: kills, garbage, small limits, and what ten minutes of churn leave behind.
attack: $(DEV)
	$(BIN)/python -m tests.attacks

bench: $(DEV)
	$(BIN)/python -m benchmarks.bench

# The pictures of docs/analysis.md, anew; needs chromium.
pictures: $(DEV)
	$(BIN)/python -m benchmarks.pictures

wheel: $(DEV)
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "floodtest needs Python 3.11 or later; name one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.lock $(RUN)
	$(BIN)/python -m pip install --quiet -r requirements-dev.lock
	@touch $@

# Pins anew, after a change of dependencies in pyproject.toml.
lock: $(DEV)
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --no-header --no-annotate --build-deps-for editable --extra plot --extra compare -o requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --no-header --no-annotate --build-deps-for editable --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean:
	rm -rf .venv dist
