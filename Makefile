# Two commands do everything: `make demo` and `make test`. Both make .venv first, which costs no time once it is there.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test test-slow lint compile images test-containers manifests bench clean

demo: $(READY)
	$(BIN)/tamis demo

test: $(READY) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov=src/tamis --cov-report=term:skip-covered \
		--cov-fail-under=90

test-slow: $(READY)
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1 $(BIN)/python -m tests.benchmarks $(PARTS)

compile: $(READY)
	$(BIN)/tamis compile

# Both need an engine (DOCKER_HOST) and the base image alone; without an engine they say so and do nothing.
images: $(READY)
	images/build

test-containers: images
	$(BIN)/python -m pytest -m containers -rs tests/containers

# Builds every overlay and checks its objects against their schemas and the policies.
manifests: $(READY)
	$(BIN)/python -m pytest tests/manifests

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache
