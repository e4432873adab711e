# A fresh clone needs only Python 3.11 or 3.12 and make; `make setup` installs uv from PyPI into the environment of the
# project.
# Use the first Python that runs: the shim of a version manager may be on the PATH without its Python.
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

demo-cluster: setup  ## Run the quickstart under the operator, on its own Kubernetes API server, and show it with kubectl
	$(SUPPORT).demo_cluster

# Cluster tests mostly wait, so they run in parallel with the others.
test: setup  ## Run all tests, cluster tests in parallel with the others
	$(MAKE) -j2 test-unit test-cluster
	$(MAKE) test-images

test-unit: setup lint types  ## Lint, types and the tests that need no cluster
	$(BIN)/pytest --ignore=tests/cluster --ignore=tests/charts --ignore=tests/images

# With KUBEDISTILL_TEST_KUBECONFIG, which is never KUBECONFIG, the tests use that cluster instead of their own.
test-cluster: setup  ## Tests against a real API server; its binaries are built once (15 minutes, Go 1.24 or newer)
ifdef KUBEDISTILL_TEST_KUBECONFIG
	@$(HELM) && $(PROMETHEUS)
	$(BIN)/pytest tests/charts tests/cluster --ignore=$(IMAGE_TESTS) -m 'not own_plane'
else
	@$(CONTROL_PLANE) build && $(HELM) && $(PROMETHEUS); code=$$?; \
	if [ $$code -eq 0 ]; then $(BIN)/pytest tests/charts tests/cluster --ignore=$(IMAGE_TESTS); \
	elif [ $$code -eq 3 ] && [ "$$CI" != true ]; then \
		echo "test-cluster: NOTHING WAS TESTED AGAINST A CLUSTER, because the above is missing"; \
	else exit $$code; fi
endif

# If CI is true, no test may be left out.
test-images: setup  ## Build and run images: the operator, and the base of runtime-cpu (as root; 10 minutes)
	@$(if $(KUBEDISTILL_TEST_KUBECONFIG),true,$(CONTROL_PLANE) build) && $(HELM) && $(IMAGE_TOOLS); code=$$?; \
	if [ $$code -eq 0 ]; then $(BIN)/pytest $(IMAGE_TESTS) tests/images; \
	elif [ $$code -eq 3 ] && [ "$$CI" != true ]; then \
		echo "test-images: NO IMAGE WAS BUILT OR STARTED, because the above is missing"; \
	else exit $$code; fi

e2e-node: setup  ## Test images and chart on a real node, by hand: root, 25 GB, an hour; ARGS="--rebuild|--down|--scenario NAME"
	$(SUPPORT).e2e_node $(ARGS)

control-plane: setup  ## Run a Kubernetes API server on loopback: ARGS="up|down|restart|status|build" (default up)
	@$(CONTROL_PLANE) $(ARGS)

helm: setup  ## Find Helm on the PATH, or build it once from Go modules (3 minutes)
	@$(HELM)

prometheus: setup  ## Find Prometheus and promtool on the PATH, or download them once from Debian's package
	@$(PROMETHEUS)

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: setup
	$(BIN)/mypy

format: setup  ## Format the code and fix what ruff can fix
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

models: setup  ## Rebuild the quickstart's teacher and student (up to 30 minutes on 2 cores)
	cd examples/quickstart && ../../$(BIN)/python build_models.py

crds: setup  ## Regenerate crds/ and the generated files of charts/kubedistill
	$(BIN)/python -m kubedistill.schema.crd > crds/kubedistill.io_distillationjobs.yaml
	$(BIN)/python charts/make_chart.py

chart: crds  ## Do the same as `make crds`

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

# Its file is not operator.py, which would shadow the standard library's for every program in its folder.
bench-operator: setup  ## Measure the operator with 500 jobs, then with 1,000 finished jobs (about 15 minutes)
	$(BIN)/python benchmarks/operator_load.py

soak: setup  ## Measure the growth of the operator's memory over 5,000 jobs: LIVES=5000
	$(BIN)/python benchmarks/soak.py

clean:  ## Remove all build results, but not the environment
	@! test -d build/control-plane || $(CONTROL_PLANE) down
	@! test -d build/e2e-node/state || $(SUPPORT).e2e_node --down
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
