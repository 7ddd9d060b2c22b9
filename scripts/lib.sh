# shellcheck shell=bash
# Functions that the scripts share: paths, progress messages, and the user that the servers run as.
# Other scripts source this file.

set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
tools=$root/.tools
logs=$tools/log
mkdir -p "$logs"

# What libpq and the server's programs read from the environment (PGHOST, PGPORT, PGOPTIONS, PGSERVICE, PGDATA, …) is about
# the user's own servers. The scripts start servers of their own, so nothing of it may reach them.
while read -r variable; do unset "$variable"; done < <(compgen -e | grep -x 'PG[A-Z]\{1,\}')
unset variable

# The PostgreSQL versions that the extension runs on.
supported_majors="15 16 17 18"

# The PostgreSQL versions that `make test` covers.
# shellcheck disable=SC2034  # read by the scripts that source this file
tested_majors="15 16 17 18"

# --- messages ---------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*"; }

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# plain: copies standard input without colours and carriage returns.
plain() { tr -d '\r' | sed $'s/\033\\[[0-9;]*m//g'; }

# step WORDS LOG COMMAND…: runs a long command, writes its output to a log file, and shows its progress: on a terminal in
# one line that it rewrites, elsewhere in a new line every half minute. If the command fails, step shows the end of the
# log and returns the command's status.
step() {
    local words=$1 log=$logs/$2.log started=$SECONDS ticker status=0
    shift 2
    : >"$log"
    # The command stays in the foreground, so that an interrupt from the keyboard reaches it.
    show_life "$words" "$log" &
    ticker=$!
    ("$@") >"$log" 2>&1 </dev/null || status=$?
    { kill "$ticker" && wait "$ticker"; } 2>/dev/null || true
    untick
    if [ "$status" = 0 ]; then
        printf '✓ %s (%d s)\n' "$words" $((SECONDS - started))
    else
        printf '✗ %s (%d s); the end of %s:\n' "$words" $((SECONDS - started)) "${log#"$root"/}"
        tail -n "${log_lines:-40}" "$log" | plain | sed 's/^/    /'
    fi
    return "$status"
}

# show_life WORDS LOG: shows the line of step, until step ends it or the script that started it has ended.
show_life() {
    local words=$1 log=$2 started=$SECONDS told=0 elapsed
    printf '· %s …' "$words"
    [ -t 1 ] || printf '\n'
    while sleep 0.5 && kill -0 $$ 2>/dev/null; do
        elapsed=$((SECONDS - started))
        if [ -t 1 ]; then
            tick "$words … $elapsed s  $(last_line "$log")"
        elif [ "$elapsed" -ge $((told + 30)) ]; then
            told=$elapsed
            printf '    … %d s  %s\n' "$told" "$(last_line "$log")"
        fi
    done
}

last_line() { tail -n 1 "$1" | plain | tr -s '[:space:]' ' ' | cut -c 1-60; }

# tick WORDS: on a terminal, shows a line that the next one overwrites. untick removes it.
tick() { if [ -t 1 ]; then printf '\r\033[K· %s' "$*"; fi; }
untick() { if [ -t 1 ]; then printf '\r\033[K'; fi; }

# --- the user of the servers ------------------------------------------------------------------------------------

am_root() { [ "$(id -u)" = 0 ]; }

# A PostgreSQL server refuses to run as root. run_user names the user that it runs as when root runs the script.
run_user() {
    if ! am_root; then
        id -un
    elif [ -n "${PGI_RUN_AS:-}" ]; then
        printf '%s\n' "$PGI_RUN_AS"
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# as_run_user COMMAND…: runs a command as that user.
as_run_user() {
    if am_root; then
        runuser -u "$(run_user)" -- "$@"
    else
        "$@"
    fi
}

# The directory of the private copies of servers. It is inside the project, unless the server's user cannot enter that
# (for example a checkout under a home directory that only root can open).
servers_dir() {
    local dir=$tools/servers
    if ! as_run_user test -x "$tools"; then
        dir=/var/tmp/pg_idempotent-$(printf %s "$root" | cksum | cut -d ' ' -f 1)
        # Any user can create a directory with this name. Use it only if it belongs to the current user.
        mkdir -m 755 "$dir" 2>/dev/null || [ -O "$dir" ] || die "$dir belongs to another user. Remove it first."
    fi
    mkdir -p "$dir"
    printf '%s\n' "$dir"
}

if [ -n "${PG_CONFIG:-}" ]; then
    command -v "$PG_CONFIG" >/dev/null || die "PG_CONFIG=$PG_CONFIG: program not found."
fi

# The major version of the server that a pg_config belongs to.
major_of() { "$1" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/'; }

# server_pg_config: the pg_config of the user's server: the one in PG_CONFIG, or else in PATH.
server_pg_config() {
    local pg_config major
    pg_config=${PG_CONFIG:-$(command -v pg_config || true)}
    [ -n "$pg_config" ] || die "pg_config was not found in PATH. Name the one of your server: PG_CONFIG=/path/to/pg_config"
    # Debian's /usr/bin/pg_config is a wrapper; the server's own is in the directory of its programs.
    if [ -x "$("$pg_config" --bindir)/pg_config" ]; then pg_config=$("$pg_config" --bindir)/pg_config; fi
    major=$(major_of "$pg_config")
    case " $supported_majors " in
        *" $major "*) ;;
        *) die "PostgreSQL $major is not supported. pg_idempotent runs on PostgreSQL ${supported_majors// /, }." ;;
    esac
    printf '%s\n' "$pg_config"
}

# The pg_config of an installed server that has its headers: the one in PG_CONFIG, or one in Debian's layout. Prints
# nothing if there is none.
installed_pg_config() {
    local candidate=/usr/lib/postgresql/$1/bin/pg_config
    if [ -n "${PG_CONFIG:-}" ] && [ "$(major_of "$PG_CONFIG")" = "$1" ]; then
        printf '%s\n' "$PG_CONFIG"
    elif [ -x "$candidate" ] && [ -x "${candidate%pg_config}postgres" ] &&
        [ -f "$("$candidate" --includedir-server)/postgres.h" ]; then
        printf '%s\n' "$candidate"
    fi
}

# distribution_major: the PostgreSQL version that the distribution itself has; nothing where apt does not tell.
distribution_major() {
    command -v apt-cache >/dev/null || return 0
    apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1
}

# newest_major: the newest supported version that is installed, else the distribution's, else 15, which provision can install
# on Debian 12.
newest_major() {
    local major own
    for major in $(tr ' ' '\n' <<<"$supported_majors" | sort -rn); do
        if [ -n "$(installed_pg_config "$major")" ]; then
            printf '%s\n' "$major"
            return 0
        fi
    done
    own=$(distribution_major)
    # A new system has no list of packages yet.
    if [ -z "$own" ] && am_root && command -v apt-get >/dev/null && apt-get update >/dev/null 2>&1; then
        own=$(distribution_major)
    fi
    case " $supported_majors " in
        *" $own "*) printf '%s\n' "$own" ;;
        *) echo 15 ;;
    esac
}

# The path of the pg_config of a private copy, whether or not the copy exists yet.
staged_pg_config() { printf '%s\n' "$(servers_dir)/$1/pg_config"; }

# --- building -----------------------------------------------------------------------------------------------------

need_cargo() {
    PATH=$tools/bin:$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
    command -v cargo >/dev/null || die "Cargo was not found. Install a Rust toolchain with rustup, then run this again."
    take_default_toolchain
}

# Where rustup does not have the version that rust-toolchain.toml names, it would fetch it. The default toolchain serves as
# well: cargo itself refuses one that is older than Cargo.toml's rust-version.
take_default_toolchain() {
    local pinned
    if [ -n "${RUSTUP_TOOLCHAIN:-}" ] || ! command -v rustup >/dev/null; then return 0; fi
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$root/rust-toolchain.toml")
    if rustup toolchain list | grep -q "^$pinned-"; then return 0; fi
    RUSTUP_TOOLCHAIN=$(rustup default 2>/dev/null | cut -d ' ' -f 1) || return 0
    export RUSTUP_TOOLCHAIN
}

# The version of pgrx that Cargo.toml pins. cargo-pgrx must have the same version.
pgrx_version() { sed -n 's/^pgrx = "=\([0-9.]*\)".*/\1/p' "$root/Cargo.toml"; }

# cargo_settings MAJOR: sets the environment of every cargo command in the scripts. They use a target directory of their
# own, because cargo pgrx links with other flags than plain cargo and would otherwise invalidate a developer's builds.
cargo_settings() {
    export PGRX_HOME=$tools/pgrx/$1
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/scripts}
    export CARGO_TERM_COLOR=never
}

# The profile that cargo builds with. Users get release; dev builds in seconds and checks arithmetic overflow and debug
# assertions.
profile=${PROFILE:-release}

# package PG_CONFIG MAJOR DIR [FEATURE]: builds the extension for a server and writes its files to DIR, under the paths that
# they have in the server.
package() {
    rm -rf "$3"
    cargo pgrx package --profile "$profile" --pg-config "$1" --out-dir "$3" --no-default-features --features "pg$2 ${4:-}"
}

# put_in_place DIR [sudo]: copies the files of a package to the server, below $DESTDIR. It writes each file under a temporary name and then
# renames it: a session that uses the library keeps the old file, whereas overwriting the file would crash it. It copies
# the library last, so that no session loads it before the SQL files that belong to it are there.
put_in_place() {
    local package=$1 file place mode
    shift
    (cd "$package" && find . -type f ! -name '*.so' && find . -type f -name '*.so') | while IFS= read -r file; do
        place=${DESTDIR:-}${file#.}
        case $file in *.so) mode=755 ;; *) mode=644 ;; esac
        "$@" mkdir -p "${place%/*}" &&
            "$@" install -m "$mode" "$package/$file" "$place.new" &&
            "$@" mv -f "$place.new" "$place" || return
    done
}

# --- temporary clusters -------------------------------------------------------------------------------------------

# cluster_start PG_CONFIG: creates and starts a cluster in a temporary directory. It listens on a unix socket only. Sets
# $cluster, PGHOST, PGPORT and PGUSER. The caller must make sure that cluster_stop runs at the end.
cluster_start() {
    local bin
    bin=$("$1" --bindir)
    # Not in $TMPDIR, because the path of a socket may have at most 107 bytes.
    cluster=$(mktemp -d /tmp/pgi.XXXXXX)
    if am_root; then chown "$(run_user)" "$cluster"; fi
    cluster_bin=$bin
    in_cluster "$bin/initdb" --pgdata="$cluster/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C \
        --no-sync >"$cluster.initdb" 2>&1 || { cat "$cluster.initdb" >&2; rm -f "$cluster.initdb"; return 1; }
    rm -f "$cluster.initdb"
    in_cluster tee -a "$cluster/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		port = 5432
		unix_socket_directories = '$cluster'
		fsync = off
		max_connections = 100
		max_prepared_transactions = 10
		timezone = 'UTC'
		log_timezone = 'UTC'
	CONF
    in_cluster "$bin/pg_ctl" --pgdata="$cluster/data" --log="$cluster/log" --wait --timeout=60 start >/dev/null ||
        { cat "$cluster/log" >&2; return 1; }
    export PGHOST=$cluster PGPORT=5432 PGUSER=postgres
}

# in_cluster COMMAND…: runs a command as the server's user, with the directory of the cluster as its home and working
# directory.
in_cluster() { (cd "$cluster" && as_run_user env -u RUST_BACKTRACE HOME="$cluster" "$@"); }

# cluster_stop: stops this cluster, and no other, and removes its files.
cluster_stop() {
    [ -n "${cluster:-}" ] || return 0
    if [ -f "$cluster/data/postmaster.pid" ]; then
        in_cluster "$cluster_bin/pg_ctl" --pgdata="$cluster/data" --mode=immediate --wait stop >/dev/null || true
    fi
    rm -rf "$cluster"
    cluster=
}
