# All that there is to do here. `make help` lists it. Each target installs what it needs and says so; nothing is
# installed twice. CLUSTER=current uses the current kubectl context instead of a cluster on this machine.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CACHE := $(or $(ARCHSEARCH_CACHE),$(HOME)/.cache/archsearch)
UV_VERSION := 0.13.9
UV := $(CACHE)/uv-$(UV_VERSION)/bin/uv
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
# A file's tests stay together: what its fixtures start is started once.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile
# The machine is shared by the processes that the tests start: more threads would wait for each other.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
CODE := operator/archsearch_operator trial_image/archsearch cluster benchmarks

.PHONY: help demo test unit api integration lint crds clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## a real cluster, the chart, a real search, the result
	python3 -m cluster demo examples/darts-digits.yaml

test: ## everything: lint, unit tests, tests on an API server, tests on a cluster
	@./.ci/suite all

# Programs are built before pytest starts: there nobody would see why it takes so long, and tests have timeouts.
unit: .venv/.ready ## tests that need nothing but Python; some need helm or Prometheus, where there is Go to build them
	@$(PYTHON) -m cluster build --if-possible helm prometheus
	$(PYTEST) $(PARALLEL) -m "not apiserver and not cluster"

api: .venv/.ready ## tests on a real API server (Linux, Go)
	@$(PYTHON) -m cluster build kubernetes
	$(PYTEST) $(PARALLEL) -m apiserver

integration: .venv/.ready ## tests on a real cluster (Linux, root, Go; or CLUSTER=current), which stays up
ifneq ($(CLUSTER),current)
	@$(PYTHON) -m cluster build helm prometheus
	@$(PYTHON) -m cluster up >/dev/null
	@$(PYTHON) -m cluster images >/dev/null
endif
	$(PYTEST) -m cluster

lint: .venv/.ready ## style, types, and who may import whom
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy $(CODE)
	PYTHONPATH=operator:trial_image .venv/bin/lint-imports --no-cache

crds: .venv/.ready ## write crds/ from the models, and the chart's copy
	PYTHONPATH=trial_image $(PYTHON) -m archsearch.api.crd crds
	mkdir -p helm/archsearch/files/crds
	cp crds/*.yaml helm/archsearch/files/crds/

clean: ## remove the cluster of this machine and what was built in this folder (caches outside stay)
	-python3 -m cluster down
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

.venv/.ready: pyproject.toml uv.lock $(UV)
	@echo "installing the Python packages of uv.lock into .venv"
	$(UV) sync --quiet --compile-bytecode --frozen --extra dev --python 3.11
	@touch $@

$(UV):
	@echo "installing uv $(UV_VERSION) into $(CACHE)"
	@python3 -m venv $(CACHE)/uv-$(UV_VERSION) 2>/dev/null || { \
	  echo "installing python3-venv"; apt-get update -qq && apt-get install -y -qq python3-venv && \
	  python3 -m venv --clear $(CACHE)/uv-$(UV_VERSION); }
	@$(CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet uv==$(UV_VERSION)
