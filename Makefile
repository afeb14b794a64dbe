# make help lists the targets. Settings of a run are given as variables (recipe=an4 seed=1 data.source=/data/an4);
# what is more than name=value, as +name=value, in args="...".

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
recipe ?= mini

# Whatever is given to make as name=value is a setting, but for make's own: a name that is none is then refused.
OWN := recipe args PYTHON VENV
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command line,$(origin $(name))),$(name)))
SETTINGS := $(foreach name,$(filter-out $(OWN),$(GIVEN)),'$(name)=$($(name))')

.DEFAULT_GOAL := run
.PHONY: run setup test test-recipes test-slurm fuzz test-browser lint format bench bench-training bench-gpu bench-targets bench-scoring bench-specialists bench-memory bench-growth sweep plan preflight status validate settings clean help

run: setup  ## set up, then run recipe=NAME (default mini) from stage= to stop_stage=, to its report
	$(BIN)/asr-kd run recipe=$(recipe) $(SETTINGS) $(args)

setup: $(VENV)/.complete  ## make the virtual environment from constraints.txt

$(VENV)/.complete: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	touch $@

test: setup  ## set up and run the fast tests (all processors)
	$(BIN)/python -m pytest -n auto

test-recipes: setup  ## run whole recipes on recorded speech: slow (needs ASR_KD_CORPORA)
	$(BIN)/python -m pytest -m recipe -n 0 --durations 0

test-slurm: setup  ## jobs through a Slurm that the tests start (Debian: slurm-wlm and munge; as root)
	$(BIN)/python -m pytest -m slurm -n 0 -rs

fuzz: setup  ## alter every kind of input file in the directions that reach new code: minutes
	$(BIN)/python -m pytest -m fuzz -n auto -rP tests/test_fuzzing.py

test-browser: setup  ## look at the report in headless Chromium, which is installed where there is none
	command -v chromium || command -v google-chrome || $(BIN)/playwright install chromium
	$(BIN)/python -m pytest -m browser -n 0

lint: setup  ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## put the code into its canonical form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## measure real-time factors of recipe=NAME's systems
	$(BIN)/asr-kd run recipe=$(recipe) stage=bench $(SETTINGS) $(args)

bench-training: setup  ## training throughput beside the matrix product's peak, on one thread
	$(BIN)/python -m asr_kd.bench.training $(args)

bench-gpu: setup  ## the same on a GPU, of the network of Hinton et al. 2015 with 14,000 senones
	$(BIN)/python -m asr_kd.bench.training --device cuda --preset hinton2015 --senones 14000 --batch-frames 4096 $(args)

bench-targets: setup  ## measure what recipe=NAME's soft-target store costs and keeps
	$(BIN)/python -m asr_kd.bench.soft_targets --work $(or $(work),exp/$(recipe)) $(args)

bench-scoring: setup  ## measure how long scoring and all tests take on 100,000 utterances
	$(BIN)/python -m asr_kd.bench.scoring $(args)

bench-memory: setup  ## measure the peak memory of stages on simulated corpora of 5 and 100 hours (10 GB of disk)
	$(BIN)/python -m asr_kd.bench.memory $(args)

bench-growth: setup  ## measure how cost grows with the corpus: args="--data D --lexicon L --work W" (docs/scale.md)
	$(BIN)/python -m asr_kd.bench.growth $(args)

bench-specialists: setup  ## how many frames a second generalist and specialists become one distribution
	$(BIN)/python -m asr_kd.bench.specialists --work $(or $(work),exp/$(recipe)) $(args)

sweep: setup  ## run all combinations of settings with several values: args="name=T a.b=1,2"
	$(BIN)/asr-kd sweep recipe=$(recipe) $(SETTINGS) $(args)

preflight: setup  ## estimate time, disk and memory of a run of recipe=NAME
	$(BIN)/asr-kd preflight recipe=$(recipe) $(SETTINGS) $(args)

plan: setup  ## what recipe=NAME would take on a cluster: hours= gpus= teraflops= terabytes= (docs/scale.md)
	$(BIN)/asr-kd plan recipe=$(recipe) $(SETTINGS) $(args)

status: setup  ## what of recipe=NAME is done, what a run would make again and why
	$(BIN)/asr-kd status recipe=$(recipe) $(SETTINGS) $(args)

validate: setup  ## check the corpus of recipe=NAME and name everything that is wrong with it
	$(BIN)/asr-kd validate recipe=$(recipe) $(SETTINGS) $(args)

settings: setup  ## print every setting of recipe=NAME
	$(BIN)/asr-kd settings recipe=$(recipe) $(SETTINGS) $(args)

clean:  ## remove what a recipe made: exp/NAME
	rm -rf exp/$(recipe)

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16
