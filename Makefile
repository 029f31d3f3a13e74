# make demo       train VSE++, RFE and SMFEA on the toy scenes, compare them, retrieve with them
# make test       lint, unit tests, and all notebooks against their saved outputs
# make quick      lint and the unit tests that need neither a browser nor other processes
# make lab        JupyterLab in notebooks/
# make notebooks  execute all notebooks again and save their outputs
# make bench      measure the speeds that README promises
# make assignments  student copies of the assignments, from their solved sources
# make grade SUBMISSIONS=folder   marks of a folder of submissions (runs students' code)
#
# Each makes the virtual environment $(VENV) first if it is missing; another Python:
# `make test PYTHON=python3.12`. Everything is installed again only if pyproject.toml changed.

PYTHON ?= python3
VENV   ?= .venv
EXTRAS ?= notebooks,tests,offline-backbone

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
INSTALLED := $(VENV)/.installed
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))

.PHONY: demo test quick lint unit nbval lab notebooks bench assignments grade clean

demo: $(INSTALLED)
	$(BIN)/python -m xmr_course demo

test: lint unit nbval

quick: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

# Two workers with one thread each: small tensors lose more to many threads than they win.
unit: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

# The demo trains what most lessons need. Then two notebooks at a time, with one thread each; where
# both need the same other run, one trains it and the other waits.
nbval: $(INSTALLED)
ifeq ($(NOTEBOOKS),)
	@echo "notebooks/ holds no notebook: nothing to validate."
else
	OMP_NUM_THREADS=1 $(BIN)/python -m xmr_course demo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --nbval --nbval-current-env \
	    --nbval-sanitize-with tests/nbval_sanitize.cfg $(NOTEBOOKS)
endif

lab: $(INSTALLED)
	$(BIN)/python -m jupyter lab notebooks

notebooks: $(INSTALLED)
ifeq ($(NOTEBOOKS),)
	@echo "notebooks/ holds no notebook: nothing to execute."
else
	XMR_FIGURES="$(CURDIR)/figures" $(BIN)/python -m xmr_course demo
	OMP_NUM_THREADS=1 XMR_FIGURES="$(CURDIR)/figures" $(BIN)/python -m jupyter nbconvert --to notebook \
	    --execute --inplace --ExecutePreprocessor.record_timing=False $(NOTEBOOKS)
	$(BIN)/python -m xmr_course.still_notebooks $(NOTEBOOKS)
endif

bench: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m bench

assignments: $(INSTALLED)
	$(BIN)/python -m xmr_course assignments

grade: $(INSTALLED)
ifndef SUBMISSIONS
	$(error Say which folder: make grade SUBMISSIONS=folder)
endif
	$(BIN)/python -m xmr_course grade "$(SUBMISSIONS)" --out build/marks.csv

$(INSTALLED): pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS)]"
	touch $(INSTALLED)

# Runs and caches are kept: they cost time.
clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
