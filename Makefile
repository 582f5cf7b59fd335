# Plimsoll: `make` alone prints what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# rustup's directory is not on root's path everywhere.
CARGO ?= $(or $(shell command -v cargo),$(HOME)/.cargo/bin/cargo)
# Namespaces and apt-get need root; everything else is done as the user who typed `make`.
SUDO := $(if $(filter 0,$(shell id -u)),,$(shell command -v sudo))
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
RELEASE := $(TARGET)/release

# What rustc builds for, and the same as cargo has it in names of variables.
HOST = $(shell rustc -vV | sed -n 's/host: //p')
HOST_TRIPLE = $(shell echo $(HOST) | tr a-z- A-Z_)

# The variables of `make demo`.
KEEP ?=
METHOD ?=
REQUESTS ?= 300
WRK ?= 0
# The variables of `make bench`.
QUICK ?=
ONLY ?=
ROUNDS ?=
PUBLISH ?=
OUTPUT ?= pktgen-tests/results
# The variables of `make fuzz`.
SECONDS ?= 60

BUILD_PACKAGES := libdpdk-dev libclang-dev clang pkg-config gcc libc6-dev
# The drivers that DPDK loads when it starts: they are not linked, so nothing else asks for them.
DRIVER_PACKAGES := librte-mempool-ring23 librte-bus-pci23 librte-bus-vdev23 librte-net-af-packet23 \
	librte-net-null23 librte-net-pcap23 librte-net-ring23 librte-net-tap23 librte-net-vhost23 librte-net-virtio23
BENCH_PACKAGES := dpdk-dev
# It finds out which libraries a program needs.
DEB_PACKAGES := dpkg-dev
# What `plimsoll` and its man pages say of themselves, for the package.
DEB_FILES := $(RELEASE)/package
# The runner must have the version of the library `gungraun`, which locks it.
GUNGRAUN = $(shell sed -n '/^name = "gungraun-runner"$$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
GUNGRAUN_ROOT = $(TARGET)/gungraun-$(GUNGRAUN)
# Programs of cargo's that rustup does not have, in the versions that were tried.
TOOLS := $(TARGET)/tools
CARGO_FUZZ := 0.13.2
CARGO_DENY := 0.20.2
CARGO_DEB := 3.8.0
FUZZ_TARGETS := $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
# What a fuzzer may use: a target that needs more has a fault. 20 s are a thousand times what an input takes.
FUZZ_LIMITS := -max_len=4096 -timeout=20 -rss_limit_mb=2048
TEST_PACKAGES := iproute2 ethtool nginx-light curl wrk iputils-ping procps tcpdump nftables

.PHONY: help
help: ## Print this
	@echo "Plimsoll, a layer-4 load balancer on DPDK"
	@echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 28

.PHONY: deps
deps: ## Install the Debian packages that are missing, by name
	@$(SUDO) pktgen-tests/install-packages.sh $(BUILD_PACKAGES) $(DRIVER_PACKAGES) $(TEST_PACKAGES)
	@$(CARGO) --version >/dev/null 2>&1 || { echo "cargo is missing: see https://rustup.rs" >&2; exit 1; }

.PHONY: build
build: deps ## Build plimsolld, plimsoll, the demo, the traffic generator and the benchmark, optimised
	@$(CARGO) build --release -p plimsoll-control --features dpdk --bin plimsolld --bin plimsoll
	@$(CARGO) build --release -p plimsoll-pktgen-tests --features dpdk --bins

.PHONY: demo
demo: build ## DR, NAT and tunnel with real requests (KEEP=1 METHOD=dr REQUESTS=300 WRK=10000)
	@$(SUDO) $(RELEASE)/plimsoll-demo --requests $(REQUESTS) --wrk $(WRK) $(if $(METHOD),--method $(METHOD)) \
		$(if $(filter-out 0,$(KEEP)),--keep)

.PHONY: demo-clean
demo-clean: ## Remove what demos and tests that were killed have left: namespaces, processes, files
	@$(CARGO) build --quiet --release -p plimsoll-pktgen-tests --features dpdk --bin plimsoll-demo
	@$(SUDO) $(RELEASE)/plimsoll-demo --clean

.PHONY: test
test: deps lint unit e2e deb-test ## Everything that every commit must pass: lint, unit and end-to-end tests, the package

.PHONY: test-long
test-long: asan fuzz ## What takes longer or needs nightly: AddressSanitizer, every fuzzer for SECONDS

.PHONY: lint
lint: deps cargo-deny ## rustfmt, clippy and rustdoc, warnings denied; import circles; licences and sources of all crates
	@for tool in fmt clippy; do \
		$(CARGO) $$tool --version >/dev/null 2>&1 || rustup component add $${tool/fmt/rustfmt}; \
	done
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	$(CARGO) run --quiet -p plimsoll-lint
	@! command -v systemd-analyze >/dev/null || \
		systemd-analyze security --offline=true --no-pager --threshold=30 conf/plimsolld.service | tail -n 1
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny check licenses sources bans

# What is allowed is in `deny.toml`. Unoptimised it is built in a third of the time, and reads the tree within seconds.
.PHONY: cargo-deny
cargo-deny:
	@[[ -x $(TOOLS)/bin/cargo-deny ]] || \
		$(CARGO) install --quiet --locked --debug --root $(TOOLS) cargo-deny --version $(CARGO_DENY)

.PHONY: advisories
advisories: cargo-deny ## Known faults of the crates, from RustSec's database: needs the network, so no other target does it
	PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny check advisories

.PHONY: unit
unit: deps ## Tests that need no root
	$(CARGO) test --workspace --all-features --exclude plimsoll-pktgen-tests
	$(CARGO) test -p plimsoll-pktgen-tests --lib --bins --test recordings
	$(CARGO) test -p plimsoll-pktgen-tests --doc

# rustup's, which fuzzers and sanitizers need: these are not stable.
.PHONY: nightly
nightly:
	@rustup toolchain list 2>/dev/null | grep -q ^nightly || { \
		echo "This needs Rust's nightly: rustup toolchain install nightly --profile minimal" >&2; exit 1; }

# Frames in ordinary memory of DPDK's are not the sanitizer's; what Rust has of them is. EAL frees nothing when it ends.
.PHONY: asan
asan: deps nightly ## The crate with the unsafe code under AddressSanitizer, with nightly; needs root
	ASAN_OPTIONS=detect_leaks=0 RUSTFLAGS=-Zsanitizer=address \
	$(if $(SUDO),CARGO_TARGET_$(HOST_TRIPLE)_RUNNER="sudo -E") \
	$(CARGO) +nightly test -p plimsoll-dpdk --target $(HOST) --target-dir $(TARGET)/asan \
		--lib --test null --test memory --test pcap --test ring

.PHONY: fuzz
fuzz: nightly ## Fuzz each target for so long, with nightly (SECONDS=60 ONLY="parse config")
	@[[ -x $(TOOLS)/bin/cargo-fuzz ]] || \
		$(CARGO) install --quiet --locked --root $(TOOLS) cargo-fuzz --version $(CARGO_FUZZ)
	@export PATH="$(TOOLS)/bin:$$PATH"; \
	$(CARGO) +nightly fuzz build --target-dir $(TARGET)/fuzz; \
	for target in $(or $(ONLY),$(FUZZ_TARGETS)); do \
		mkdir -p $(TARGET)/fuzz/corpus/$$target; \
		$(CARGO) +nightly fuzz run --target-dir $(TARGET)/fuzz $$target $(TARGET)/fuzz/corpus/$$target \
			fuzz/corpus/$$target -- -max_total_time=$(SECONDS) $(FUZZ_LIMITS); \
	done

.PHONY: conformance
conformance: ## Replay the recordings of LVS; needs no root and no DPDK
	@$(CARGO) run --quiet -p plimsoll-pktgen-tests --bin replay -- pktgen-tests/recordings

# Namespaces and two workers that poll do not get faster side by side: one test at a time.
.PHONY: e2e
e2e: build ## Tests in network namespaces with nginx, curl and wrk; they need root
	PLIMSOLL_BIN_DIR=$(RELEASE) \
	$(if $(SUDO),CARGO_TARGET_$(HOST_TRIPLE)_RUNNER="sudo -E") \
	$(CARGO) test -p plimsoll-pktgen-tests --features dpdk --no-fail-fast --test '*' -- --test-threads=1

.PHONY: bench
bench: build ## Speed beside testpmd in one run, every frame checked (QUICK=1 ONLY="a d" ROUNDS=11 OUTPUT=DIR PUBLISH=1)
	@$(SUDO) pktgen-tests/install-packages.sh $(BENCH_PACKAGES)
	@$(SUDO) pktgen-tests/with-hugepages.sh 448 $(RELEASE)/plimsoll-bench --output $(OUTPUT) \
		$(if $(filter-out 0,$(QUICK)),--quick) $(if $(filter-out 0,$(PUBLISH)),--publish .) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ONLY:%=--only %)

.PHONY: bench-instructions
bench-instructions: ## Instructions of each stage of the packet path, by Valgrind, beside those of the run before
	@$(SUDO) pktgen-tests/install-packages.sh valgrind
	@[[ -x $(GUNGRAUN_ROOT)/bin/gungraun-runner ]] || \
		$(CARGO) install --quiet --locked --root $(GUNGRAUN_ROOT) gungraun-runner --version $(GUNGRAUN)
	@GUNGRAUN_RUNNER=$(GUNGRAUN_ROOT)/bin/gungraun-runner $(CARGO) bench -p plimsoll-dataplane --bench stages

.PHONY: docker
docker: ## Build the container image with docker, or else as root with buildah and debootstrap
	@pktgen-tests/docker-build.sh

# cargo-deb builds nothing: the programs are those of `make build`, and the rest is written by them.
.PHONY: deb
deb: deps cargo-deb ## Build the Debian package, below the target directory: debian/plimsoll_VERSION_ARCHITECTURE.deb
	@$(SUDO) pktgen-tests/install-packages.sh $(DEB_PACKAGES)
	@$(CARGO) build --release -p plimsoll-control --features dpdk --bin plimsolld --bin plimsoll
	@rm -rf $(DEB_FILES) && mkdir -p $(DEB_FILES)
	@$(CARGO) run --quiet -p plimsoll-control --all-features --example manuals -- $(DEB_FILES)/man
	@gzip -9n $(DEB_FILES)/man/*
	@for shell in bash zsh fish; do \
		$(RELEASE)/plimsoll completion $$shell >$(DEB_FILES)/plimsoll.$$shell; \
	done
	@$(RELEASE)/plimsoll schema >$(DEB_FILES)/schema.json
	@PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deb --quiet --locked --no-build --dbgsym -p plimsoll-control

.PHONY: cargo-deb
cargo-deb:
	@[[ -x $(TOOLS)/bin/cargo-deb ]] || \
		$(CARGO) install --quiet --locked --debug --root $(TOOLS) cargo-deb --version $(CARGO_DEB)

.PHONY: deb-test
deb-test: deb ## Install, upgrade and purge the package in a Debian 12 of its own, made by debootstrap; needs root
	@$(SUDO) pktgen-tests/install-packages.sh debootstrap
	@mkdir -p $(TARGET)/deb-test
	@$(if $(SUDO),$(SUDO) -E) pktgen-tests/deb-test.sh $(TARGET)

.PHONY: clean
clean: ## Remove what was built
	@$(CARGO) clean
