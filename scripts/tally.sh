# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # the runners read what these functions set, and set $results
# Functions that count test results and print the last line of a test runner. Other scripts source this file after lib.sh.

passed=0
failed=0
failures=()

# count PASSED FAILED WHAT: adds to the sums. close lists WHAT if FAILED is not 0.
count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
    if [ "$2" != 0 ]; then failures+=("$3"); fi
}

# close: prints what failed and a line with the sums. Exits with status 1 if anything failed.
close() {
    printf '\n'
    local failure
    for failure in ${failures[@]+"${failures[@]}"}; do printf '✗ %s\n' "$failure"; done
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ] || exit 1
    exit 0
}

# chosen_majors DEFAULT: sets the array majors to the PostgreSQL versions to test: those of PG, else that of the server of
# PG_CONFIG, else the DEFAULT.
chosen_majors() {
    if [ -n "${PG_CONFIG:-}" ] && [ -z "${PG:-}" ]; then PG=$(major_of "$PG_CONFIG"); fi
    read -ra majors <<<"${PG:-$1}"
}

# run_pytest PYTHON PG_CONFIG REPORT SECONDS FOLDER…: runs the tests in these folders that TESTS names, or all of them, with
# a time limit for the whole process group. The tests start and stop their own servers.
run_pytest() {
    local python=$1 server=$2 report=$3 seconds=$4 select=()
    shift 4
    if [ -n "${TESTS:-}" ]; then select=(-k "${TESTS// / or }"); fi
    env -u PGHOST -u PGPORT -u PGUSER PG_CONFIG="$server" PGI_RUN_AS="$(run_user)" PYTHONDONTWRITEBYTECODE=1 \
        timeout -k 60 "$seconds" "$python" -m pytest "$@" --tb=short -rfE --junitxml="$report" ${select[@]+"${select[@]}"}
}

# pytest_step WORDS NAME MAJOR PYTHON SECONDS FOLDER…: the same as a step, for this version. Sets the results tests, bad,
# skipped, status and pytest_log; NAME is that of the log and of the report in $results.
pytest_step() {
    local words=$1 name=$2 major=$3 python=$4 report=$results/$3/$2.xml
    shift 4
    status=0 tests=0 bad=0 skipped=0 pytest_log=$logs/$name-$major.log
    mkdir -p "$results/$major"
    rm -f "$report"
    log_lines=1 step "$words" "$name-$major" run_pytest "$python" "$(staged_pg_config "$major")" "$report" "$@" || status=$?
    if [ "$status" != 0 ]; then first_failures "$pytest_log"; fi
    if [ -f "$report" ]; then
        tests=$(attribute tests "$report")
        bad=$(($(attribute failures "$report") + $(attribute errors "$report")))
        skipped=$(attribute skipped "$report")
    fi
}

# count_pytest GOOD WHAT: counts what pytest_step found, and lists the first failures by name. If a test passes and its teardown
# fails, pytest counts both, so GOOD may be less than 0.
count_pytest() {
    local line
    count "$(($1 < 0 ? 0 : $1))" "$bad" "$2 ($bad)"
    while read -r line; do failures+=("  ${line:0:240}"); done < <(grep -m 5 -E '^(FAILED|ERROR) ' "$pytest_log" | plain || true)
}

# first_failures LOG: prints the first failures in pytest's output, which are usually the most useful.
first_failures() { sed -n '/^=* \(FAILURES\|ERRORS\) =*$/,$p' "$1" | head -n 150 | sed 's/^/    /'; }

# attribute NAME FILE: prints a number from the first line of pytest's report.
attribute() { sed -n "s/.*<testsuite [^>]*\b$1=\"\([0-9]*\)\".*/\1/p" "$2" | head -n 1; }
