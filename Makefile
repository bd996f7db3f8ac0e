# make figures   every study in analysis/, pictures and numbers to figures/ (FULL=1: larger sizes, nearer the papers)
# make bench     the speeds of this machine beside its peers, hours; goes on where it was interrupted
#                (bench-quick: some of them in two minutes, and what has moved since the last time)
# make test      the tests
# make lint      ruff and mypy
# make clean     removes the environment, caches and compiled code; figures/ stays
#
# Needs python3 (3.11 or later) with venv, and make. PYTHON=python3.12 chooses another interpreter, VENV=DIR another place.

PYTHON ?= python3
VENV ?= .venv
PYTEST_FLAGS ?=

RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --disable-pip-version-check
# No window is ever opened: the pictures are written to files, on a desktop as on a machine without a screen.
export MPLBACKEND := Agg

.PHONY: figures bench bench-quick test lint clean
.NOTPARALLEL:  # two installs into one environment at once would break it
.DELETE_ON_ERROR:

figures: $(VENV)/.installed
	$(RUN) analysis/run_all.py $(if $(FULL),--full)

bench: $(VENV)/.installed
	$(RUN) analysis/bench.py

bench-quick: $(VENV)/.installed
	$(RUN) analysis/bench.py --quick

test: $(VENV)/.installed-test
	$(RUN) -m pytest -n 2 --dist worksteal $(PYTEST_FLAGS)

lint: $(VENV)/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .ruff_cache .mypy_cache
	find src tests analysis -type d -name __pycache__ -prune -exec rm -rf {} +

# The stamps: what is installed is installed again only when pyproject.toml has changed. The install is editable, so a
# change of the source needs none.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "throughtime needs Python 3.11 or later; choose one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.created
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.created
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.created
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test
