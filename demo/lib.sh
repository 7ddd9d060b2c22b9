# shellcheck shell=bash
# shellcheck disable=SC2154  # cluster_start sets $cluster and $cluster_bin
# What the demos share. Sourced, never run; scripts/lib.sh comes first.

# demo_server WORDS: builds the extension for the server that was asked for, else for one that is installed, else for
# PostgreSQL 15, which provision will fetch; and starts a server with an empty database "demo", gone when the script ends.
demo_server() {
    local major candidate
    if [ -n "${PG_CONFIG:-}" ]; then
        major=$(major_of "$PG_CONFIG")
    else
        major=${PG:-}
        for candidate in 15 16 17 18; do
            if [ -z "$major" ] && [ -n "$(installed_pg_config "$candidate")" ]; then major=$candidate; fi
        done
        major=${major:-15}
    fi

    say "pg_idempotent on PostgreSQL $major: $1"
    say "The first time takes some minutes, most of them for building. What that needs goes into this folder, save for"
    say "Debian packages that are missing."
    say ""
    scripts/provision "$major"
    scripts/install "$major"

    trap finish EXIT
    trap 'exit 130' INT TERM

    cluster_start "$(staged_pg_config "$major")"
    say "✓ started a server on a unix socket in $cluster, as user $(run_user)"
    say ""
    "$cluster_bin/createdb" demo
    export PGDATABASE=demo
    # From standard input, so that errors look as they do to a person at the prompt.
    psql=("$cluster_bin/psql" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --pset pager=off --pset footer=off)
}

finish() {
    local status=$?
    cluster_stop
    if [ "$status" != 0 ]; then say "The demo failed."; fi
    exit "$status"
}

# run_sql FILE [OPTION…]: a file of the folder demo, by psql with these options.
run_sql() {
    local file=demo/$1
    shift
    "${psql[@]}" "$@" <"$file" 2>&1
}

# look_around COMMAND: psql on what is there, if EXPLORE asks for it; else how to get there.
look_around() {
    say ""
    if [ -n "${EXPLORE:-}" ] && [ -t 0 ]; then
        say "This is psql on the demo's tables. Leave it with \\q, and the server is gone."
        "$cluster_bin/psql" --no-psqlrc
    else
        say "Look around in it yourself: $1 EXPLORE=1"
        say "Install it into a server of yours: make install PG_CONFIG=/path/to/pg_config"
    fi
}
