# Two commands: `make demo` and `make test`. Both create the environment they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint format audit lock clean

demo: $(STAMP)
	$(BIN)/abtest demo

test: $(STAMP) $(VENV)/.browser lint
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch comes first and alone, at its exact version: any other resolution may pull the
# multi-gigabyte CUDA build. Everything else comes with the hashes of its files.
$(STAMP): pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

# Chromium and axe-core for the tests of the report, where root and apt can have them within some minutes.
# Without them these tests are skipped and say so.
$(VENV)/.browser: $(STAMP)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && ! command -v chromedriver > /dev/null; then \
		echo "Installing chromium and chromium-driver for the tests of the report"; \
		(timeout 90 apt-get -qq update; \
		 DEBIAN_FRONTEND=noninteractive timeout 240 apt-get -qq install --yes --no-install-recommends \
			chromium chromium-driver) > /dev/null 2>&1 || echo "Not installed; its tests are skipped"; fi
	@if command -v npm > /dev/null; then \
		timeout 60 npm install --silent --no-audit --no-fund --no-save --prefix $(VENV)/axe axe-core@4.14.1 \
			> /dev/null 2>&1 || echo "axe-core was not installed; its tests are skipped"; fi
	@touch $@

# Versions that differ from the constraints, licences, known vulnerabilities.
audit: $(STAMP)
	$(BIN)/python -m benchmarks.upkeep.audit

# After a change of constraints.txt; needs uv.
lock:
	sed '/^# Extras/,$$d; /^torch==/d' constraints.txt | uv pip compile - --quiet --no-deps --generate-hashes \
		--python-version 3.11 --no-header --no-annotate --output-file requirements.lock

clean:
	rm -rf $(VENV) .abtest build *.egg-info .pytest_cache .mypy_cache .ruff_cache
