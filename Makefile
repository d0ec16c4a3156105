.PHONY: check test
check:
	cargo fmt -p pgaad-core --check
	cargo clippy -p pgaad-core -- -D warnings
test:
	cargo test -p pgaad-core --lib
