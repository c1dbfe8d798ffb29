# Every target sets up what it needs and is quick the second time. Nothing is installed outside this folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
export PERENNE_MODELS_FOR_TESTS ?= $(CURDIR)/build/models
export PYTHONPATH := $(CURDIR)
N ?= 1
# A package that could not be fetched is named by pip and npm above; this says what to look at.
NOT_INSTALLED = { echo "the packages could not be installed: is the registry reached, and is there room in $(CURDIR)?" >&2; exit 3; }

WEB_SOURCES := $(shell find web/src web/public web/index.html web/vite.config.ts web/tsconfig.json -type f 2>/dev/null)
CODE := perenne actors cluster serve tests benchmarks

.PHONY: run stop test check bench chaos soak fuzz lock web models server dev transformers extras clean

# Start Perenne and keep it running until Ctrl-C.
run: server web
	@exec $(BIN)/perenne up

# End what `make run` or `perenne up --detach` started on this home.
stop:
	@[ -x $(BIN)/perenne ] && exec $(BIN)/perenne down || echo "nothing is set up here"

# All tests, cheapest first; PARTS="unit live" for some of them.
test: dev web models
	@$(BIN)/python .ci/parts $(PARTS)

# What must hold before any test: style, types, imports, the page.
check: dev build/npm.stamp
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check -q $(CODE)
	$(BIN)/pyright
	$(BIN)/lint-imports
	@. .ci/node && cd web && npm run --silent lint && npm run --silent typecheck && npm run --silent types:check

# Every published figure; BENCH="answers store" for some of them.
bench: dev web models
	@$(BIN)/python -m benchmarks $(BENCH)

# N rounds of every disaster, written to build/chaos.json.
chaos: dev web models
	@PERENNE_CHAOS_ROUNDS=$(N) PERENNE_PROFILE=tiny PERENNE_MODELS=$(PERENNE_MODELS_FOR_TESTS) $(PYTEST) tests/chaos --timeout=600

# S seconds of mixed load and random faults, drawn from SEED, written to build/soak.json; prints the page of figures (docs/soak.md).
S ?= 600
soak: dev web models
	@PERENNE_PROFILE=tiny PERENNE_MODELS=$(PERENNE_MODELS_FOR_TESTS) $(BIN)/python -W ignore -m tests.soak --seconds $(S) --seed $(SEED)

# The property tests, with many more examples than `make test` takes; then broken files of every format through the parsers,
# written to docs/fuzz.md. INPUTS of them, from SEED on.
INPUTS ?= 10000
SEED ?= 1
fuzz: dev
	@$(PYTEST) tests/unit --hypothesis-profile=fuzz --hypothesis-seed=random --timeout=1800 -m hypothesis
	@nice -n 10 $(BIN)/python -W ignore -m tests.fuzz.parsers --inputs $(INPUTS) --seed $(SEED) --report docs/fuzz.md

# Pin everything anew, with hashes, for every Python and platform that is supported.
lock: $(VENV)/.made
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(PIP) install uv
	@echo 'setuptools==80.9.0' > build/setuptools.in
	@for set in "requirements.lock --extra server" "requirements-dev.lock --extra server --extra dev" "requirements-node.lock --extra node"; do \
		set -- $$set; out=$$1; shift; \
		again=""; [ $$out = requirements.lock ] || again="--constraint requirements.lock"; \
		$(BIN)/python -m uv pip compile pyproject.toml build/setuptools.in $$@ $$again --universal --generate-hashes --quiet \
			--no-emit-index-url --no-annotate --no-header --python-version 3.11 --output-file $$out || exit 1; \
	done
	@$(BIN)/python -m uv pip compile pyproject.toml --extra transformers --constraint requirements-dev.lock $(NOT_TORCH) --universal \
		--generate-hashes --quiet --no-emit-index-url --no-annotate --no-header --python-version 3.11 \
		--output-file requirements-transformers.lock
	@$(BIN)/python -m uv pip compile tests/contract/langchain_own/requirements.in --universal --generate-hashes --quiet \
		--no-emit-index-url --no-annotate --no-header --python-version 3.11 --output-file tests/contract/langchain_own/requirements.lock

# torch comes by pip alone, without a hash: which build of the one version it is (for CPUs, for CUDA) is the machine's matter. The
# version that the registries carry brings packages of CUDA along, which are none of the lock's.
TORCH = $(shell sed -n 's/^transformers = \["\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)
NOT_TORCH := $(foreach package,torch triton $(addprefix cuda-,bindings pathfinder toolkit) $(addprefix nvidia-,cublas cuda-cupti \
	cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx), \
	--no-emit-package $(package))

# Set-up. A stamp is newer than what it was made from.

server: $(VENV)/.server
dev: $(VENV)/.dev build/node-client.stamp build/langchain.stamp
web: build/web.stamp

models: dev
	@PERENNE_PROFILE=tiny PERENNE_MODELS=$(PERENNE_MODELS_FOR_TESTS) $(BIN)/perenne models pull

# The engines over transformers (docs/models.md), beside all else.
transformers: $(VENV)/.transformers

# What the part `extras` of the tests needs.
extras: build/transformers.stamp
	@PERENNE_PROFILE=tiny PERENNE_MODELS=$(PERENNE_MODELS_FOR_TESTS) $(BIN)/perenne models pull all-minilm-l6-v2

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed and $(PYTHON) is not one: sudo apt install python3, or make PYTHON=python3.12"; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "python3-venv is missing: sudo apt install python3-venv"; exit 3; }
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p build
	@touch $@

$(VENV)/.server: $(VENV)/.made requirements.lock pyproject.toml
	@echo "installing what requirements.lock pins"
	@$(PIP) install --require-hashes --no-deps -r requirements.lock || $(NOT_INSTALLED)
	@$(PIP) install --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

# Messages that Outlook itself saved: a package carries some among its tests. It is unpacked, never installed.
OUTLOOK := tests/contract/outlook_own/requirements.txt

$(VENV)/.dev: $(VENV)/.server requirements-dev.lock $(OUTLOOK)
	@echo "installing what the tests need"
	@$(PIP) install --require-hashes --no-deps -r requirements-dev.lock || $(NOT_INSTALLED)
	@$(PIP) download --no-binary :all: --no-deps --require-hashes -d build/outlook-sdist -r $(OUTLOOK) || $(NOT_INSTALLED)
	@$(PIP) download --no-binary openai --no-deps -d build/openai-sdist $$(sed -n 's/^\(openai==[^ ]*\).*/\1/p' requirements-dev.lock) || $(NOT_INSTALLED)
	@touch $@

# Node: the machine's when it is new enough, else a package in the environment (.ci/node decides).
$(VENV)/.node: $(VENV)/.made requirements-node.lock
	@. .ci/node || $(PIP) install --require-hashes --no-deps -r requirements-node.lock || $(NOT_INSTALLED)
	@touch $@

build/npm.stamp: $(VENV)/.node web/package-lock.json
	@echo "installing what the page is built with"
	@. .ci/node && cd web && npm ci --no-audit --no-fund --no-progress --loglevel=error >/dev/null || $(NOT_INSTALLED)
	@mkdir -p build && touch $@

# The npm client of OpenAI's, which the edge is tested with.
build/node-client.stamp: $(VENV)/.node tests/contract/node/package-lock.json
	@. .ci/node && cd tests/contract/node && npm ci --no-audit --no-fund --no-progress --loglevel=error >/dev/null || $(NOT_INSTALLED)
	@mkdir -p build && touch $@

# LangChain's tests, in an environment of their own: they hold back a package that is newer here.
LANGCHAIN := tests/contract/langchain_own
build/langchain.stamp: $(VENV)/.made $(LANGCHAIN)/requirements.lock
	@$(BIN)/python -m venv build/langchain
	@build/langchain/bin/python -m pip --disable-pip-version-check --no-input -q install --require-hashes --no-deps \
		-r $(LANGCHAIN)/requirements.lock || $(NOT_INSTALLED)
	@touch $@

# The extra `transformers`: for an instance, in its environment; for the tests, in one of their own that sees the first one's
# packages, so that everything else is tested without torch.
EXTRA = install --require-hashes --no-deps -r requirements-transformers.lock
$(VENV)/.transformers: $(VENV)/.server requirements-transformers.lock
	@echo "installing torch and transformers"
	@$(PIP) $(EXTRA) && $(PIP) install $(TORCH) || $(NOT_INSTALLED)
	@touch $@

SEES := import sysconfig; print(sysconfig.get_path("purelib"))
build/transformers.stamp: $(VENV)/.dev requirements-transformers.lock
	@echo "installing torch and transformers for the tests"
	@$(BIN)/python -m venv build/transformers
	@echo "import site; site.addsitedir('$$($(BIN)/python -c '$(SEES)')')" > $$(build/transformers/bin/python -c '$(SEES)')/perenne.pth
	@pip="build/transformers/bin/python -m pip --disable-pip-version-check --no-input -q"; \
		$$pip $(EXTRA) && $$pip install $(TORCH) || $(NOT_INSTALLED)
	@touch $@

build/web.stamp: build/npm.stamp $(WEB_SOURCES)
	@echo "building the page"
	@. .ci/node && cd web && npm run --silent build -- --logLevel warn
	@touch $@

clean:
	rm -rf build web/dist web/node_modules $(VENV)
