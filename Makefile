# `make run` and `make test` are all a newcomer needs; both may be repeated at will.

# What the build links to. A C++ compiler's headers and pkg-config are there with most toolchains, not with all.
BUILD_PACKAGES := libcurl4-openssl-dev libre2-dev libsnappy-dev libssl-dev zlib1g-dev libhiredis-dev libsqlite3-dev \
  libpq-dev libsystemd-dev libstdc++-12-dev pkg-config
# Programs that suites run; without them those suites say that they are skipped.
TEST_PACKAGES := prometheus prometheus-alertmanager prometheus-node-exporter redis-server postgresql

JOBS ?= 2
PREFIX ?= /usr/local
SHARED ?= ../shared
LISTEN ?= 127.0.0.1:9470
DATA ?= data
CONFIG ?= vedette.yaml
# A release has a folder of its own: a static and a dynamic build in one folder would undo each other.
RELEASE := .build-release
BINARY := $(RELEASE)/release/vedette
# The release build of the tests.
MODEL := .build-model

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-tests build run test peers fuzz model lint bench microbench kill-test alert-kill-test rollback-kill-test isolation-test install deb test-systemd clean

help: ## Tell what there is
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: ## Install the Debian packages that the build needs and that are missing
	@command -v swift >/dev/null || { echo "swift is not in the PATH; install Swift 6.2 or newer: https://www.swift.org/install/linux/" >&2; exit 1; }
	@scripts/install-packages $(BUILD_PACKAGES)

setup-tests: setup
	@scripts/install-packages --optional $(TEST_PACKAGES)

build: setup ## Build the release binary, .build-release/release/vedette
	swift build -c release --static-swift-stdlib --scratch-path $(RELEASE) -j $(JOBS) --product vedette

run: build ## Build and start Vedette on 127.0.0.1:9470 with vedette.yaml
	exec $(BINARY) run --config $(CONFIG) --data-dir $(DATA) --listen $(LISTEN)

test: setup-tests ## Run every test
	swift test -j $(JOBS) --disable-xctest

peers: setup ## Run the suites over other projects' test data and print their sums
	@[ -n "$${VEDETTE_PEERS:-}" ] || [ -d $(SHARED)/peers ] || echo "peers: skipped: there is no $(SHARED)/peers, and VEDETTE_PEERS is not set"
	@swift test -j $(JOBS) --disable-xctest --filter '[Pp]eer' | grep -vE '^(◇|↳|✔ (Test|Suite) [^r])|^\[[0-9]+/[0-9]+\]|^Test Suite '

kill-test: build ## Kill the daemon at random moments while alerts fire; no page may be missing (KILLS=30 SEED=n)
	scripts/kill-test --binary $(BINARY) --kills $(or $(KILLS),30) $(if $(SEED),--seed $(SEED))

alert-kill-test: build ## Kill the daemon while alerts and silences are posted; nothing acknowledged may be lost
	scripts/alert-kill-test --binary $(BINARY) --kills $(or $(KILLS),40) $(if $(SEED),--seed $(SEED))

rollback-kill-test: build ## Kill the daemon at each journal write of a rollback; nothing may be done twice
	scripts/rollback-kill-test --binary $(BINARY)

isolation-test: build ## Measure pages and rollbacks while the workloads spin, hang and are killed
	scripts/isolation-test --binary $(BINARY)

fuzz: setup ## Break pages of metrics, queries and templates at random, each for about a minute (FUZZ=60 SEED=1)
	VEDETTE_FUZZ_SECONDS=$(or $(FUZZ),60) VEDETTE_FUZZ_SEED=$(or $(SEED),1) VEDETTE_FUZZ=$$(($(or $(FUZZ),60) / 2)) \
	  swift test -j $(JOBS) --disable-xctest --filter Fuzz

model: setup ## Play random lives of the delivery of alerts against a small model, in release (SEEDS=10000 SEED=0)
	swift build -c release --build-tests -Xswiftc -enable-testing --scratch-path $(MODEL) -j $(JOBS)
	@begin=$$SECONDS; \
	if VEDETTE_SEEDS=$(or $(SEEDS),10000) VEDETTE_SEED=$(or $(SEED),0) $(MODEL)/release/vedettePackageTests.xctest \
	  --testing-library swift-testing --filter DeliveryModelTests > $(MODEL)/model.log 2>&1; \
	then echo "model: $(or $(SEEDS),10000) seeds from $(or $(SEED),0) on in $$((SECONDS - begin)) s, no finding"; \
	else grep -E 'findings →|^↳ seed' $(MODEL)/model.log | cut -c1-1000; \
	  echo "model: findings in $(MODEL)/model.log; VEDETTE_TRACE=1 make model SEEDS=1 SEED=n prints one life there" >&2; exit 1; fi

lint: setup-tests ## Check format, rules and scripts
	swift format lint --strict --recursive Sources Tests Package.swift
	@for script in .ci/run scripts/*; do case "$$(head -n 1 $$script)" in \
	  *python3) python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' $$script;; \
	  *) bash -n $$script;; esac; done
	@diff <(scripts/demo-rules) rules/demo.yml || { echo "rules/demo.yml is not what scripts/demo-rules prints; run: scripts/demo-rules > rules/demo.yml" >&2; exit 1; }
	@if command -v promtool >/dev/null; then \
	  promtool check rules $(filter-out rules/drift.yml,$(wildcard rules/*.yml)) && promtool test rules rules/tests/*.test.yml; \
	else echo "lint: rules not checked: promtool is not installed (Debian package prometheus)"; fi

bench: ## Measure Vedette beside Prometheus and Alertmanager, where ../shared/bench is (ONLY=query,… QUICK=1)
	@if [ -d $(SHARED)/bench ]; then $(MAKE) build bench-run; \
	else echo "bench: skipped: there is no $(SHARED)/bench beside this repository"; fi

.PHONY: bench-run
bench-run:
	VEDETTE_BENCH=$(abspath $(SHARED))/bench scripts/bench --binary $(abspath $(BINARY)) $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

microbench: setup ## Measure the inner loops: nanoseconds per sample and step, allocations
	swift build -c release -Xswiftc -enable-testing --scratch-path $(MODEL) -j $(JOBS) --product microbench
	@$(MODEL)/release/microbench

install: ## Install the release binary, its units, rules, runbooks and dashboards below PREFIX (/usr/local), also DESTDIR
	@[ -x $(BINARY) ] || { echo "$(BINARY) is not there; run: make build" >&2; exit 1; }
	install -D -m 0755 -s $(BINARY) $(DESTDIR)$(PREFIX)/bin/vedette
	install -d $(DESTDIR)$(PREFIX)/share/vedette/{rules,runbooks,dashboards,examples} $(DESTDIR)$(PREFIX)/share/doc/vedette
	install -m 0644 vedette.yaml packaging/vedette.rules $(DESTDIR)$(PREFIX)/share/vedette/
	install -m 0644 rules/*.yml $(DESTDIR)$(PREFIX)/share/vedette/rules/
	install -m 0644 runbooks/*.md $(DESTDIR)$(PREFIX)/share/vedette/runbooks/
	install -m 0644 examples/*.yaml $(DESTDIR)$(PREFIX)/share/vedette/examples/
	install -m 0644 dashboards/*.json $(DESTDIR)$(PREFIX)/share/vedette/dashboards/
	install -m 0644 README.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/vedette/
	install -d $(DESTDIR)$(PREFIX)/lib/{systemd/system,systemd/catalog,sysusers.d,tmpfiles.d}
	for unit in service socket; do sed 's|/usr/bin/vedette|$(PREFIX)/bin/vedette|' packaging/vedette.$$unit \
	  > $(DESTDIR)$(PREFIX)/lib/systemd/system/vedette.$$unit; chmod 0644 $(DESTDIR)$(PREFIX)/lib/systemd/system/vedette.$$unit; done
	install -m 0644 packaging/vedette.catalog $(DESTDIR)$(PREFIX)/lib/systemd/catalog/vedette.catalog
	install -m 0644 packaging/vedette.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/vedette.conf
	install -m 0644 packaging/vedette.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/vedette.conf

deb: build ## Build a Debian package, .build-release/vedette_VERSION_ARCHITECTURE.deb
	scripts/make-deb $(BINARY) $(RELEASE)

test-systemd: deb ## Install the package in a container booted by systemd-nspawn and try everything there (as root)
	scripts/systemd-test $(RELEASE)/vedette_*.deb

clean: ## Remove what was built; data/ stays
	rm -rf .build $(RELEASE) $(MODEL)
