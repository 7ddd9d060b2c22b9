# shellcheck shell=bash
# shellcheck disable=SC2154  # cluster_start sets $cluster and $cluster_bin
# Functions that the demos share. Other scripts source this file after scripts/lib.sh.

# demo_server WORDS: builds the extension for the server that PG_CONFIG or PG names, else for the newest one that is installed or
# that the distribution has. Then it starts a temporary server with an empty database "demo"; the server is
# removed when the script ends.
demo_server() {
    local major
    if [ -n "${PG_CONFIG:-}" ]; then
        major=$(major_of "$PG_CONFIG")
    else
        major=${PG:-$(newest_major)}
    fi

    say "pg_idempotent on PostgreSQL $major: $1"
    say "The first run takes some minutes, mainly to build. It stores what the build needs in this directory, except Debian"
    say "packages that are missing."
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
    # Read SQL from standard input, so that errors look as they do at a psql prompt.
    psql=("$cluster_bin/psql" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --pset pager=off --pset footer=off)
}

finish() {
    local status=$?
    cluster_stop
    if [ "$status" != 0 ]; then say "The demo failed."; fi
    exit "$status"
}

# run_sql FILE [OPTION…]: runs a file of the directory demo in psql with these options.
run_sql() {
    local file=demo/$1
    shift
    "${psql[@]}" "$@" <"$file" 2>&1
}

# look_around COMMAND: opens psql if EXPLORE is set. Otherwise it prints how to do so.
look_around() {
    say ""
    if [ -n "${EXPLORE:-}" ] && [ -t 0 ]; then
        say "psql is connected to the demo's database. When you leave it with \\q, the server is removed."
        "$cluster_bin/psql" --no-psqlrc
    else
        say "To query the tables yourself: $1 EXPLORE=1"
        say "To install the extension into your own server: make install PG_CONFIG=/path/to/pg_config"
    fi
}
