# Needs make and Python 3.11 or newer. Everything else is installed into .venv, in the versions of
# constraints.txt.
#   PYTHON   the interpreter that .venv is made with:  make table1 PYTHON=python3.12
#   ARGS     more arguments for the command:           make table1 ARGS="--seeds 0,1,2"

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -c constraints.txt
INSTALLED := .venv/.installed
INSTALLED_TEST := .venv/.installed-test
INSTALLED_DOCS := .venv/.installed-docs
SCRATCH := methods=[{method = "uniform", label = "uniform, scratch", start = "scratch"}]

.DEFAULT_GOAL := help
.PHONY: help table1 smoke test test-slow mutants chaos fuzz benchmark gpu-check lint docs pretrained

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo 'Options: PYTHON=python3.12 (the interpreter), ARGS="--seeds 0,1,2" (more arguments for the command).'

table1: $(INSTALLED) ## compare all methods at matched peak memory on embedded photographs; what is already stored is not run again
	$(BIN)/prunebench run table1 $(ARGS)

smoke: $(INSTALLED) ## the same code in two minutes, to see that it works; its quality figures mean nothing
	@echo 'A smoke run: so little training that the quality figures mean nothing.'
	$(BIN)/prunebench run smoke $(ARGS)

test: $(INSTALLED_TEST) ## the tests, without the slow ones
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

test-slow: $(INSTALLED_TEST) ## the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

mutants: $(INSTALLED_TEST) ## break the code in over 90 ways and see whether a test notices each; half an hour
	$(BIN)/python -m tests.mutation.run --out results/reference/mutation/mutants.md $(ARGS)

chaos: $(INSTALLED_TEST) ## kill a study 100 times and compare it with one that was left alone; an hour
	$(BIN)/python -m tests.endurance.chaos --kills 100 --out results/runs/chaos $(ARGS)

fuzz: $(INSTALLED_TEST) ## hostile input, guided by coverage; twelve minutes
	$(BIN)/python -m pip install atheris==3.0.0
	$(BIN)/python -m tests.fuzz.guided -max_total_time=60 $(ARGS)

benchmark: $(INSTALLED_TEST) ## time the harness beside what it is made of; twenty minutes
	$(BIN)/python -m tests.performance.run --out results/reference/performance/performance.md $(ARGS)

gpu-check: $(INSTALLED_TEST) ## on a GPU: its tests, 200 training steps at the paper's setting, memory; at most eight minutes
	$(BIN)/python -m tests.performance.gpu_check --out results/reference/performance/gpu.md $(ARGS)

lint: $(INSTALLED_TEST) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED_DOCS) ## build the documentation site into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

pretrained: $(INSTALLED) ## train the shipped networks anew: the unpruned one, and uniform scale from scratch
	rm -f bench/pretrained_networks/*
	$(BIN)/prunebench pretrain table1 --out bench/pretrained_networks $(ARGS)
	$(BIN)/prunebench run table1 --no-mlflow --out results/runs/scratch --set '$(SCRATCH)' \
		--set recipe.adapt_steps=1 --set recipe.finetune_steps=1 --set recipe.matched_steps=2 --set recipe.steps_per_epoch=1
	cp results/runs/scratch/pretrained/*.pretraining bench/pretrained_networks

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "prunebench needs Python 3.11 or newer, and '$(PYTHON)' is not; name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo 'Installing prunebench and its dependencies into .venv; the first time this takes some minutes.'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e .
	@touch $@

$(INSTALLED_TEST): $(INSTALLED)
	$(INSTALL) -e '.[test]'
	@touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(INSTALL) -e '.[docs]'
	@touch $@
