# `make demo` and `make test` set up everything they need in .venv. Python >= 3.11 (for the pinned versions; the
# library itself is written for 3.10), pip and make are all it takes; the TensorRT tests also need a C++ compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Hosts whose own pins ask for CUDA builds: the tests run them on a CPU, without their dependencies.
HOSTS := tests/requirements-sglang.txt tests/requirements-tensorrt.txt
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check doctor bench clean

demo: $(VENV)/.demo
	$(BIN)/moi demo

test: check
	$(BIN)/pytest

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

# Engines that are not installed are rows with their reason; the report is written even if an engine fails.
bench: $(VENV)/.demo
	@mkdir -p bench
	$(BIN)/moi bench op --suite laptop --repeats 20 --out bench/op.json
	$(BIN)/moi bench engines --suite laptop --out bench/engines.json; status=$$?; \
	$(BIN)/moi eval countdown --n 200 --out bench/countdown.jsonl && \
	$(BIN)/moi report bench/op.json bench/engines.json bench/countdown.jsonl --out bench/report.html && exit $$status

doctor: $(VENV)/.demo
	$(BIN)/moi doctor

clean:
	rm -rf $(VENV)

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed for the pinned versions; say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# The stamps make the second time quick; they follow the files that say what to install.
$(VENV)/.demo: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(PIP) --editable '.[engine,cpu]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo $(HOSTS)
	$(PIP) --editable '.[engine,cpu,triton,onnx,tensorrt-rtx,test,check]'
	$(PIP) --no-deps $(HOSTS:%=--requirement %)
	@touch $@
