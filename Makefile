# make demo   the whole way once: sample clip -> .fev -> picture, beside AV1 and H.264; CLIP=talk.mp4 for a clip of yours
# make test   the test suite
# Both work from a fresh clone with Python 3.10 or newer, its venv module and make; nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.installed
ARGS ?=
CLIP ?=
# Two processes of one thread each: threads of two processes on two cores would stand in each other's barriers.
TESTS = OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -q -n 2 --dist worksteal

.PHONY: help install demo test test-all lint format bench wheel clean distclean

help:
	@sed -n 's/^# make/make/p' Makefile
	@echo "also: test-all, lint, format, bench, wheel, clean, distclean; PYTHON=python3.12 chooses the interpreter"

install: $(READY)

# Runs again only when the dependencies may have changed.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/python -m fev.tools.demo $(if $(CLIP),"$(CLIP)") $(ARGS)

test: $(READY)
	$(TESTS) $(ARGS)

test-all: $(READY)
	$(TESTS) -m 'slow or not slow' $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p build/lint && ln -sfn ../.. build/lint/fev
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m fev.tools.lab.bench $(ARGS)

wheel: $(READY)
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf build dist demo bench *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
