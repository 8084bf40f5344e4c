# Every target makes or reuses .venv, and makes it anew when pyproject.toml changes.
# Paths are relative, so the folder may have any name.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

# One thread a process: small tensors gain nothing from more, and tests run side by side, one a core
# and at most four, since each process imports torch.
TEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: help install demo corpus faults test test-fast test-long lint format hooks docs wheel clean

help:
	@echo "make demo        the whole job on a phantom scan; with INPUT=ct.nii.gz on yours"
	@echo "make test        linters, types and the fast tests"
	@echo "make test-long   the tests that take longer"
	@echo "make corpus      2,187 odd and hostile inputs, with counts of what came of them"
	@echo "make faults      commands killed, disks filled, files damaged: a table of what was lost"
	@echo "make lint        linters and types only;  make format  applies the formatter"
	@echo "make install     the virtual environment only, in $(VENV)"
	@echo "make hooks       run the linters before every commit"
	@echo "make docs        build the documentation site into site/, without network"
	@echo "make wheel       build the wheel into dist/"
	@echo "make clean       remove what these made, the virtual environment included"

install: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "installing into $(VENV); the first time this takes some minutes (torch is large)"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e ".[test,lint]"
	@touch $@

demo: $(READY)
	$(RUN) -m mots_pretrained demo -o demo $(if $(INPUT),-i "$(INPUT)")

# mypy takes one core for a minute or two, so the tests run beside it.
test: $(READY)
	@$(MAKE) --no-print-directory -j 2 lint test-fast

test-fast: $(READY)
	$(TEST)

test-long: $(READY)
	$(TEST) -m long

corpus: $(READY)
	OMP_NUM_THREADS=1 $(RUN) tests/corpus/drive.py

faults: $(READY)
	$(RUN) tests/faults/drive.py

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

hooks: $(READY)
	$(RUN) -m pre_commit install

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

wheel: $(READY)
	$(RUN) -m build --wheel

clean:
	rm -rf $(VENV) demo dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
