# make quickstart: install and run the main job.  make check: style, types, layers.
# make test: what a change waits for, 3 to 5 minutes on two cores: every property of every room, of one entry of each
# kind: a lane is its solo run, a resume is the run itself, scores by hand, every command, bad input.
# make test-kernels: what must hold whatever kernels a processor makes libraries choose, with those of other processors.
# make test-rest: the same properties of all other entries; whole programs (clusters, servers, browsers, LaTeX, notebooks,
# each command in a process of its own); and long simulations. .ci/run runs this and all up to test-infra.
# make test-stores: Postgres, S3 and an MLflow server with authentication, where they are installed.
# make faults: kill everything that can be killed, for an hour or two; make faults-short: a few minutes of it.
# make test-infra: what the image copies, the restore drill, a cluster's examination and metrics: for real, on this machine.
# make lock: of what the images install every version and hash anew; make sbom: what that is, for CycloneDX's readers;
# make audit: whether anything of it is known to be unsafe. The last asks PyPI, and fails where PyPI does not answer.
# make bench: what is fast, and how fast, in one table; half an hour in which nothing else should run.
# make mutants: one-place changes of the core modules, a seeded sample, and the share that tests notice; minutes.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: quickstart test test-kernels test-rest test-stores test-infra test-all check faults faults-short mutants bench install install-dev
.PHONY: lock sbom audit

quickstart: install
	$(BIN)/bench run suites/quickstart.yaml
	$(BIN)/bench report suites/quickstart.yaml
	@echo "Open reports/quickstart/index.html in a browser; '$(BIN)/bench ui' serves traces and leaderboard in MLflow."

test: install-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What a processor's kernels can change: that a lane is its solo run, that a resume and a second look are the run itself,
# that parts of a batch are the whole; of every method. What reads, plans, records or refuses is the same on all.
KERNELS := MKL_CBWR=AVX2+ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=COMPATIBLE
OF_KERNELS := $(addprefix tests/bench/training/test_,company.py inspection.py train.py train_held_out.py train_memory.py \
	train_probes.py train_state.py) tests/conformance/test_methods.py tests/conformance/test_workloads.py
test-kernels: install-dev
	set -e; for kernels in $(KERNELS); do \
		echo "with $$kernels"; \
		env $$(echo $$kernels | tr + ' ') $(BIN)/python -m pytest -m "not slow and not gpu and not stores" \
			-n 2 --dist loadfile --no-loadscope-reorder $(OF_KERNELS); \
	done

# Of all files those alone that have such tests: to read the others takes as long as many of these tests.
test-rest: install-dev
	$(BIN)/python -m pytest -m "(repetition or whole) and not slow and not gpu and not stores" \
		-n 2 --dist loadfile --no-loadscope-reorder \
		$$(grep -rlE --include='test_*.py' 'mark\.(repetition|whole)|tests\.repetitions' tests)

test-stores: install-dev
	$(BIN)/python -m pytest -m "stores and not slow" -n 2 --dist loadfile \
		$$(grep -rlE --include='test_*.py' 'any_store|mark\.stores' tests)

test-infra: install-dev
	$(BIN)/python -m pytest -m slow $(addprefix tests/,infra/test_backups.py infra/test_containers.py \
		bench/cluster/test_doctor.py bench/cluster/test_metrics.py)

test-all: install-dev
	$(BIN)/python -m pytest -m ""

faults: install-dev
	$(BIN)/python -m pytest -m slow tests/faults
	$(BIN)/python -m tests.faults.campaign

faults-short: install-dev
	$(BIN)/python -m tests.faults.campaign --worker 2 --node 1 --driver 1 --server 1 --database 1 --disk 1 --num-seeds 1

mutants: install-dev
	$(BIN)/python -m tests.mutants

# One source of versions: constraints.txt, what the tests were run with. The locks add all that follows from it, and hashes.
LOCK = build/release/bin/uv pip compile --quiet --universal --python-version 3.11 --constraint constraints.txt \
	--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --no-header
LOCKS := infra/docker/requirements.lock infra/mlflow/requirements.lock
lock: build/release/made
	rm -f $(LOCKS)
	echo 'setuptools>=77' | $(LOCK) pyproject.toml - --extra cluster --extra postgres --extra s3 -o infra/docker/requirements.lock
	$(LOCK) infra/mlflow/requirements.in -o infra/mlflow/requirements.lock

sbom: build/release/made
	for image in docker mlflow; do \
		build/release/bin/cyclonedx-py requirements infra/$$image/requirements.lock -o build/$$image.cdx.json || exit 1; \
	done

# Without --strict what could not be looked up would count as safe.
audit: build/release/made
	build/release/bin/pip-audit --strict --disable-pip --require-hashes $(addprefix --requirement ,$(LOCKS))

build/release/made: Makefile
	$(PYTHON) -m venv build/release
	build/release/bin/pip install --quiet uv==0.13.9 cyclonedx-bom==7.5.0 pip-audit==2.10.1
	touch $@

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

# pip compiles every module of what it installed, one after the other; here all cores do.
COMPILE = $(BIN)/python -m compileall -qq -j 0 $(VENV) || true

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable .
	@$(COMPILE)
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@$(COMPILE)
	touch $(VENV)/installed $@

bench: install-dev
	$(BIN)/python -m tests.perf.performance
