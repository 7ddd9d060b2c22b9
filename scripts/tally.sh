# shellcheck shell=bash
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

# first_failures LOG: prints the first failures in pytest's output, which are usually the most useful.
first_failures() { sed -n '/^=* \(FAILURES\|ERRORS\) =*$/,$p' "$1" | head -n 150 | sed 's/^/    /'; }

# attribute NAME FILE: prints a number from the first line of pytest's report.
attribute() { sed -n "s/.*<testsuite [^>]*\b$1=\"\([0-9]*\)\".*/\1/p" "$2" | head -n 1; }
