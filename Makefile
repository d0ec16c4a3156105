# pgaad: what a person types. Every target installs what it lacks (.ci/provision) and says what it does.

PG         ?= 15
# Debian's, or one built here (.ci/postgresql-18).
PG_CONFIG  ?= $(firstword $(wildcard /usr/lib/postgresql/$(PG)/bin/pg_config \
                  /usr/local/lib/postgresql/$(PG)/bin/pg_config) /usr/lib/postgresql/$(PG)/bin/pg_config)
CARGO      ?= cargo
FEATURES   = --no-default-features --features pg$(PG)

# The extension as it would be installed, for the throw-away clusters of the tests and the demo:
# a release, and a build whose decision can be made to fail (never installed anywhere else).
PACKAGE        = $(CURDIR)/target/release/pgaad-pg$(PG)
FAULTY_PACKAGE = $(CURDIR)/target/faulty/pgaad-pg$(PG)
export PGAAD_PACKAGE        = $(PACKAGE)
export PGAAD_FAULTY_PACKAGE = $(FAULTY_PACKAGE)
export PG_CONFIG
# Else cargo-pgrx links with --no-gc-sections, and the library is twice as large (docs/internals.md).
export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND = 1

# `cargo pgrx test` installs into the PostgreSQL that it tests, and starts a server as postgres, with sudo. So it tests
# a copy of the PostgreSQL in question.
PGRX_TEST_DIR = /tmp/pgaad-pgrx-test

# The empty extension of that name beside ours in a package tree: packaging/pgaadauth.
add_pgaadauth = @install -D -m 644 -t $(1)$$($(PG_CONFIG) --sharedir)/extension packaging/pgaadauth/*

# What begins, and how many seconds after the start of the whole.
BEGAN := $(shell date +%s)
say = @printf '\n== %s [%s s]\n' "$(1)" "$$(( $$(date +%s) - $(BEGAN) ))"

.PHONY: help demo test matrix check check-extension check-dependencies test-core test-server test-logins samples \
    torture bench bench-check fuzz mutants sanitize package faulty-package deb deb-test neighbours-test rpm image \
    image-test install uninstall provision clean

help:
	@echo 'make demo [KEEP=1]            log in with a token, from nothing, on a throw-away server'
	@echo 'make test                     everything that must pass'
	@echo 'make matrix [PG=18]           the same on PostgreSQL 15 to 18, or on one of them'
	@echo 'make check                    formatting, lints, documentation and dependencies'
	@echo 'make fuzz [SECONDS=60]        each fuzz target for that long'
	@echo 'make bench [PG=18]            what a decision and a login cost; bench-check compares to the targets'
	@echo 'make mutants [FILE=gate.rs]   small changes of the code, each of which a test must see: hours, or one file'
	@echo 'make sanitize [TESTS=login::] logins to a PostgreSQL 18 that checks each access to memory while it runs'
	@echo 'make torture                  the long runs of the property tests'
	@echo 'make deb [PG=15]              a Debian package; make deb-test installs it into a clean Debian 12'
	@echo 'make neighbours-test          it beside pgaudit, pg_cron, pgBackRest, repmgr, Barman and Patroni'
	@echo 'make image [PG=15] [BASE=…]   an image of PostgreSQL with pgaad; make image-test runs one as Kubernetes would'
	@echo 'make samples                  the samples of docs/clients.md, with their drivers'
	@echo 'make rpm [PG=15]              a package for the PostgreSQL project'"'"'s of the RHEL family'
	@echo 'make install PG_CONFIG=…      build a release and install it into a PostgreSQL; make uninstall removes it'

# In the profile of the package, so that what both need is compiled once.
demo: package
	$(call say,the demo)
	@KEEP=$(KEEP) $(CARGO) run --release -p pgaad-tests --bin demo

test: test-core test-server test-logins samples

matrix:
	@.ci/matrix $(if $(filter file,$(origin PG)),,$(PG))

check: check-dependencies check-extension
	$(call say,formatting and lints)
	$(CARGO) fmt --all --check
	.ci/structure
	.ci/links
	.ci/lint clippy --workspace --exclude pgaad --all-targets
	$(CARGO) check --quiet --locked --manifest-path crates/core/fuzz/Cargo.toml --target-dir target/fuzz/check
	.ci/lint doc --workspace --exclude pgaad --no-deps --document-private-items

# The part of the lints that differs between majors.
check-extension: provision
	$(call say,lints for PostgreSQL $(PG))
	.ci/lint clippy -p pgaad $(FEATURES) --all-targets
	.ci/lint clippy -p pgaad $(FEATURES) --features fault_injection
	.ci/lint doc -p pgaad $(FEATURES) --no-deps --document-private-items

# None is unused, needs a newer Rust than we say, or is one that deny.toml forbids.
check-dependencies:
	$(call say,the dependencies)
	@PG=$(PG) .ci/provision tools
	.ci/rust-version
	$(CARGO) machete
	$(CARGO) deny check --deny unmatched-skip bans licenses sources

test-core: provision
	$(call say,the decision without PostgreSQL)
	$(CARGO) test -p pgaad-core -p pgaad-audit -p pgaad-provider -p tenant

test-server: provision
	$(call say,inside PostgreSQL $(PG))
	@sudo rm -rf $(PGRX_TEST_DIR) && mkdir -p $(PGRX_TEST_DIR)/home && sudo install -d -o postgres $(PGRX_TEST_DIR)/data
	@printf '[configs]\npg$(PG) = "%s"\n' "$$(.ci/private-server $(PG_CONFIG) $(PGRX_TEST_DIR)/server)" \
	    > $(PGRX_TEST_DIR)/home/config.toml
	PGRX_HOME=$(PGRX_TEST_DIR)/home $(CARGO) pgrx test pg$(PG) --runas postgres --pgdata $(PGRX_TEST_DIR)/data
	@sudo rm -rf $(PGRX_TEST_DIR)

test-logins: package faulty-package
	$(call say,real logins to throw-away clusters)
	$(CARGO) test -p pgaad-tests

samples: package
	$(call say,the samples of docs/clients.md with their drivers)
	@.ci/samples
	$(CARGO) test -p pgaad-tests --test samples

torture: package
	$(call say,ten million mutations of a valid token)
	PGAAD_TORTURE_CASES=10000000 $(CARGO) test --release -p pgaad-core --test properties
	$(call say,twenty thousand logins of each kind while roles are renamed)
	PGAAD_TORTURE_LOGINS=20000 $(CARGO) test -p pgaad-tests --test logins rename:: -- --nocapture --test-threads 1
	$(call say,a hundred thousand logins around the moment in which somebody is shut out)
	PGAAD_TORTURE_LOGINS=100000 $(CARGO) test -p pgaad-tests --test logins deny::nobody_is_admitted -- --nocapture
	$(call say,every sequence of three statements by each of eight actors)
	$(CARGO) test -p pgaad-tests --test rise -- --ignored --nocapture
	$(call say,a thousand runs of the directory that are lied to and two hundred that are killed)
	PGAAD_RUNS=1000 PGAAD_KILLS=200 $(CARGO) test -p pgaad-provider --test runs
	PGAAD_KILLS=200 $(CARGO) test -p pgaad-tests --test logins directory_worker::worker_and_server -- --nocapture
	$(call say,the largest group that is read; a larger one; and pages without end)
	$(CARGO) test --release -p pgaad-provider --test directory -- --ignored
	$(call say,how soon a change in the directory acts)
	$(CARGO) test -p pgaad-tests --test logins directory_worker:: -- --ignored --nocapture
	$(call say,how long each refusal takes)
	$(CARGO) test -p pgaad-tests --test logins stranger:: -- --ignored --nocapture

bench: package
	$(call say,a decision in multiples of one RSA verification)
	$(CARGO) bench -p pgaad-core --bench decision
	$(CARGO) bench -p pgaad-core --bench first
	$(call say,logins beside those by PostgreSQL's own methods)
	PGAAD_BENCH=$(CURDIR)/target/bench $(CARGO) run --quiet --release -p pgaad-bench --bin logins

bench-check: export PGAAD_BENCH_CHECK = 1
bench-check: bench

# Each target for SECONDS; what is found grows under target/fuzz, a crash ends the run.
SECONDS_EACH = $(or $(SECONDS),60)
FUZZ_TARGETS = token claims jwks metadata page set label packet
fuzz:
	@cargo fuzz --version 2>/dev/null || $(CARGO) install cargo-fuzz --version 0.13.2 --locked --quiet
	@for target in $(FUZZ_TARGETS); do \
	    printf '\n== fuzzing %s for %s s\n' $$target $(SECONDS_EACH); \
	    mkdir -p target/fuzz/corpus/$$target target/fuzz/artifacts/$$target; \
	    RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir crates/core/fuzz --target-dir target/fuzz/build $$target \
	        target/fuzz/corpus/$$target crates/core/fuzz/seeds/$$target -- -max_total_time=$(SECONDS_EACH) \
	        -artifact_prefix=target/fuzz/artifacts/$$target/ -print_final_stats=1 -verbosity=0 || exit 1; \
	done

# What is left out, and why: .cargo/mutants.toml. It ends with the list of those that no test saw. A change by which a
# test does not end (3) is seen.
mutants: provision
	@cargo mutants --version 2>/dev/null || $(CARGO) install --debug --locked --quiet --version 27.1.0 cargo-mutants
	@mkdir -p target/mutants
	CARGO_INCREMENTAL=1 $(CARGO) mutants -p pgaad-core -p pgaad-audit --jobs $$(nproc) --output target/mutants \
	    $(if $(FILE),--file $(FILE)) || [ $$? = 3 ]

# The logins' tests on a PostgreSQL 18 that checks every access to memory while it runs, its own and pgaad's.
sanitize:
	@.ci/sanitize $(TESTS)

package: provision
	$(call say,building a release for PostgreSQL $(PG))
	@rm -rf $(PACKAGE)
	$(CARGO) pgrx package --pg-config $(PG_CONFIG) $(FEATURES) --out-dir $(PACKAGE)
	$(call add_pgaadauth,$(PACKAGE))

faulty-package: provision
	$(call say,building with injectable faults)
	$(CARGO) pgrx package --debug --pg-config $(PG_CONFIG) $(FEATURES) --features fault_injection \
	    --out-dir $(FAULTY_PACKAGE)

deb: package
	$(call say,the Debian package)
	@packaging/deb $(PG) $(PACKAGE)

rpm: package
	$(call say,the package for the RHEL family)
	@command -v rpmbuild >/dev/null || .ci/apt-get install -qq -y --no-install-recommends rpm
	@packaging/rpm $(PG) $(PACKAGE)

deb-test: deb
	$(call say,the Debian package on a clean Debian 12)
	@packaging/try target/deb/postgresql-$(PG)-pgaad_*.deb

image: deb
	$(call say,the image)
	@packaging/image target/deb/postgresql-$(PG)-pgaad_*.deb pgaad:$(PG) \
	    --build-arg BASE=$(or $(BASE),docker.io/library/postgres:$(PG)-bookworm) \
	    $(if $(RUN_AS),--build-arg RUN_AS=$(RUN_AS))

image-test: deb
	$(call say,the image without a privilege on a root that cannot be written to)
	@packaging/try-image target/deb/postgresql-$(PG)-pgaad_*.deb

neighbours-test: deb
	$(call say,pgaad beside pgaudit pg_cron pgBackRest repmgr and Barman)
	@packaging/try-neighbours target/deb/postgresql-$(PG)-pgaad_*.deb
	$(call say,pgaad on two nodes of a Patroni cluster)
	@packaging/try-patroni target/deb/postgresql-$(PG)-pgaad_*.deb

# The major is that of the PG_CONFIG, whatever PG says. The server may run meanwhile: packaging/install.
install: INSTALL_PG = $(shell $(PG_CONFIG) --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
install: INSTALL_TREE = $(CURDIR)/target/install/pg$(INSTALL_PG)
install:
	$(call say,installing into the PostgreSQL of $(PG_CONFIG))
	@command -v $(CARGO) >/dev/null || { echo 'Rust is missing: https://rustup.rs says how to install it.' >&2; exit 1; }
	@PG=$(INSTALL_PG) PG_CONFIG=$(PG_CONFIG) .ci/provision build
	@rm -rf $(INSTALL_TREE)
	$(CARGO) pgrx package --pg-config $(PG_CONFIG) --no-default-features --features pg$(INSTALL_PG) \
	    --out-dir $(INSTALL_TREE)
	$(call add_pgaadauth,$(INSTALL_TREE))
	packaging/install $(INSTALL_TREE)

uninstall:
	$(call say,removing from the PostgreSQL of $(PG_CONFIG))
	@PG_CONFIG=$(PG_CONFIG) packaging/uninstall

provision:
	@PG=$(PG) .ci/provision

clean:
	$(CARGO) clean
