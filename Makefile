# Two commands set everything up on a machine with Python 3.11, pip and make: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test check format bench docs clean
.DEFAULT_GOAL := demo

# torch goes first, by itself and pinned, so that nothing pulls a second (CUDA) build of it
$(VENV)/.run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/.run  ## explain a sentence with the embedded model; the page lands in demo.html
	$(BIN)/exegete explain "the food was not good but the staff were wonderful" --html demo.html

test: $(VENV)/.dev  ## the whole suite, in parallel
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not scale" --ignore=tests/device
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal tests/device

check: $(VENV)/.dev  ## format, lint, types, walls
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix src tests bench

bench: $(VENV)/.dev  ## ratios within one run, as JSON lines
	$(BIN)/python bench/run.py

docs: $(VENV)/.dev  ## rewrite the generated pages of docs/
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) demo.html .pytest_cache .ruff_cache .hypothesis .import_linter_cache
