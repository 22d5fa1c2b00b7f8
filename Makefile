# Each target does its own set-up: `make run` and `make test` work on a fresh machine that has a
# Rust toolchain, Node.js with npm, a C compiler and make. `make` alone lists the targets: a line `##@` begins
# a group, and what stands behind `##` says what a target is for.
.DEFAULT_GOAL := help
.PHONY: help run test test-crates test-end-to-end build dist dist-test deb release compat check lint-packaging bench table month \
  estimates ship vardiff hostile storm crash soak year proxy proxied servers sim coverage fuzz conformance dashboards pages \
  instructions site installer clean
# Stages of a test share target/ and the processors.
.NOTPARALLEL:

NODE_MODULES := node_modules/.package-lock.json
# More than there are cores: most tests wait for a database, a node or a disk.
TEST_THREADS := 6
# Milliseconds of one file; the longest, server_payouts, takes 150 s. A failed test may leave
# something open: the exit is forced.
NODE_TEST := node --test --test-force-exit --test-timeout=900000
# What takes minutes first, so that nothing of it runs alone at the end.
LONG := $(foreach suite,docs server_payouts year upgrade install,plugin/test/$(suite).test.js)
E2E := $(LONG) $(filter-out $(LONG),$(wildcard plugin/test/*.test.js))
# The suites about miners' connections.
PROXIED := $(foreach suite,wire rpc found_blocks first_template durability,plugin/test/$(suite).test.js)

help:
	@echo 'make TARGET [NAME=VALUE ...]; each target does its own set-up'
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use

# NETWORK, ADDRESS and ARGS: scripts/run.sh.
run: build ## a node with the plugin, and on regtest a miner
	@NETWORK='$(NETWORK)' ADDRESS='$(ADDRESS)' ARGS='$(ARGS)' scripts/run.sh

build: $(NODE_MODULES) ## the addon, and in target/release hstratum and what lab and bench run
	cargo build --locked --release $(CARGO_FLAGS)
	cp target/release/libhstratum_addon.so plugin/hstratum.node.new
	mv plugin/hstratum.node.new plugin/hstratum.node

dist: build ## the npm packages for this machine's platform, into dist/
	node scripts/dist.js

deb: build ## a Debian package of the command, into dist/
	scripts/release/command_packages.sh dist

# PLATFORMS='linux-x64-gnu linux-arm64-gnu linux-x64-musl': docs/packaging.md.
release: ## everything of a release, into dist/, for old systems as well; as root
	scripts/release.sh $(PLATFORMS)

# The first time it compiles mdBook.
site: ## the documents as a site with search, into target/site
	scripts/site.sh

clean: ## removes what was built
	cargo clean
	rm -rf node_modules run dist plugin/hstratum.node

##@ Check

# Each stage alone is what it is within `test`: .github/workflows/test.yml runs them so.
STAGES := check test-crates test-end-to-end proxied

# Programs and tests are one build with assertions, hardly optimized: as the profile `dev` of Cargo.toml.
test $(STAGES): export CARGO_PROFILE_RELEASE_OPT_LEVEL := 1
test $(STAGES): export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS := true
test $(STAGES): export CARGO_PROFILE_RELEASE_LTO := off
test $(STAGES): export CARGO_PROFILE_RELEASE_CODEGEN_UNITS := 16
test $(STAGES): export CARGO_PROFILE_RELEASE_DEBUG := none
test $(STAGES): export CARGO_FLAGS := $(foreach shell,hstratum hstratum-cli hstratum-swarm,\
  --config profile.release.package.$(shell).opt-level=0)
test: $(STAGES) ## everything that says whether the tree is right

check: ## formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --release --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	find plugin lab bench scripts -name '*.js' -print0 | xargs -0 -n1 node --check

test-crates: build ## tests of core, server, addon and simulator
	scripts/postgres.sh
	cargo test --locked --release --workspace $(CARGO_FLAGS) -- --test-threads=$(TEST_THREADS)

test-end-to-end: build ## hsd with the plugin, the command, the pages in a browser
	scripts/postgres.sh
	scripts/chromium.sh
	$(NODE_TEST) --test-concurrency=3 $(E2E)

proxied: build ## end-to-end suites once more, with a proxy between the miners and each node
	scripts/postgres.sh
	HSTRATUM_TEST_PROXIED=1 $(NODE_TEST) --test-concurrency=2 $(PROXIED)

lint-packaging: ## workflows, compose files, alert rules and the StartOS package, by programs from PyPI and npm
	@scripts/lint_packaging.sh

# SUITES='bullseye trixie': lab/README.md.
installer: ## the installer of dist/ in fresh systems of Debian, as root
	lab/installer.sh $(SUITES)

# DIST_HSD=install has npm compile hsd.
dist-test: build ## installs the npm packages and hsd into an empty prefix, and mines a block
	DIST_HSD=install $(NODE_TEST) plugin/test/dist.test.js

# VERSIONS='6.1.1 7.0.0': other releases than the listed ones.
compat: build ## end-to-end tests with each supported hsd release
	node scripts/compat.js $(VERSIONS)

# EXAMPLES=100 SEED=7 MODES=private USERS='bob operator': lab/README.md. URL=http://127.0.0.1:3080: that one.
conformance: $(if $(URL),,build) ## the HTTP API against its OpenAPI document, as every kind of user
	@URL='$(URL)' EXAMPLES='$(EXAMPLES)' SEED='$(SEED)' MODES='$(MODES)' USERS='$(USERS)' scripts/conformance.sh

##@ Measure

bench: table ## how fast: the table, pure parts, the ledger, the way of a block to a peer
	cargo bench --locked -p hstratum-core --bench share --bench pool
	cargo bench --locked -p hstratum --bench store
	node bench/block.js

# RUNS=1 ROWS=shares,one for a quick look; AGAINST=HEAD~10: with another commit in turns: bench/README.md.
table: build ## hstratum against the limit server, in the same run
	RUNS='$(RUNS)' ROWS='$(ROWS)' AGAINST='$(AGAINST)' node bench/table.js

# Needs valgrind. UPDATE=1 writes bench/instructions.json anew, BENCH=pool counts that bench alone.
instructions: ## whether shares, jobs and logins take other instructions or allocations than before
	@UPDATE='$(UPDATE)' BENCH='$(BENCH)' node scripts/instructions.js

# SIGN_INS=100: so many wrong passwords a second beside them.
dashboards: build ## what fifty open dashboards cost miners
	node bench/dashboards.js --sign-ins '$(or $(SIGN_INS),0)'

# WORKERS=100000: of which 5,000 are of one account.
pages: build ## how long from a click on the dashboard to the page that follows
	scripts/chromium.sh
	node bench/pages.js --workers '$(or $(WORKERS),100000)'

month: ## how large the ledger becomes in a month of 10,000 workers
	cargo bench --locked -p hstratum --bench month

estimates: ## how long estimates of 100,000 accounts take with a year's ledger
	scripts/postgres.sh
	cargo bench --locked -p hstratum --bench estimates

# With a PostgreSQL of its own, or DATABASE=postgres://…, an empty one.
ship: ## what shipping to a shared ledger costs
	scripts/postgres.sh
	cargo bench --locked -p hstratum --bench ship

storm: ## how long until the last of 10,000 miners that come at once has work
	cargo bench --locked -p hstratum --bench storm

vardiff: ## how fast miners of every size get a fitting difficulty, and how steady it is
	cargo test --locked -p hstratum-core --test it vardiff -- --nocapture

##@ Trouble

# SEEDS=200 HOURS=1; SEED=7 TRACE=1: one seed with its trace; PROXY=1: a proxy before several servers;
# PLANTS=1: whether planted bugs are found.
sim: ## the whole server on a simulated clock, disk, network and node, by seed
	cargo build --locked --release -p hstratum-sim
	@target/release/hstratum-sim $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(HOURS),--hours $(HOURS)) $(if $(TRACE),--trace) $(if $(PROXY),--proxy) $(if $(PLANTS),--plants)

coverage: ## how much of crates/core tests and simulator reach together
	@SEEDS='$(SEEDS)' HOURS='$(HOURS)' scripts/coverage.sh

# TARGET=pool TIME=60; needs a nightly toolchain and cargo-fuzz.
fuzz: ## libFuzzer on one target
	@TARGET='$(TARGET)' TIME='$(TIME)' scripts/fuzz.sh

hostile: ## what honest miners see while others abuse the server
	cargo test --locked --release -p hstratum --test quiet hostile -- --nocapture

crash: build ## what survives kill -9, a full disk and a ledger held by others
	node lab/crash.js
	node lab/crash.js --disk-full
	node lab/crash.js --stall

# MINUTES=60 SEED=7: lab/README.md.
soak: build ## an hour of trouble for a real node, as root
	@MINUTES='$(MINUTES)' SEED='$(SEED)' node lab/soak.js

# BLOCKS=4000 TESTNET_BLOCKS=600 SEED=7.
year: build ## a month of main's rules, and days of testnet's, at a clock that is moved
	@BLOCKS='$(BLOCKS)' TESTNET_BLOCKS='$(TESTNET_BLOCKS)' SEED='$(SEED)' node lab/year.js

# MINERS=1000 RATE=2000.
proxy: build ## what miners notice of a server's end behind a proxy
	@MINERS='$(MINERS)' RATE='$(RATE)' node lab/proxy.js

# MINUTES=10.
servers: build ## one pool on three servers with a database that fails over
	@MINUTES='$(MINUTES)' MINERS='$(MINERS)' RATE='$(RATE)' SEED='$(SEED)' node lab/servers.js

# hsd and its native modules, which npm compiles.
$(NODE_MODULES): package.json package-lock.json plugin/package.json
	npm ci
	@touch $@
