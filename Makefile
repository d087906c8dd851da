# Needs Python 3.11 or newer, make and git; everything else goes into .venv.

## make finetune RECIPE=quickstart/gpt2_last_layers [ARGS="--training.max-steps 10"]
##     trains, evaluates and writes runs/<study>/<arm>/; ARGS are overrides of the recipe
##     LAUNCH="accelerate launch --num_processes 4" starts one process for each of four GPUs,
##     LAUNCH="torchrun --nproc_per_node 2" two on any machine; the batch is that of all together
## make compare RECIPE=quickstart [ARGS="--seeds 0 1 2"]
##     runs what is missing of a study, then one table
## make plan RECIPE=quickstart/gpt2_last_layers
##     everything short of training
## make list       the recipes
## make install    .venv, with the versions of constraints.txt; the others do it when needed
## make test       the tests; ARGS="-k words" and the like go to pytest
## make test-peers TRANSFORMERS=<checkout of the installed version's tag>
##     transformers' own common tests over the LSTM family; not part of `make test`
## make check      ruff and mypy
## make docs       the API reference, from the docstrings: docs/build/finetune.html
## make test-versions   the tests with the oldest and with the newest versions of pyproject.toml
##     in .venv-oldest and .venv-newest; PYTHON_OLDEST and PYTHON_NEWEST name their Pythons
##
## PYTHON=/path/to/python3 chooses the Python of a new .venv; `rm -rf .venv` starts anew.

PYTHON ?= python3
LAUNCH ?= python
INSTALLED := .venv/installed

ifneq ($(filter finetune compare plan,$(MAKECMDGOALS)),)
ifeq ($(RECIPE),)
$(error RECIPE is missing: make $(firstword $(MAKECMDGOALS)) RECIPE=quickstart/gpt2_last_layers; `make list` shows what there is)
endif
endif

.PHONY: help finetune compare plan list install test test-peers test-versions check docs

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

finetune: $(INSTALLED)
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(LAUNCH) -m finetune run $(RECIPE) $(ARGS)

compare plan: $(INSTALLED)
	.venv/bin/python -m finetune $@ $(RECIPE) $(ARGS)

list: $(INSTALLED)
	@.venv/bin/python -m finetune list

# Tiny models gain nothing from threads: two processes of one thread each are faster.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 $(ARGS)

test-peers: $(INSTALLED)
	@test -f "$(TRANSFORMERS)/tests/test_modeling_common.py" || { echo "TRANSFORMERS is missing or no checkout of transformers: make test-peers TRANSFORMERS=<checkout of the tag v$$(.venv/bin/python -c 'import importlib.metadata as m; print(m.version("transformers"))')>"; exit 2; }
	TRANSFORMERS="$(abspath $(TRANSFORMERS))" OMP_NUM_THREADS=1 .venv/bin/python -m pytest -s -rs tests/peers/lstm.py $(ARGS)

check: $(INSTALLED)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

docs: $(INSTALLED)
	.venv/bin/python docs/api.py docs/build
	@echo "open docs/build/finetune.html"

test-versions:
	$(PYTHON) tests/versions.py $(ARGS)

install: $(INSTALLED)

# An installation that was interrupted leaves .venv/unfinished, and the next one starts anew.
# What builds packages comes first and without isolation, so that its versions are pinned too.
$(INSTALLED): pyproject.toml constraints.txt
	@if test -e .venv/unfinished || ! test -x .venv/bin/python; then rm -rf .venv; fi
	@test -d .venv || $(PYTHON) -c 'import sys; v = sys.version_info; v < (3, 11) and sys.exit("finetune needs Python 3.11 or newer, this is %d.%d; name another: make PYTHON=/path/to/python3" % v[:2])'
	@mkdir -p .venv && touch .venv/unfinished
	@echo "installing into .venv; the first time takes minutes"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet -c constraints.txt hatchling setuptools
	@.venv/bin/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
	@mv .venv/unfinished $@
