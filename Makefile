# `make demo` and `make test` do all of their own set-up; the targets below them are for working on the code.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# A plain user's PATH often lacks the folders where iptables, ip and etcd live.
export PATH := $(PATH):/usr/sbin:/sbin
# Each program of ours starts in two thirds of the time with its bytecode kept, and pytest's workers need not rewrite
# the assertions of every test file at every start.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
# Everything that starts control-plane processes runs in namespaces of its own, and vanishes with them.
LAB := $(PY) -m tests.lab.enter --
PYTEST := $(PY) -m pytest -p tests.failures $(PYTEST_ARGS)
# How many test files run side by side, each in a lab of its own.
CORES := $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n > 4 ? 4 : n)))
WORKERS ?= $(CORES)
# What runs alone does so in this order: the lab's files come last, the same lab serves those that follow.
TIERS := tests/unit tests/wire tests/frr tests/cluster tests/chaos tests/soak tests/endtoend tests/demo
OVERLAYS = $(wildcard kustomize/overlays/*)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## Walk through everything on a cluster of three nodes; KEEP=1 leaves the cluster up
	$(if $(filter-out 0,$(KEEP)),$(PY) -m tests.lab up -- $(PY) -m tests.demo --keep,$(LAB) $(PY) -m tests.demo)

.PHONY: demo-bgp
demo-bgp: setup frr ## The same with BGP: two routers, a client behind them, a node that leaves and one that is cut off
	$(LAB) $(PY) -m tests.demo.bgp

.PHONY: test
test: outlook setup prometheus frr ## Run all tests, WORKERS=2 files side by side; says first how long it takes
	@$(LAB) true
	$(PYTEST) -p tests.durations -p tests.side_by_side --workers $(WORKERS) $(TIERS)

# Of a whole run: PYTEST_ARGS may choose tests.
.PHONY: outlook
outlook:
	@$(if $(PYTEST_ARGS),true,tests/outlook.sh $(WORKERS))

# Fewer random examples than `make test` takes.
.PHONY: test-fast
test-fast: $(INSTALLED) ## Run the tests that need no processes, side by side (90 s on two idle cores)
	ADMITLB_EXAMPLES_PERCENT=20 $(PYTEST) --numprocesses $(CORES) --dist loadfile tests/unit

.PHONY: test-cluster
test-cluster: setup ## Run the tests against a real API server
	$(LAB) $(PYTEST) tests/cluster

.PHONY: test-frr
test-frr: setup frr ## Compare the rules for BGP with what real FRR daemons take, and drive them (a minute or two)
	$(LAB) $(PYTEST) tests/frr

.PHONY: fuzz-frr
fuzz-frr: setup frr ## Search for changes that FRR refuses or that reset a session unannounced, EXAMPLES=200
	BGP_FUZZ_EXAMPLES=$(or $(EXAMPLES),200) $(LAB) $(PYTEST) -o timeout=3600 tests/frr/driver/test_configuration.py

.PHONY: test-lab
test-lab: setup prometheus ## Run the tests on the wire and on the whole cluster in a box
	$(LAB) $(PYTEST) tests/wire tests/endtoend tests/demo

.PHONY: test-docs
test-docs: setup chromium ## Run the documentation's sessions as written, and look at the status page in a browser (minutes)
	$(LAB) $(PYTEST) tests/walkthroughs

.PHONY: test-monitoring
test-monitoring: setup prometheus ## Make every alert fire once under a real Prometheus (minutes)
	$(LAB) $(PYTEST) tests/observability

.PHONY: prometheus
prometheus: $(INSTALLED)
	$(PY) -m tests.lab.prometheus_programs

# Where Debian's archive is out of reach, the tests that need FRR are skipped and say so.
.PHONY: frr
frr: $(INSTALLED)
	$(PY) -m tests.lab.frr_programs

.PHONY: frr-reload
frr-reload: $(INSTALLED)
	$(PY) -m tests.lab.frr_programs reload

.PHONY: chromium
chromium: $(INSTALLED)
	$(PY) -m tests.walkthroughs.chromium

.PHONY: bench
bench: setup frr-reload ## Measure what it costs, each figure beside a baseline (minutes; best on an idle machine)
	$(LAB) $(PY) -m tests.bench $(BENCH_ARGS)

.PHONY: chaos
chaos: setup ## Let 50 clients change Services for five minutes while components are killed
	$(LAB) $(PY) -m tests.chaos $(CHAOS_ARGS)

.PHONY: soak
soak: setup ## Let nodes, cables, speakers and the API server fail for MINUTES=5 and watch the wire
	$(LAB) $(PY) -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(SOAK_ARGS)

.PHONY: soak-bgp
soak-bgp: setup frr ## Let peers, Services, routers, cables, FRR and speakers fail for MINUTES=10 and watch the routers
	$(LAB) $(PY) -m tests.soak.bgp $(if $(MINUTES),--minutes $(MINUTES)) $(SOAK_ARGS)

# Any tool with Docker's `build` will do. Layers get the time of the last commit, so that a build can be repeated.
IMAGE_TOOL ?= $(firstword $(foreach tool,buildah podman docker,$(if $(shell command -v $(tool)),$(tool))))
IMAGE ?= admitlb:latest

.PHONY: image
image: ## Build the image, named IMAGE; BASE_IMAGE and IMAGE_ARGS (arguments for the tool) say how
	@test -n "$(IMAGE_TOOL)" || { echo "buildah, podman or docker is needed" >&2; exit 1; }
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(IMAGE_TOOL) build --tag $(IMAGE) \
	    $(if $(filter-out docker,$(IMAGE_TOOL)),--timestamp $$(git log -1 --format=%ct)) \
	    $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) $(IMAGE_ARGS) .

.PHONY: image-frr
image-frr: ## Build the image of FRR for BGP, named IMAGE (make image-frr IMAGE=admitlb-frr:latest)
	@$(MAKE) --no-print-directory image IMAGE='$(if $(filter admitlb:latest,$(IMAGE)),admitlb-frr:latest,$(IMAGE))' \
	    IMAGE_ARGS='--file Dockerfile.frr $(IMAGE_ARGS)'

.PHONY: image-test
image-test: setup ## Build the image on a base of Debian packages and run a cluster from it (root; minutes)
	$(PY) -m tests.image
	$(LAB) $(PYTEST) tests/image

.PHONY: release
release: $(INSTALLED) ## Build a release into dist/ for REPOSITORY=registry/admitlb; DRY_RUN=1 builds no image
	@test -n "$(REPOSITORY)" || { echo "name where the image is pushed: REPOSITORY=registry.example.com/admitlb" >&2; exit 1; }
	PYTHONPATH=.ci $(PY) -m release --repository $(REPOSITORY) $(if $(filter-out 0,$(DRY_RUN)),--dry-run) $(RELEASE_ARGS)

.PHONY: lock
lock: $(INSTALLED) ## Write the image's lock files anew, from pyproject.toml and constraints.txt
	$(PY) -m pip install --quiet --disable-pip-version-check uv
	@compile() { $(VENV)/bin/uv pip compile --quiet --constraints constraints.txt --generate-hashes --universal \
	    --python-version 3.11 --no-annotate --custom-compile-command "make lock" "$$@"; }; \
	compile pyproject.toml --output-file requirements.lock; \
	$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	    | compile - --output-file requirements-build.lock

.PHONY: lint
lint: setup ## Check style, types, layers and that every overlay renders
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	@kubectl=$$($(PY) -c 'from tests.lab.binaries import find; print(find().kubectl)'); \
	for overlay in $(OVERLAYS); do echo "kubectl kustomize $$overlay"; "$$kubectl" kustomize "$$overlay" >/dev/null; done

.PHONY: format
format: $(INSTALLED) ## Bring the code into its one form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: setup
setup: $(INSTALLED) ## Install all that tests and demo need (they do this themselves)
	$(PY) -m tests.lab.binaries
	@# The programs of the lab's pods may write no bytecode themselves.
	$(PY) -m compileall -q allocator speaker webhook tests

$(INSTALLED): pyproject.toml constraints.txt
	@python=; \
	for name in $${PYTHON:-} python3 python3.13 python3.12 python3.11; do \
	    if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [[ -z "$$python" ]]; then echo "AdmitLB needs Python 3.11 or newer; name one with PYTHON=/path/to/python3" >&2; exit 1; fi; \
	if [[ ! -x $(PY) ]]; then \
	    if ! "$$python" -c 'import ensurepip' 2>/dev/null; then \
	        if (( EUID == 0 )) && command -v apt-get >/dev/null; then \
	            apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; \
	        else echo "$$python cannot make virtual environments; run: apt-get install python3-venv" >&2; exit 1; fi; \
	    fi; \
	    "$$python" -m venv $(VENV); \
	fi
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: clean
clean: ## Remove the virtual environment and all caches of this checkout
	rm -rf $(VENV) build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
