# Every target sets itself up: a virtual environment in .venv, made when pyproject.toml has changed, offline from then on.
# Needed on the machine: Python ≥ 3.11 with venv, git, make. Another Python: make test PYTHON=python3.13
# Tests run in two processes; in more: make test JOBS=8

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ENOUGH := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c '$(ENOUGH)' >/dev/null 2>&1 && { echo $$python; break; }; done)

JOBS ?= 2

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

# Decisions: no clock, no waiting, no input or output. What they decide is tested to the last branch.
DECISIONS := $(shell sed -e 's/\#.*//' .ci/decisions | tr -s ' \n' ',' | sed -e 's/^,//' -e 's/,$$//')

# What test-real needs of a Debian machine; without root or apt-get its tests say what they miss.
DEBIAN := bind9 dnsmasq-base iproute2 nftables

# What test-docker needs of one; it starts an engine of its own and pulls nothing.
ENGINE := docker.io docker-compose debootstrap iproute2 iptables

# Debian packages, where root and apt-get are to be had.
define debian
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(1) >/dev/null 2>&1; then \
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	policy=/usr/sbin/policy-rc.d; [ -e $$policy ] || { : nothing is to be started as a service; \
		printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; trap "rm -f $$policy" EXIT; }; \
	apt-get -qq update && apt-get -qq install --yes --no-install-recommends $(1) >/dev/null; fi
endef

# The scoreboard's proxies; Caddy comes from PyPI. What is missing is left out, and named.
PROXIES := haproxy nginx-light

.PHONY: help demo test test-threads test-docker test-real lint types bench scoreboard mutation clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

demo: .venv/demo.stamp ## the same load through plain httpx and through resilience, while servers fail
	$(BIN)/resilience demo

lint: .venv/dev.stamp ## style, and who may import whom
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/lint-imports --no-logo --no-cache --config pyproject.toml

types: .venv/dev.stamp ## mypy and pyright, both strict
	$(BIN)/python -m mypy --config-file pyproject.toml
	$(BIN)/python -m mypy --config-file pyproject.toml tests/typing
	$(BIN)/python -m pyright --project pyproject.toml

test: lint types ## lint, types, and every test that needs nothing but PyPI
	$(BIN)/python -m pytest -n $(JOBS) --ignore=tests/real --ignore=tests/docker --cov --cov-report=term --cov-fail-under=95
	@echo "Pure decisions, to the last branch:"
	$(BIN)/python -m coverage report --include="$(DECISIONS)" --skip-empty --fail-under=100

test-threads: .venv/dev.stamp ## 64 threads × 10,000 calls through each policy; takes half an hour
	CALLS_PER_THREAD=10000 $(BIN)/python -m pytest -n $(JOBS) tests/composition/test_*_in_threads.py --durations=0 --durations-min=1

test-real: .venv/dev.stamp ## against real DNS servers and network namespaces; as root, installs Debian packages
	@$(call debian,$(DEBIAN))
	@# What is judged against the clock gets a second chance on a shared machine, and the output says so.
	$(BIN)/python -m pytest tests/real \
		|| { echo "Second chance, for what failed:"; $(BIN)/python -m pytest tests/real --last-failed --last-failed-no-failures none; }

test-docker: .venv/dev.stamp ## Compose and Swarm, on a Docker engine of its own; as root, installs Debian packages
	@$(call debian,$(ENGINE))
	$(BIN)/python -m pytest tests/docker

bench: .venv/bench.stamp ## overhead per call and throughput, beside the peers; writes benchmarks/RESULTS.md
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/policies.py
	$(BIN)/python benchmarks/throughput.py

scoreboard: .venv/bench.stamp ## every alternative under the same load and the same faults; as root, installs Debian packages
	@$(call debian,$(PROXIES))
	$(BIN)/python -m benchmarks scoreboard $(if $(QUICK),--quick)

mutation: .venv/mutation.stamp ## change every decision in every way, and see that a test notices; tests/MUTATION.md lists the rest
	$(BIN)/python .ci/mutation.py --processes $(JOBS) $(MUTATION)

clean: ## forget the environment and what was made
	rm -rf .venv .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis out

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or later with venv is needed (on Debian also: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear .venv

.venv/demo.stamp: pyproject.toml | .venv/bin/python
	$(PIP) -e '.[cli,http2,lab,trio]'
	@touch $@

.venv/dev.stamp: pyproject.toml | .venv/bin/python
	$(PIP) 'pip>=25.1' # the first that knows dependency groups
	$(PIP) -e '.[cli,http2,lab,trio]' --group dev
	@touch $@ .venv/demo.stamp

.venv/bench.stamp: pyproject.toml | .venv/bin/python
	$(PIP) 'pip>=25.1'
	$(PIP) -e '.[cli,http2,lab,trio]' --group bench
	@touch $@

.venv/mutation.stamp: pyproject.toml | .venv/bin/python
	$(PIP) 'pip>=25.1'
	$(PIP) -e '.[cli,http2,lab,trio]' --group mutation
	@touch $@
