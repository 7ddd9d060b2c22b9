# make demo          load real data twice in a temporary server
# make pipeline      run, rerun, kill and backfill a daily job on the same data
# make test          run every check except those with real clients
# make schedules     step two and three sessions through interleavings, and judge what they are told
# make storm         maltreat a server while clients retry, and see that nothing is lost
# make test-cassert  run them on a server that checks its assertions
# make test-clients  run real clients against a guarded table
# make bench         compare its speed with the alternatives
# make portable      put the edition without a library together
# make && make install  build it, and install it into the server of PG_CONFIG
SHELL := /usr/bin/env bash
.DEFAULT_GOAL := all
.PHONY: image all help demo pipeline test test-cassert schedules storm test-clients bench install installcheck uninstall dist package test-package portable clean

all: ## build the extension for the server of PG_CONFIG (default: the pg_config in PATH)
	@scripts/build-for-server

help: ## show this list
	@echo 'pg_idempotent. Set PG_CONFIG=/path/to/pg_config to choose a server.'
	@echo
	@sed -n 's/^\([a-z-]*\):.* ## /  make \1\t/p' Makefile | expand -t 22

demo: ## build the extension and load real data twice in a temporary server (EXPLORE=1 opens psql at the end)
	@demo/run

pipeline: ## build the extension and run, rerun, kill and backfill a daily job in a temporary server (EXPLORE=1 as above)
	@demo/pipeline/run

test: ## run every check on PostgreSQL 15 and 18, regress and isolation also on 16 and 17 (for less: ONLY="regress isolation" PG="15" TESTS="name"; PROFILE=dev builds in seconds)
	@scripts/test

test-cassert: ## run the suites on the server of PG_CONFIG, which was built with --enable-cassert, then without caches (LIMIT=600 seconds a test)
	@scripts/test-cassert

schedules: ## step sessions of a test build through interleavings, and judge what they are told (COUNT=100000 schedules; SEEDS="7 100-199" runs these; PG=18)
	@scripts/schedules

storm: ## kill, cancel, stop and rebuild while clients of all kinds retry, and see that nothing is lost (SECONDS=3600; SEED=7; KINDS="insert guard"; PG=18)
	@scripts/storm

test-clients: ## run real clients, from psql to JDBC, against a guarded table on PostgreSQL 15 (for more: PG="15 18"; for less: TESTS="name")
	@scripts/test-clients

bench: ## compare its speed with the alternatives (ARGS=--quick for a first look)
	@bench/run $(ARGS)

install: ## build the extension and install it into the server of PG_CONFIG (default: the pg_config in PATH)
	@scripts/install-into-server

portable: ## put the edition for servers without compiled extensions together, in SQL alone (docs/managed.md)
	@scripts/portable

installcheck: ## test what is installed in the running server that PGHOST, PGPORT and PGUSER name
	@scripts/installcheck

uninstall: ## remove the extension's files from the server of PG_CONFIG
	@scripts/uninstall-from-server

dist: ## make the archive for PGXN of what is committed, target/pg_idempotent-VERSION.zip
	@scripts/dist

package: ## build Debian packages of what is committed, for each installed server, in target/debian
	@scripts/package

image: ## put the extension together as a folder for extension_control_path of PostgreSQL 18, target/image
	@scripts/image

test-package: ## install the Debian packages of target/debian in a bare system, use them there, and purge them (as root)
	@scripts/test-package target/debian/postgresql-*-idempotent_*.deb

clean: ## remove the build; keep the tools and servers in .tools (make clean ALL=1 removes them too)
	@rm -rf target tests/output
	@if [ -n '$(ALL)' ]; then source scripts/lib.sh; rm -rf "$$(servers_dir)" .tools; fi
