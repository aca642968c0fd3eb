# `make run` and `make test` are all one needs; everything lives in .venv and var.
PYTHON ?= python3
BIN := .venv/bin
MANAGE := $(BIN)/python manage.py
LOCK := requirements.lock
UV := uv==0.13.9

.PHONY: run install test check bench lock sbom audit clean

run: install
	exec $(MANAGE) up

install: .venv/installed
	$(MANAGE) migrate --verbosity 0
	$(MANAGE) sync_bundles

.venv/installed: $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes $(LOCK)
	touch $@

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MANAGE) check
	$(MANAGE) makemigrations --check --dry-run

bench: install
	$(BIN)/python -m bench

lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group dev pyproject.toml --output-file $(LOCK)

# What is inside (CycloneDX), and which of it has a known weakness (asks the package index; what it could
# not ask about is a failure, too).
sbom: install
	$(BIN)/cyclonedx-py requirements --output-format JSON --output-file var/sbom.cdx.json $(LOCK)

audit: install
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement $(LOCK)

clean:
	rm -rf .venv var .pytest_cache .mypy_cache .ruff_cache
