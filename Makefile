# Everything a developer does, from a fresh clone: `make help`.
#
# PYTHON=python3.12   the interpreter that .venv is made with (3.11 or newer)
# TORCH=cuda          leave constraints.txt out, so that pip takes the newest CUDA build of torch;
#                     .venv remembers it, TORCH=pinned goes back; images take it too
# PYTHON_IMAGE=…, PIP_INDEX_URL=…, PIP_EXTRA_INDEX_URL=…   what images are built from

PYTHON ?= python3
VENV := .venv
TORCH ?= $(if $(wildcard $(VENV)/.installed-cuda),cuda,pinned)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(TORCH)
REQUIREMENTS := requirements.txt requirements-dev.txt constraints.txt \
	$(wildcard */pyproject.toml services/*/pyproject.toml)
PACKAGES := shared/pando_shared kernels/pando_kernels services/api/pando_api \
	services/scheduler/pando_scheduler services/worker/pando_worker cli/pando_cli

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format unit stack bench chaos fuzz images test-containers audit clean

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 17

setup: $(STAMP) ## Make .venv with everything in it

$(STAMP): $(REQUIREMENTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cuda)
	sed '/^-[cr] /d' requirements.txt requirements-dev.txt | \
		$(BIN)/python -m pip install --quiet --requirement /dev/stdin
else
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
endif
	rm -f $(VENV)/.installed-*
	touch $@

demo: setup ## Train four adapters together, and hear what each has learnt
	$(BIN)/pando demo $(ARGS)

# Tests of the stack mostly wait, the others mostly compute: together they take as long as one.
test: lint ## Lint, then all tests: those of the stack beside the others
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; failed=0; \
	$(MAKE) --no-print-directory stack >"$$log" 2>&1 & stack=$$!; \
	$(MAKE) --no-print-directory unit || failed=1; \
	echo "The tests of the stack go on, and are shown when they have ended."; \
	wait $$stack || failed=1; cat "$$log"; exit $$failed

lint: setup ## ruff, mypy, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/lint-imports

unit: setup ## Tests that start no service but Redis; ARGS="-k name" for some
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit tests/property tests/contract $(ARGS)

stack: setup ## Tests of the running stack, broken and whole, and of Grafana's types; ARGS too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/e2e tests/faults tests/integration \
		tests/grafana $(ARGS)

format: setup ## Format, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Compare with training one job after another; ARGS="--json FILE"
	$(BIN)/python benchmarks/train_throughput.py $(ARGS)

chaos: setup ## Break a cluster at random while jobs train; ARGS="--minutes 20 --faults 200"
	PYTHONPATH=tests/support $(BIN)/python -m chaos $(ARGS)

fuzz: setup ## Hold the API against its document, and break uploads, by thousands, other ones each time
	@seed=$${PANDO_FUZZ_SEED:-$$(date +%s)}; echo "PANDO_FUZZ_SEED=$$seed repeats this"; \
	PANDO_FUZZ_SEED=$$seed PANDO_FUZZ_CASES=1000 PANDO_FUZZ_WALKS=1000 \
		PANDO_HOSTILE_REQUESTS=10000 $(BIN)/python -m pytest --timeout 0 -s \
		tests/contract tests/integration/test_hostile_run.py $(ARGS)

images: ## Build the images pando-api, pando-scheduler and pando-worker; needs Docker
	for service in api scheduler worker; do \
		docker build --file deploy/docker/$$service.Dockerfile --tag pando-$$service \
			--build-arg PYTHON_IMAGE --build-arg TORCH=$(TORCH) \
			--build-arg PIP_INDEX_URL --build-arg PIP_EXTRA_INDEX_URL --build-arg STORAGE_PACKAGES \
			--build-arg PANDO_INTEGRATIONS . || exit 1; \
	done

test-containers: setup ## Build the images, then use and break a cluster of them; needs Docker
	$(BIN)/python -m pytest -m containers tests/containers $(ARGS)

audit: setup ## Look for known vulnerabilities in what is installed
	test -x $(VENV)/audit/bin/pip-audit || \
		{ $(BIN)/python -m venv $(VENV)/audit && $(VENV)/audit/bin/pip install --quiet pip-audit; }
	$(VENV)/audit/bin/pip-audit --progress-spinner off --skip-editable \
		--path $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

clean: ## Remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
