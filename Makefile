# `make demo` needs only Python 3.11 or newer. `make check` is what CI runs.
# .venv is the installation of a user: the wheel, [report] or [web], no torch. .venv-dev is for developers.
# PYTHON=... chooses another interpreter, PYTEST_ARGS=... what the tests run with.

ifndef PYTHON
PYTHON := $(shell for name in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo $$name && break; done)
endif
PYTEST_ARGS ?= -n auto
TORCH := $(shell grep '^torch==' constraints.txt)
SOURCES := $(shell find src -type f -not -name '*.pyc')
DEV := .venv-dev/bin

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo serve site test check format lint types layers tests coverage torture torture-full kills mutants fuzz bounds reports clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: .venv/.installed ## install mien as a user would, and analyze a clip with it
	.venv/bin/mien analyze examples/demo.mp4 --out demo-report --report --film
	@echo "Open $(CURDIR)/demo-report/timeline.html in a browser"

serve: .venv/.serving ## install the page as a user would, and open it
	.venv/bin/mien serve --open

site: .venv-dev/.installed ## the documents as a site, in site/
	$(DEV)/mkdocs build --quiet

test: .venv-dev/.installed ## the quick tests
	$(DEV)/python -m pytest $(PYTEST_ARGS) -m 'not slow'

check: lint types layers tests ## format, lint, types, layers, every test, every example in a docstring

lint: .venv-dev/.installed ## format and lint, nothing is changed
	$(DEV)/ruff format --check .
	$(DEV)/ruff check .

types: .venv-dev/.installed ## mypy --strict
	$(DEV)/mypy

layers: .venv-dev/.installed ## who may import whom
	$(DEV)/lint-imports

tests: .venv-dev/.installed ## every test, the slow ones too
	$(DEV)/python -m pytest $(PYTEST_ARGS)

coverage: .venv-dev/.installed ## every test, and which branches none of them takes
	$(DEV)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term

torture: .venv-dev/.installed ## hostile files, for an hour at most; goes on where it was stopped
	$(DEV)/python tests/torture.py .torture --minutes 55

torture-full: .venv-dev/.installed ## all ten thousand of them, however long it takes
	$(DEV)/python tests/torture.py .torture --minutes inf

kills: .venv-dev/.installed ## kill -9 at two hundred random moments; goes on where it was stopped
	$(DEV)/python tests/kills.py .kills --moments 200

fuzz: .fuzz/.installed ## a fuzzer guided by coverage on every parser; goes on where it was stopped
	$(DEV)/python tests/fuzz.py .fuzz --seconds 180

mutants: .venv-dev/.installed ## faults put in one at a time, which tests must notice; goes on where it was stopped
	$(DEV)/python tests/mutants.py .mutants

bounds: | python ## mien at the lowest and at the newest versions that it allows
	$(PYTHON) supply/bounds.py lowest build-bounds/lowest
	$(PYTHON) supply/bounds.py newest build-bounds/newest

reports: | python ## licences, parts and known vulnerabilities of a user's installation
	PYTHON=$(PYTHON) bash supply/reports.sh supply-reports

format: .venv-dev/.installed ## format the code and mend what ruff can
	$(DEV)/ruff check --fix .
	$(DEV)/ruff format .

clean: ## remove both environments and everything that was made
	rm -rf .venv .venv-dev demo-report site dist .coverage* .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache .torture .kills .mutants .fuzz build-bounds supply-reports

.venv/.installed: pyproject.toml constraints.txt $(SOURCES) | python
	test -x .venv/bin/pip || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt '.[report]'
	@touch $@

.venv/.serving: .venv/.installed
	.venv/bin/pip install --quiet --constraint constraints.txt '.[web]'
	@touch $@

.venv-dev/.installed: pyproject.toml constraints.txt | python
	test -x .venv-dev/bin/pip || $(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install --quiet $(TORCH)
	PIP_CONSTRAINT=constraints.txt .venv-dev/bin/pip install --quiet --editable '.[dev]'
	@touch $@

# Atheris stays outside of .venv-dev: it has wheels for Linux and for Python 3.11 to 3.13 alone.
.fuzz/.installed: .venv-dev/.installed
	$(DEV)/pip install --quiet --no-deps --only-binary :all: --target .fuzz/site atheris==3.0.0
	@touch $@

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "mien needs Python 3.11 or newer with venv: install it, or name it with PYTHON=..." >&2; exit 1; }
