# Everything starts from a fresh clone with Python 3.11 or 3.12 and make; uv comes from PyPI into the project's own
# environment.
# The first one that runs: a version manager's shim may be on the PATH without its Python.
PYTHON ?= $(shell for name in python3.12 python3.11 python3; do \
	$$name -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$name && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.synced
SUPPORT := PYTHONPATH="tests:$$PYTHONPATH" $(BIN)/python -m support
CONTROL_PLANE := $(SUPPORT).control_plane
HELM   := $(SUPPORT).helm
PROMETHEUS := $(SUPPORT).prometheus
IMAGE_TOOLS := $(SUPPORT).image_tools
IMAGE_TESTS := tests/cluster/chart/image
FIND_PYTHON = test -n "$(PYTHON)" || { echo "kubedistill needs Python 3.11 or 3.12 on the PATH, or PYTHON=/path/to/one"; exit 1; }
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)

.PHONY: bench-operator soak setup demo demo-cluster test test-unit test-cluster test-images e2e-node control-plane helm prometheus lint format types models data crds chart dashboards docs images package clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Install everything into .venv (about 2 minutes, 7 GB)

$(STAMP): pyproject.toml uv.lock
	@$(FIND_PYTHON)
	test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install -q 'uv==0.13.9'; }
	$(BIN)/uv sync --locked --extra cpu --extra operator --inexact --compile-bytecode --quiet
	touch $@

demo: setup  ## Run the quickstart from prompts to an evaluated student; all files are under build/demo/
	$(BIN)/kubedistill run examples/quickstart/job.yaml --store build/demo

demo-cluster: setup  ## The same under the operator, on a Kubernetes API server of its own, as kubectl shows it
	$(SUPPORT).demo_cluster

# Tests of a cluster wait more than they compute.
test: setup  ## Run all tests, those of a cluster beside the others
	$(MAKE) -j2 test-unit test-cluster
	$(MAKE) test-images

test-unit: setup lint types  ## Lint, types and the tests that need no cluster
	$(BIN)/pytest --ignore=tests/cluster --ignore=tests/charts --ignore=tests/images

# With KUBEDISTILL_TEST_KUBECONFIG, which is never KUBECONFIG, they use that cluster instead of one of their own.
test-cluster: setup  ## Tests against a real API server; its binaries are built once (15 minutes, Go 1.24 or newer)
ifdef KUBEDISTILL_TEST_KUBECONFIG
	@$(HELM) && $(PROMETHEUS)
	$(BIN)/pytest tests/charts tests/cluster --ignore=$(IMAGE_TESTS) -m 'not own_plane'
else
	@$(CONTROL_PLANE) build && $(HELM) && $(PROMETHEUS); code=$$?; \
	if [ $$code -eq 0 ]; then $(BIN)/pytest tests/charts tests/cluster --ignore=$(IMAGE_TESTS); \
	elif [ $$code -eq 3 ] && [ "$$CI" != true ]; then \
		echo "test-cluster: NOTHING WAS TESTED AGAINST A CLUSTER, for want of the above"; \
	else exit $$code; fi
endif

# Where CI is true nothing may be left out.
test-images: setup  ## Build images and run what is in them: operator, base of runtime-cpu (as root; 10 minutes)
	@$(if $(KUBEDISTILL_TEST_KUBECONFIG),true,$(CONTROL_PLANE) build) && $(HELM) && $(IMAGE_TOOLS); code=$$?; \
	if [ $$code -eq 0 ]; then $(BIN)/pytest $(IMAGE_TESTS) tests/images; \
	elif [ $$code -eq 3 ] && [ "$$CI" != true ]; then \
		echo "test-images: NO IMAGE WAS BUILT OR STARTED, for want of the above"; \
	else exit $$code; fi

e2e-node: setup  ## Try images and chart on a real node, by hand: root, 25 GB, an hour; ARGS="--rebuild|--down|--scenario NAME"
	$(SUPPORT).e2e_node $(ARGS)

control-plane: setup  ## A Kubernetes API server on loopback: ARGS="up|down|restart|status|build" (default up)
	@$(CONTROL_PLANE) $(ARGS)

helm: setup  ## Helm from the PATH, or built once from Go modules (3 minutes)
	@$(HELM)

prometheus: setup  ## Prometheus and promtool from the PATH, or taken once out of Debian's package
	@$(PROMETHEUS)

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: setup
	$(BIN)/mypy

format: setup  ## Format the code and fix what ruff can fix
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

models: setup  ## Rebuild the quickstart's teacher and student (30 minutes at most on 2 cores)
	cd examples/quickstart && ../../$(BIN)/python build_models.py

crds: setup  ## Regenerate crds/ and what charts/kubedistill has of the models
	$(BIN)/python -m kubedistill.schema.crd > crds/kubedistill.io_distillationjobs.yaml
	$(BIN)/python charts/make_chart.py

chart: crds  ## The same

dashboards: setup  ## Regenerate the Grafana dashboards of charts/kubedistill from charts/make_dashboards.py
	$(BIN)/python charts/make_dashboards.py

docs: setup  ## Regenerate docs/reference.md from the resource models, and docs/permissions.md from the roles
	$(BIN)/python -m kubedistill.schema.reference > docs/reference.md
	$(BIN)/python deploy/rbac/page.py

images:  ## Build images with docker, podman or buildah: ARGS="operator runtime-cpu runtime" (default: the first two)
	@$(FIND_PYTHON)
	$(PYTHON) deploy/images/build.py $(ARGS)

package: setup  ## Package the chart into dist/, with checksums and the list of its images
	@helm=$$($(HELM)) && $(BIN)/python charts/package_chart.py --helm "$$helm"

bench-%: setup  ## Measure one figure; the last line is JSON (benchmarks/README.md lists them)
	$(BIN)/python benchmarks/$(subst -,_,$*).py

# Its file is not operator.py: that would stand before the standard library's for every program of its folder.
bench-operator: setup  ## Measure the operator with 500 jobs, then with 1,000 finished jobs (about 15 minutes)
	$(BIN)/python benchmarks/operator_load.py

soak: setup  ## Measure how the operator's memory grows over 5,000 jobs: LIVES=5000
	$(BIN)/python benchmarks/soak.py

clean:  ## Remove what was built, but for the environment
	@! test -d build/control-plane || $(CONTROL_PLANE) down
	@! test -d build/e2e-node/state || $(SUPPORT).e2e_node --down
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
