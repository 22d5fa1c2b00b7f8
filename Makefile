# Each target does its own set-up; `make run` and `make test` work on a fresh machine.
.PHONY: build run test bench clean

CARGO_FLAGS ?= --locked

# The plugin's addon and the binary.
build: node_modules/.package-lock.json
	cargo build --release $(CARGO_FLAGS)
	cp target/release/libhstratum_addon.so plugin/hstratum.node.new
	mv plugin/hstratum.node.new plugin/hstratum.node

# hsd and its native modules, which npm compiles.
node_modules/.package-lock.json: package.json package-lock.json plugin/package.json
	npm ci
	touch $@

clean:
	cargo clean
	rm -rf node_modules plugin/hstratum.node run
