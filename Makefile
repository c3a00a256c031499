# Two commands do all set-up: `make run` and `make test`. Every step is named; done once, it takes no time.

PYTHON ?= python3
CACHE  := $(CURDIR)/.cache
BIN    := $(CURDIR)/.venv/bin
UV     := $(CACHE)/uv/bin/uv
SYNCED := $(CACHE)/synced

# Tests spend half of their time waiting. A selection runs in one process: there -s and --pdb do what they say.
WORKERS ?= $(if $(ARGS),0,3)

export SHIPKEEPER_CACHE ?= $(CACHE)
export UV_PYTHON_DOWNLOADS := never
# The tests start this code some hundred times; compiled anew each time, that is a third of their work.
export PYTHONPYCACHEPREFIX ?= $(CACHE)/bytecode
unexport PYTHONDONTWRITEBYTECODE
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help run demo test slow bench dashboards gpu-check soak hosts check lint format root setup lab clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 17

run: ## watch this host's engine; where there is none, show the demo
	@address=$$($(PYTHON) deploy/find_engine.py); \
	case $$? in \
	0) $(MAKE) setup && SHIPKEEPER_DOCKER__HOST=$$address exec $(BIN)/shipkeeper run ;; \
	3) exec $(MAKE) demo ;; \
	*) exit 1 ;; \
	esac

demo: root setup ## show Shipkeeper at work on a private engine
	@tests/lab/need.sh lab
	@exec $(BIN)/python -m tests.lab.demo $(ARGS)

test: lab ## run all tests but the slow ones, on real engines
	@PATH="$$PATH:$(SHIPKEEPER_CACHE)/prometheus/usr/bin" exec $(BIN)/python -m pytest -q -m "not slow" -n $(WORKERS) --dist worksteal $(ARGS)

slow: lab ## run the proofs that take minutes
	@tests/lab/need.sh slow
	@$(BIN)/python -m tests.lab.binaries trixie >/dev/null
	@PATH="$$PATH:$(SHIPKEEPER_CACHE)/prometheus/usr/bin" exec $(BIN)/python -m pytest -m slow $(ARGS)

bench: lab ## measure latency, CPU and memory
	@exec $(BIN)/python -m tests.bench $(ARGS)

gpu-check: setup ## print what is read of this machine's GPUs beside nvidia-smi
	@exec $(BIN)/python -m tests.lab.gpu_check

dashboards: setup ## make Grafana's dashboards from their sources
	@$(BIN)/python deploy/grafana/source/build.py deploy/grafana

soak: lab ## let it watch thousands of short lives for half an hour
	@exec $(BIN)/python -m tests.soak $(ARGS)

hosts: setup ## tidy random hosts for ten minutes, on which everything happens at once
	@exec $(BIN)/python -m tests.soak.hosts $(ARGS)

check: lint test ## all that CI does

lint: setup ## check format, style, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

root:
	@[ "$$(id -u)" = 0 ] || { echo "a private engine needs root; type: sudo make $(MAKECMDGOALS)" >&2; exit 1; }

setup: $(SYNCED)
	@:

lab: root setup
	@tests/lab/need.sh lab
	@$(BIN)/python -m tests.lab.binaries bookworm sid prometheus alertmanager >/dev/null

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Shipkeeper needs Python 3.11 or later; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@PYTHON=$(PYTHON) tests/lab/need.sh setup
	@echo "setup: fetching uv into .cache/uv"
	@$(PYTHON) -m venv $(CACHE)/uv
	@$(CACHE)/uv/bin/pip install -qq --disable-pip-version-check 'uv>=0.9,<1'

$(SYNCED): $(UV) pyproject.toml uv.lock
	@echo "setup: installing the locked packages into .venv"
	@$(UV) sync --quiet --locked --python $(PYTHON)
	@touch $@

clean: ## remove everything that set-up and tests have made
	rm -rf .venv $(CACHE) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
