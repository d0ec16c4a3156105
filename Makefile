# pgaad: what a person types. Every target installs what it lacks (.ci/provision) and says what it does.

PG         ?= 15
PG_CONFIG  ?= /usr/lib/postgresql/$(PG)/bin/pg_config
CARGO      ?= cargo
FEATURES    = --no-default-features --features pg$(PG)

# The extension as it would be installed, for the throw-away clusters of the tests and the demo:
# a release, and a build whose decision can be made to fail (never installed anywhere else).
PACKAGE        = $(CURDIR)/target/release/pgaad-pg$(PG)
FAULTY_PACKAGE = $(CURDIR)/target/faulty/pgaad-pg$(PG)
export PGAAD_PACKAGE        = $(PACKAGE)
export PGAAD_FAULTY_PACKAGE = $(FAULTY_PACKAGE)
export PG_CONFIG

# `cargo pgrx test` starts a server, which refuses to run as root.
PGRX_TEST_DIR = /tmp/pgaad-pgrx-test
ifeq ($(shell id -u),0)
RUNAS = --runas postgres --pgdata $(PGRX_TEST_DIR)
endif

say = @printf '\n== %s\n' "$(1)"

.PHONY: help demo test check install package provision test-core test-server test-logins clean

help:
	@echo 'make demo [KEEP=1]            log in with a token, from nothing, on a throw-away server'
	@echo 'make test                     everything that must pass'
	@echo 'make check                    formatting and lints'
	@echo 'make install PG_CONFIG=…      build a release and install it into a PostgreSQL'

demo: package
	$(call say,the demo)
	@KEEP=$(KEEP) $(CARGO) run --quiet -p pgaad-tests --bin demo

test: test-core test-server test-logins

check: provision
	$(call say,formatting and lints)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p pgaad --features fault_injection -- -D warnings

test-core:
	$(call say,the decision, without PostgreSQL)
	$(CARGO) test -p pgaad-core -p tenant

test-server: provision
	$(call say,inside PostgreSQL $(PG))
	@rm -rf $(PGRX_TEST_DIR) && mkdir -p $(PGRX_TEST_DIR)
	@if [ "$$(id -u)" = 0 ]; then chown postgres $(PGRX_TEST_DIR); fi
	$(CARGO) pgrx test pg$(PG) $(RUNAS)
	@rm -rf $(PGRX_TEST_DIR)

test-logins: package faulty-package
	$(call say,real logins to throw-away clusters)
	$(CARGO) test -p pgaad-tests

package: provision
	$(call say,building a release for PostgreSQL $(PG))
	$(CARGO) pgrx package --pg-config $(PG_CONFIG) $(FEATURES) --out-dir $(PACKAGE)

.PHONY: faulty-package
faulty-package: provision
	$(call say,building with injectable faults)
	$(CARGO) pgrx package --debug --pg-config $(PG_CONFIG) $(FEATURES) --features fault_injection --out-dir $(FAULTY_PACKAGE)

install:
	$(call say,installing into $(PG_CONFIG))
	@PG_CONFIG=$(PG_CONFIG) PG=$(PG) .ci/provision
	$(CARGO) pgrx install --release --pg-config $(PG_CONFIG) --no-default-features --features pg$$($(PG_CONFIG) --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')

provision:
	@PG=$(PG) .ci/provision

clean:
	$(CARGO) clean
