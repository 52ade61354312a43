# What CI runs is `make check` and a small `meno replicate`.
.PHONY: fmt lint test docs check bench page cuda

fmt:            ## format the code
	cargo fmt --all

lint:           ## formatting, lints and the rules of dev/lint, no warnings allowed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo run --quiet -p meno-lint --locked

test:           ## every test
	cargo test --workspace --locked

docs:           ## the API documentation, no warnings allowed
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

check: lint test docs

page:           ## the chat page: its modules, then the page in a headless Chromium
	node --test --test-concurrency=1 dev/page/

cuda:           ## compile the CUDA kernels with the pinned compiler
	python3 dev/cuda/build.py

bench:          ## kernels and the training step
	cargo bench -p meno-tensor --features testing --locked
	cargo run --release --locked -- bench train --preset W2
