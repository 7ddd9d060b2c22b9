# shellcheck shell=bash
# What the test runners count, and how they close: sourced after lib.sh.

passed=0
failed=0
failures=()

# count PASSED FAILED WHAT: adds to the sums; WHAT is listed at the end if there was a failure.
count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
    if [ "$2" != 0 ]; then failures+=("$3"); fi
}

# close: what failed, and the one line that says how many; leaves with 1 if any did.
close() {
    printf '\n'
    local failure
    for failure in ${failures[@]+"${failures[@]}"}; do printf '✗ %s\n' "$failure"; done
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ] || exit 1
    exit 0
}

# first_failures LOG: what broke first in pytest's output, which tells most.
first_failures() { sed -n '/^=* \(FAILURES\|ERRORS\) =*$/,$p' "$1" | head -n 150 | sed 's/^/    /'; }

# attribute NAME FILE: a number from the opening line of pytest's report.
attribute() { sed -n "s/.*<testsuite [^>]*\b$1=\"\([0-9]*\)\".*/\1/p" "$2" | head -n 1; }
