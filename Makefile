# All targets run in .venv, which is built on first use: `make test` works in a fresh clone.

PYTHON ?= python3
VENV ?= .venv
# Tested versions; `make CONSTRAINTS=` lets pip choose within the ranges of pyproject.toml.
CONSTRAINTS ?= constraints.txt
# The same releases with the hashes of their files, torch apart, whose build depends on the machine.
LOCK := $(if $(filter constraints.txt,$(CONSTRAINTS)),requirements.lock)

BIN := $(VENV)/bin
CVR := $(BIN)/cvr
DEMO := runs/demo
LOWEST := build/lowest
BENCH := build/bench
# Touched last: exists only after a complete installation.
STAMP := $(VENV)/.installed
# Exists during an installation; if it was interrupted, the next one starts from scratch.
UNFINISHED := $(VENV)/.unfinished

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install test test-lowest bench gpu-bench gpu-wheels check audit docs format demo clean

help: ## list these targets
	@echo "make TARGET [PYTHON=python3.11] [ARGS=...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## build .venv if it is missing or out of date

test: $(STAMP) ## run the tests; ARGS="-k reader" is passed to pytest
	$(BIN)/python -m pytest $(ARGS)

# torch stays at its pin: older CPU builds are not on the default index.
test-lowest: $(STAMP) ## run the tests with the lowest dependencies of pyproject.toml (Python 3.11 or 3.12)
	@mkdir -p $(LOWEST)
	$(BIN)/python .ci/lowest.py > $(LOWEST)/constraints.txt
	"$(PYTHON)" -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --disable-pip-version-check -c $(LOWEST)/constraints.txt \
	  torch -e ".[test,weights]"
	$(LOWEST)/bin/python -m pytest $(ARGS)

bench: $(BENCH)/venv/.installed ## compare speed with other libraries and write a report; CLIPS="a.avi b.mp4"
	$(BENCH)/venv/bin/python benchmarks/bench.py $(CLIPS) $(if $(RUNS),--runs $(RUNS)) $(ARGS)

# A separate environment with the libraries to compare with, pinned by constraints.txt.
$(BENCH)/venv/.installed: pyproject.toml $(CONSTRAINTS)
	"$(PYTHON)" -m venv --clear $(BENCH)/venv
	$(BENCH)/venv/bin/python -m pip install --disable-pip-version-check $(CONSTRAINTS:%=-c %) torch -e ".[bench]"
	@touch $@

gpu-bench: $(STAMP) ## measure on a GPU, under 8 minutes, and write a report; ARGS=--dry runs it without one
	$(BIN)/python -m pip install --disable-pip-version-check -q $(CONSTRAINTS:%=-c %) -e ".[energy]"
	$(BIN)/python benchmarks/gpu.py $(ARGS)

# What a machine with PyTorch but without a network may lack; install there with pip --no-index --no-deps.
GPU_PYTHON ?= 3.12
GPU_WHEELS ?= av braceexpand decord2 docstring_parser jsonargparse lightning lightning-utilities llvmlite numba \
  nvidia-ml-py pytorch-lightning torchmetrics typeshed-client webdataset

gpu-wheels: $(STAMP) ## collect wheels in build/gpu/wheels for a GPU machine without a network; GPU_PYTHON=3.12
	$(BIN)/python -m pip download --disable-pip-version-check $(CONSTRAINTS:%=-c %) --no-deps --only-binary=:all: \
	  --python-version $(GPU_PYTHON) --implementation cp --platform manylinux_2_28_x86_64 \
	  --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 -d build/gpu/wheels $(GPU_WHEELS)

check: $(STAMP) docs audit ## check lint, formatting, types, documentation and known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: $(STAMP) ## look up the pinned releases in the vulnerability database; one line without a network
	$(BIN)/python .ci/audit.py

docs: $(STAMP) ## build the documentation in build/site; a broken link is an error
	$(BIN)/sphinx-build -q -W --keep-going docs build/site

format: $(STAMP) ## format the code and apply safe lint fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

demo: $(DEMO)/iframes_only/results.json ## generate videos, train, test, and label one of them
	$(CVR) results $(DEMO) $(DEMO)/iframes_only
	$(CVR) classify data/motion_shapes/test/left/0000.mp4 --checkpoint $(DEMO)/checkpoints/last.ckpt --top 3
	@echo "Training curves: $(BIN)/tensorboard --logdir $(DEMO)"

# An interrupted demo resumes after its last complete epoch.
$(DEMO)/.trained: | $(STAMP)
	$(CVR) fit --config configs/demo.yaml $(if $(wildcard $(DEMO)/checkpoints/last.ckpt),--ckpt_path last)
	@touch $@

$(DEMO)/results.json: $(DEMO)/.trained
	$(CVR) test --ckpt_path $(DEMO)/checkpoints/last.ckpt

# The same weights without P-frames: accuracy from I-frames alone.
$(DEMO)/iframes_only/results.json: $(DEMO)/results.json
	$(CVR) test --ckpt_path $(DEMO)/checkpoints/last.ckpt --run demo/iframes_only --data.sampling.modalities '[iframes]'

clean: ## remove caches and build outputs, but not .venv, data/ and runs/
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .numba_cache
	find . \( -path ./$(VENV) -o -path ./data -o -path ./runs \) -prune -o \
	  -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml $(CONSTRAINTS) $(LOCK)
	@"$(PYTHON)" -V >/dev/null 2>&1 || { \
	  echo "'$(PYTHON)' does not run. Name a Python 3.10 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "cvr_lightning needs Python 3.10 or newer; '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1)." \
	       "Name another: make PYTHON=python3.11" >&2; exit 1; }
	@test -z "$(CONSTRAINTS)" || "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The releases in $(CONSTRAINTS) need Python 3.11 or newer. On 3.10: make CONSTRAINTS= ..." >&2; exit 1; }
	@if [ -e $(UNFINISHED) ]; then echo "The last installation was interrupted: starting over"; rm -rf $(VENV); fi
	@mkdir -p $(VENV) && rm -f $@ && touch $(UNFINISHED)
	"$(PYTHON)" -m venv $(VENV)
	@test -z "$(LOCK)" || $(BIN)/python -m pip install --disable-pip-version-check --require-hashes --no-deps -r $(LOCK)
	$(BIN)/python -m pip install --disable-pip-version-check $(CONSTRAINTS:%=-c %) $(LOCK:%=--no-build-isolation) \
	  torch -e ".[dev]"
	@rm -f $(UNFINISHED) && touch $@
