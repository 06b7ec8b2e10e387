# Everything here works in a fresh clone on Debian or Ubuntu with git, make and a Rust toolchain.
# `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# One set of flags for every build: another set would compile RocksDB a second time.
CARGO_FLAGS := --workspace --locked
TARGET_DIR  := $(or $(CARGO_TARGET_DIR),target)

# What `conclave dev` is started with, for example: make dev ARGS='--listen 0.0.0.0:9229'
ARGS ?=

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: dev
dev: deps-build ## build and run Conclave with everything embedded; ARGS= for its options
	cargo build $(CARGO_FLAGS)
	$(TARGET_DIR)/debug/conclave dev $(ARGS)

.PHONY: test
test: ## pass all tests: Rust, then real clients against the built binary
	@.ci/test

.PHONY: check
check: ## the quick gate: format, clippy, tidy, licences
	@.ci/check

.PHONY: build
build: deps-build ## build the binary: target/debug/conclave
	cargo build $(CARGO_FLAGS)

.PHONY: test-rust
test-rust: deps-build ## the Rust tests only
	cargo test $(CARGO_FLAGS) --no-fail-fast

.PHONY: test-e2e
test-e2e: deps build ## the end-to-end tests only; PYTEST= for options, for example PYTEST='-k refresh'
	cd tests/e2e && CONCLAVE_BIN=$(abspath $(TARGET_DIR))/debug/conclave ../../.venv/bin/python -m pytest $(PYTEST)

.PHONY: test-deploy
test-deploy: deps build ## the chart, the unit, alerts, dashboards and runbooks only; PYTEST= for options
	cd tests/deploy && CONCLAVE_BIN=$(abspath $(TARGET_DIR))/debug/conclave ../../.venv/bin/python -m pytest $(PYTEST)

.PHONY: test-rust-sdk
test-rust-sdk: deps build ## the AWS SDK for Rust against the binary; not part of `make test`, it builds hundreds of crates
	cd tests/e2e && CONCLAVE_BIN=$(abspath $(TARGET_DIR))/debug/conclave \
	  ../../.venv/bin/python -m harness.run cargo test --locked --manifest-path ../rust-sdk/Cargo.toml \
	  --target-dir $(abspath $(TARGET_DIR))

.PHONY: bench
bench: deps-build ## measure an optimised build beside the machine's limits; BENCH= for options, for example BENCH='--seconds 30'
	cargo build $(CARGO_FLAGS) --release
	$(TARGET_DIR)/release/conclave-bench --conclave $(TARGET_DIR)/release/conclave \
	  --dir $(TARGET_DIR) --json $(TARGET_DIR)/bench.json $(BENCH)

.PHONY: bench-import
bench-import: deps-build ## measure a pool of a million users, made by import, beside a small one; BENCH='--users 20000' for fewer
	cargo build $(CARGO_FLAGS) --release
	$(TARGET_DIR)/release/conclave-bench import --conclave $(TARGET_DIR)/release/conclave \
	  --dir $(TARGET_DIR) --json $(TARGET_DIR)/bench-import.json $(BENCH)

.PHONY: bench-flows
bench-flows: deps-build ## measure each way to sign in beside what it is made of; BENCH= for options
	cargo build $(CARGO_FLAGS) --release
	$(TARGET_DIR)/release/conclave-bench flows --conclave $(TARGET_DIR)/release/conclave \
	  --dir $(TARGET_DIR) --json $(TARGET_DIR)/bench-flows.json $(BENCH)

.PHONY: bench-smoke
bench-smoke: build ## the same in two minutes with the unoptimised build: shows that it works, not how fast
	$(TARGET_DIR)/debug/conclave-bench --quick --conclave $(TARGET_DIR)/debug/conclave --dir $(TARGET_DIR) $(BENCH)

# What the schedule of faults is made from, how long faults begin, and other options of conclave-chaos run.
SEED    ?= 1
MINUTES ?= 10
CHAOS   ?=

.PHONY: chaos
chaos: build ## hurt a cluster at random and judge what its clients saw; SEED= MINUTES= CHAOS='--only F01,F05'
	$(TARGET_DIR)/debug/conclave-chaos run --seed $(SEED) --minutes $(MINUTES) \
	  --conclave $(TARGET_DIR)/debug/conclave --json $(TARGET_DIR)/chaos.json $(CHAOS)

.PHONY: chaos-smoke
chaos-smoke: build ## the same in at most five minutes; part of `make test`
	$(TARGET_DIR)/debug/conclave-chaos smoke --seed $(SEED) \
	  --conclave $(TARGET_DIR)/debug/conclave --json $(TARGET_DIR)/chaos-smoke.json $(CHAOS)

# The version that a cluster comes from: a commit, a tag or a branch. And how often it goes there and back.
PREVIOUS ?= HEAD~1
ROUNDS   ?= 4

.PHONY: chaos-upgrade
chaos-upgrade: build ## restart a cluster under load node by node, from PREVIOUS= (a commit) to this version and back; SEED= ROUNDS=
	previous=$$(.ci/previous $(PREVIOUS) $(TARGET_DIR)) && \
	$(TARGET_DIR)/debug/conclave-chaos run --seed $(SEED) --only F26 --rounds $(ROUNDS) --minutes 60 --previous $$previous \
	  --conclave $(TARGET_DIR)/debug/conclave --json $(TARGET_DIR)/chaos-upgrade.json $(CHAOS)

# Users of the group that a new follower catches up with.
USERS ?= 20000

.PHONY: catch-up
catch-up: build ## how a new follower of a group with USERS= users catches up while sign-ins go on
	$(TARGET_DIR)/debug/conclave-chaos catch-up --users $(USERS) --seed $(SEED) \
	  --conclave $(TARGET_DIR)/debug/conclave --json $(TARGET_DIR)/catch-up.json $(CHAOS)

.PHONY: chaos-long
chaos-long: build ## the same until a million operations are done, at most 20 minutes
	$(TARGET_DIR)/debug/conclave-chaos long --operations 1000000 --seed $(SEED) \
	  --conclave $(TARGET_DIR)/debug/conclave --json $(TARGET_DIR)/chaos-long.json $(CHAOS)

.PHONY: test-seeded
test-seeded: deps build ## show that the tests catch bugs put in on purpose, BUGS=M3,M7 for some; not part of `make test`, it builds the workspace once more
	cd tests/e2e && CONCLAVE_BIN=$(abspath $(TARGET_DIR))/debug/conclave ../../.venv/bin/python seeded_bugs.py "$(BUGS)"

.PHONY: test-failpoints
test-failpoints: deps ## crash real processes at every fault point, POINT_ROUNDS= times (1) at each; not part of `make test`, it builds the workspace once more
	cargo build $(CARGO_FLAGS) --features conclave/failpoints
	mkdir -p .conclave/failpoints && cp $(TARGET_DIR)/debug/conclave .conclave/failpoints/conclave
	cargo build $(CARGO_FLAGS)
	cd tests/e2e && CONCLAVE_POINT_ROUNDS=$(or $(POINT_ROUNDS),1) CONCLAVE_FAILPOINTS_BIN=$(CURDIR)/.conclave/failpoints/conclave \
	  CONCLAVE_BIN=$(CURDIR)/.conclave/failpoints/conclave ../../.venv/bin/python -m pytest test_failpoints.py test_two_steps.py test_move_a_pool.py \
	  test_feature_levels.py test_signing_keys.py::test_an_order_stands_when_the_node_that_took_it_dies_before_it_could_tell -rPs $(PYTEST)

.PHONY: format-sample
format-sample: deps build ## keep data that this version has written for tests of later ones; VERSION=1.2.0, when it is released
	cd tests/e2e && CONCLAVE_BIN=$(abspath $(TARGET_DIR))/debug/conclave ../../.venv/bin/python -m harness.format_sample $(VERSION)

.PHONY: fmt
fmt: ## format the Rust code
	cargo fmt --all
	cargo fmt --manifest-path tests/rust-sdk/Cargo.toml

.PHONY: deps
deps: ## install what is missing: system packages, .venv, node modules
	@.ci/deps build
	@.ci/deps test

.PHONY: deps-build
deps-build:
	@.ci/deps build

.PHONY: clean
clean: ## remove the data of `make dev`, the virtual environment and the node modules; keeps the build
	rm -rf .conclave .venv tests/e2e/node/node_modules
