# Each target does its own set-up: `make run` and `make test` work on a fresh machine that has a
# Rust toolchain, Node.js with npm, a C compiler and make.
.PHONY: run test build dist dist-test deb compat check bench table month ship vardiff hostile storm crash soak proxy proxied servers \
  sim coverage fuzz conformance dashboards clean

NODE_MODULES := node_modules/.package-lock.json
E2E := plugin/test/*.test.js
# Those that miners' connections are the matter of.
PROXIED := $(foreach suite,wire rpc blocks first durability,plugin/test/$(suite).test.js)

# A node with the plugin, and on regtest a miner; see scripts/run.sh for NETWORK, ADDRESS and ARGS.
run: build
	@NETWORK='$(NETWORK)' ADDRESS='$(ADDRESS)' ARGS='$(ARGS)' scripts/run.sh

# Everything that says whether the tree is right.
test: check build
	scripts/postgres.sh
	cargo test --locked --workspace
	scripts/chromium.sh
	node --test --test-concurrency=1 $(E2E)
	$(MAKE) proxied

# Suites once more, with a proxy between the miners and each node.
proxied: build
	HSTRATUM_TEST_PROXIED=1 node --test --test-concurrency=1 $(PROXIED)

# The plugin's addon and, in target/release, the program hstratum and what only lab and bench run.
build: $(NODE_MODULES)
	cargo build --locked --release
	cp target/release/libhstratum_addon.so plugin/hstratum.node.new
	mv plugin/hstratum.node.new plugin/hstratum.node

# The npm packages, into dist/: for this machine, or make dist PLATFORMS='linux-x64-gnu linux-arm64-gnu'
# where the others are built (docs/packaging.md).
dist: build
	node scripts/dist.js $(PLATFORMS)

# Installs them and hsd, which npm compiles, into an empty prefix, and mines a block.
dist-test: build
	DIST_HSD=install node --test plugin/test/dist.test.js

# A Debian package of the binary, into dist/.
deb: build
	scripts/deb.sh

# Which hsd releases it works in: installs each from 6.0 on and runs the end-to-end tests with it.
compat: build
	node scripts/compat.js $(VERSIONS)

check:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	find plugin lab bench scripts -name '*.js' -print0 | xargs -0 -n1 node --check

# How fast it is: pure parts, the table against the limit server, the way of a block to a peer.
bench: table
	cargo bench --locked -p hstratum-core --bench share --bench pool
	cargo bench --locked -p hstratum --bench store
	node bench/block.js

# Only the table: make table RUNS=1 ROWS=shares,one for a quick look; see bench/README.md.
table: build
	RUNS='$(RUNS)' ROWS='$(ROWS)' node bench/table.js

# How large the ledger becomes in a month of 10,000 workers.
month:
	cargo bench --locked -p hstratum --bench month

# What shipping to a shared ledger costs: with a PostgreSQL of its own, or DATABASE=postgres://…, an
# empty one.
ship:
	scripts/postgres.sh
	cargo bench --locked -p hstratum --bench ship

# How fast miners of every size get a fitting difficulty, and how steady it is.
vardiff:
	cargo test --locked -p hstratum-core --test vardiff -- --nocapture

# What honest miners see while others abuse the server.
hostile:
	cargo test --locked --release -p hstratum --test quiet hostile -- --nocapture

# How long until the last of 10,000 miners that come at once has work.
storm:
	cargo bench --locked -p hstratum --bench storm

# What survives kill -9, a full disk and a ledger held by others; see lab/README.md.
crash: build
	node lab/crash.js
	node lab/crash.js --disk-full
	node lab/crash.js --stall

# The whole server on a simulated clock, disk, network and node: make sim SEEDS=200 HOURS=1, or one
# seed with its trace: make sim SEED=7 TRACE=1. PROXY=1: a proxy before several servers. PLANTS=1:
# whether planted bugs are found.
sim:
	cargo build --locked --release -p hstratum-sim
	@target/release/hstratum-sim $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(HOURS),--hours $(HOURS)) $(if $(TRACE),--trace) $(if $(PROXY),--proxy) $(if $(PLANTS),--plants)

# How much of crates/core tests and simulator reach together, by file; see crates/sim/README.md.
coverage:
	@SEEDS='$(SEEDS)' HOURS='$(HOURS)' scripts/coverage.sh

# An hour of trouble for a real node, as root: make soak MINUTES=60 SEED=7; see lab/README.md.
soak: build
	@MINUTES='$(MINUTES)' SEED='$(SEED)' node lab/soak.js

# What miners notice of a server's end behind a proxy: make proxy MINERS=1000; see lab/README.md.
proxy: build
	@MINERS='$(MINERS)' RATE='$(RATE)' node lab/proxy.js

# One pool on three servers with a database that fails over: make servers MINUTES=10; see lab/README.md.
servers: build
	@MINUTES='$(MINUTES)' MINERS='$(MINERS)' RATE='$(RATE)' SEED='$(SEED)' node lab/servers.js

# Whether the API of a running node is what its document says: make conformance URL=http://127.0.0.1:3080
conformance:
	@URL='$(URL)' scripts/conformance.sh

# What it costs miners that fifty dashboards are open.
dashboards: build
	node bench/dashboards.js

# libFuzzer on one target, with a nightly toolchain: make fuzz TARGET=pool TIME=60
fuzz:
	@TARGET='$(TARGET)' TIME='$(TIME)' scripts/fuzz.sh

# hsd and its native modules, which npm compiles.
$(NODE_MODULES): package.json package-lock.json plugin/package.json
	npm ci
	@touch $@

clean:
	cargo clean
	rm -rf node_modules run dist plugin/hstratum.node
