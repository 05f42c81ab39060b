# Everything here works on a fresh clone: python3 with venv, make, and on Debian apt's own client.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

$(READY): pyproject.toml
	@echo 'Installing what is needed into .venv, once'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: $(READY) ## Publish from real MicroPython to every emulated cloud in every way to log in, and compare
	@$(BIN)/onebuf demo

bringup: $(READY) ## From a bare emulated board to telemetry at the emulated cloud
	@$(BIN)/onebuf bringup --board ESP32_GENERIC_S3 --port emulated

cloud: $(READY) ## Run the emulated clouds until Ctrl-C, and print curl commands for each
	@$(BIN)/onebuf cloud

test: $(READY) lint ## Run every test: CPython, MicroPython 64-bit and 32-bit, with the coverage gate
	@$(BIN)/python tools/micropython.py
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n auto --dist worksteal tests/device
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report
	@$(BIN)/python -m pytest -n auto --dist worksteal tests/host

lint: $(READY) ## Check style and types
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

bench: .venv/.bench ## Measure onebuf beside its peers: docs/bench.md, .json and .png
	@$(BIN)/python -m tools.bench

.venv/.bench: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench]'
	@touch $@

bench-check: $(READY) ## Fail if a counted figure is worse than in docs/bench.json
	@$(BIN)/python -m tools.bench check

soak: $(READY) ## A hundred thousand publishes with reconnects, during which nothing may grow
	@$(BIN)/python -m tools.bench soak

size: $(READY) ## Show what the device package costs: .mpy bytes, RAM, smallest heap
	@$(BIN)/python -m tools.size

power-cuts: $(READY) ## Cut the power at every write and erase, without leaving any out
	@ONEBUF_POWER_CUTS=1 $(BIN)/python -m pytest tests/host/test_power_cut.py tests/host/test_flash_damage.py

fuzz: $(READY) ## Feed the response parser a million inputs
	@$(BIN)/python -m tests.host.fuzz_http1 --inputs 1000000

clean: ## Remove what the other targets made
	rm -rf .venv .cache .onebuf .coverage* .hypothesis .mypy_cache .ruff_cache *.egg-info

.PHONY: help demo bringup cloud test lint bench bench-check soak power-cuts size fuzz clean
