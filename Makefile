# Every target makes its own environment in .venv, so a fresh clone needs only Python and make.

PYTHON ?= python3
STUDY ?= nominal
REQUIREMENTS ?= -r requirements.lock
# one more than the processors of a small machine, as many tests wait for a process or a link
WORKERS ?= 3

# hundreds of processes start in a check, and each would compile the package anew
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help book pdf report test quick coverage lint types check dist release bench lock clean

# one thread each, as the workers share the processors already
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --benchmark-disable
QUICK := tests/unit tests/properties --ignore=tests/unit/training --without-torch -m 'not slow' \
         --hypothesis-profile=quick

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: $(READY) ## Run every notebook and build the book; STUDY=my-study.yml builds a study's own
	$(BIN)/card book $(STUDY)

pdf: $(READY) ## Print the book on one PDF, with Chromium; STUDY=my-study.yml as above
	$(BIN)/card pdf $(STUDY)

report: $(READY) ## Write the report, a paper of four pages, from what `make book` built
	$(BIN)/card report

test: $(READY) ## Run the tests; those of the book need `make book`, `make pdf` and `make report` first
	$(PYTEST) --ignore=tests/bench --durations=15 -m 'not alone'
	$(PYTEST) -n 0 tests/runtime -m alone

quick: lint types ## Style, types and the tests that need no torch, browser or patience
	$(PYTEST) $(QUICK)

coverage: $(READY) ## Say which lines of the package the tests of `make quick` never run
	$(PYTEST) $(QUICK) --cov=card --cov-report=term-missing:skip-covered

lint: $(READY) ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## Check the package's types
	$(BIN)/mypy --strict card

check: lint types book test ## Everything that must hold before a change lands

dist: $(READY) ## Build the wheel and the source archive; TAG, if given, must be that of the version
	rm -rf dist
	test -z "$(TAG)" || test "$(TAG)" = "v$$($(BIN)/python -m hatchling version)"
	$(BIN)/python -m hatchling build

release: dist book pdf report ## Build all that is published, with digests, into dist; TAG as above
	$(BIN)/python -m card.book.release

bench: $(READY) ## Time the package
	$(BIN)/python -m pytest tests/bench --benchmark-only

lock: ## Resolve pyproject.toml anew into requirements.lock
	rm -rf _build/lock
	$(PYTHON) -m venv _build/lock
	_build/lock/bin/python -m pip install --quiet '.[book,export,lab,metrics,search,sweep,test]'
	_build/lock/bin/python -m pip freeze --exclude card-split-learning > _build/lock/frozen
	{ echo '# Every dependency of `.[book,export,lab,metrics,search,sweep,test]`, pinned by `make lock`'; \
	  sed -E -e '/^(cuda-|nvidia-|triton=)/d' -e 's/\+.*//' _build/lock/frozen; } > requirements.lock
	rm -rf _build/lock

clean: ## Remove what was built; .venv stays
	rm -rf _build dist .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=...")'
	@echo 'Installing into .venv; the first time takes some minutes'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile $(REQUIREMENTS)
	# on every processor, which pip does not; files for another Python than this one fail, and what
	# few import is left for them
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/|/transformers/models/' .venv/lib || true
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@
