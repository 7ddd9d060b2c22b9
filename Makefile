# make demo          see it work, on real data, in a throwaway server
# make pipeline      see a daily job run, rerun, killed and backfilled, on the same data
# make test          every check of the project that needs no clients
# make test-clients  real clients, against a guarded table
# make bench         its speed beside what people use instead
# make install       into the server of PG_CONFIG
SHELL := /usr/bin/env bash
.DEFAULT_GOAL := help
.PHONY: help demo pipeline test test-clients bench install clean

help: ## this list
	@echo 'pg_idempotent. PG_CONFIG=/path/to/pg_config names a server; without it PostgreSQL 15 is looked for.'
	@echo
	@sed -n 's/^\([a-z-]*\):.* ## /  make \1\t/p' Makefile | expand -t 22

demo: ## build it and watch it load real data twice, in a throwaway server (EXPLORE=1 ends in psql)
	@demo/run

pipeline: ## build it and watch a daily job that is run again, killed and backfilled, in a throwaway server (EXPLORE=1 as above)
	@demo/pipeline/run

test: ## every check, on PostgreSQL 15, 16 and 18 (ONLY="regress isolation" PG="15" TESTS="name" for less; PROFILE=dev builds in seconds)
	@scripts/test

test-clients: ## real clients, psql to JDBC, against a guarded table, on PostgreSQL 15 (PG="15 18" for more, TESTS="name" for less)
	@scripts/test-clients

bench: ## measure it beside what people use instead (ARGS=--quick for a first look)
	@bench/run $(ARGS)

install: ## build it and install it into the server of PG_CONFIG (default: the pg_config in PATH)
	@scripts/install-into-server

clean: ## remove what was built; the tools and servers in .tools stay (make clean ALL=1 removes them too)
	@rm -rf target tests/output
	@if [ -n '$(ALL)' ]; then source scripts/lib.sh; rm -rf "$$(servers_dir)" .tools; fi
