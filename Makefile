# make demo    set everything up and watch a small model learn        make test   set up and run the tests
# make setup   only set up (.venv and the embedded model)             make check  everything CI runs
# Another Python: make demo PYTHON=python3.12

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-slow lint check clean

VENV := .venv
BIN := $(VENV)/bin
MODEL := smollm2-135m-instruct
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
DEMO_FLAGS :=
CPU_INDEX := https://download.pytorch.org/whl/cpu
IS_SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

# The first Python on the PATH that is new enough; a name on the PATH is not yet a Python that starts.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c "$(IS_SUPPORTED)" >/dev/null 2>&1 && { echo $$p; break; }; done)

help:
	@sed -n '1,3s/^# //p' Makefile

setup: $(VENV)/.model

demo: setup
	$(BIN)/luthier demo --overwrite $(DEMO_FLAGS)

test: setup
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: setup
	$(BIN)/python -m pytest -m "slow and not gpu"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

check:
	.ci/run

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "Luthier needs Python 3.11 to 3.14, and none is on the PATH. Install one, or name it: make setup PYTHON=/path/to/python3.12"; exit 2; }
	@$(PYTHON) -c "$(IS_SUPPORTED)" || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1 | tail -1); Luthier needs Python 3.11 to 3.14. Name another: make setup PYTHON=python3.12"; exit 2; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo "The virtual environment could not be made. On Debian and Ubuntu: sudo apt install python3-venv"; exit 2; }
	@touch $@

# Linux without an NVIDIA driver gets the CPU build: the ordinary one brings gigabytes of CUDA that would never be used.
# Where PyTorch's own index cannot be reached, pip's configured index decides.
$(VENV)/.torch: $(VENV)/.python constraints.txt
	@if [ "$$(uname -s)" = Linux ] && ! nvidia-smi >/dev/null 2>&1; then \
		echo "No NVIDIA driver: installing the CPU build of torch $(TORCH)"; \
		$(BIN)/pip install --quiet --retries 0 --timeout 15 --extra-index-url $(CPU_INDEX) "torch==$(TORCH)+cpu" 2>$(VENV)/torch.log \
		|| { echo "The CPU build was not found at $(CPU_INDEX) (see $(VENV)/torch.log); taking torch $(TORCH) from pip's index"; \
			$(BIN)/pip install --quiet "torch==$(TORCH)"; }; \
	else \
		echo "Installing torch $(TORCH)"; $(BIN)/pip install --quiet "torch==$(TORCH)"; \
	fi
	@touch $@

# The constraints keep this step from replacing the torch that is there.
$(VENV)/.installed: $(VENV)/.torch pyproject.toml constraints.txt
	@echo "Installing Luthier and its tools"
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

$(VENV)/.model: $(VENV)/.installed
	$(BIN)/luthier models fetch $(MODEL)
	@touch $@
