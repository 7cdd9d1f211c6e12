# make run: a pool from source files, then a change of its data.  make test: all tests and checks.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONWARNINGS :=

.PHONY: env run test test-long stateful fuzz faults devices slurm experiments format clean

env: .venv/installed

# torch first, and by itself: an index that offers a CPU build serves it for the pinned version.
.venv/installed: pyproject.toml edge/pyproject.toml envs/requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Shoal needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	pip install --quiet --disable-pip-version-check --requirement envs/torch.txt
	pip install --quiet --disable-pip-version-check --requirement envs/requirements.txt
	pip install --quiet --disable-pip-version-check --no-deps --editable edge --editable .
	python -m compileall -q src # pip does it for all else; each process would do it otherwise
	touch $@

# Text of many kinds, of what is installed; then another kind comes, which was held back.
TEXT := data/installed_text
RUN_TEXT := snakemake --profile profiles/local --logger shoal --config experiment=installed_text
run: env
	test -d $(TEXT) || shoal text-data $(TEXT)
	test -d results/installed_text || rm -f $(TEXT)/tables.parquet
	$(RUN_TEXT)
	shoal verdict installed_text
	test -f $(TEXT)/tables.parquet || cp $(TEXT)/later/tables.parquet $(TEXT)
	shoal grow installed_text
	shoal plan installed_text
	$(RUN_TEXT)
	python -m examples.new_kind installed_text $(TEXT)/tables.parquet

# Three processes keep two cores busy: the tests wait for other processes a quarter of the time.
test: env
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow benchmarks
	mypy
	lint-imports --no-cache --no-logo
	snakemake --lint
	pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# Tests that take longer: a small Slurm, whole runs side by side, scripts of random edits
test-long: env
	pytest -m long --numprocesses 3 --dist loadfile --no-loadscope-reorder

# Random edits, failures and kills, and removed rows, against an oracle: make stateful STEPS=1000 SEED=1
STEPS ?= 1000
SEED ?= 1
stateful: env
	SHOAL_STEPS=$(STEPS) SHOAL_REMOVALS=$(STEPS) SHOAL_SEED=$(SEED) pytest tests/stateful -m '' -s

# Files with random faults; each case in a process of bounded memory and time: make fuzz CASES=10000 SEED=1
CASES ?= 10000
fuzz: env
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 SHOAL_CASES=$(CASES) SHOAL_SEED=$(SEED) pytest tests/fuzz -m '' -s

# Random faults in patches and copies, and kills while one is applied: make faults CASES=10000 KILLS=1000 SEED=1
KILLS ?= 1000
faults: env
	SHOAL_CASES=$(CASES) SHOAL_KILLS=$(KILLS) SHOAL_SEED=$(SEED) pytest tests/shoal_edge/test_faults.py -s

# Devices that update from a web server, over bad lines and past an attacker: make devices SEED=1
devices: env
	python -m benchmarks.devices --seed $(SEED)

# The demo on a real Slurm, and faults in mid-run; needs root on Debian
slurm: env
	pytest tests/slurm -m "campaign or not campaign" -s

# The other experiments, each to its verdict: make experiments DATA=FOLDER
DATA ?= data
experiments: env
	for name in titanic housing intents mnist_fashion mixed_text; do \
	  snakemake --profile profiles/local --logger shoal \
	    --config experiment=$$name 'overrides=[sources.folder=$(DATA)]' || exit; \
	  shoal verdict $$name; \
	done

format: env
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow benchmarks

clean:
	rm -rf .venv results logs .snakemake
