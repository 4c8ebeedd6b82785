# For stages in sh. Results go to the standard output, everything else to the standard error, which check logs.
# Sourced as: . "$BULKHEAD_TOP/tests/stages/lib.sh"

ok() {
        echo "ok $1"
}

not_ok() {
        echo "not ok $1: $2"
}

skip() {
        echo "skip $1: $2"
}

# Prints a command and runs it.
run() {
        echo "+ $*" >&2
        "$@" >&2
}

# Runs a test program: its own result lines pass, under its name; if it prints none, its exit code is the result
# (77 is skipped, for the reason that its last line gives).
#   run_test NAME COMMAND…
run_test() {
        test_name=$1
        shift
        test_out=$(mktemp)
        echo "+ $*" >&2
        test_status=0
        "$@" >"$test_out" || test_status=$?
        grep -v -E '^(ok|not ok|skip) ' "$test_out" >&2
        sed -n -E "s|^(ok\|not ok\|skip) |\1 $test_name/|p" "$test_out"
        if [ $test_status -eq 77 ]; then
                skip "$test_name" "$(tail -n 1 "$test_out" | grep . || echo 'it says that it cannot run here')"
        elif [ $test_status -eq 124 ] || [ $test_status -eq 137 ]; then
                not_ok "$test_name" 'not done in time'
        elif [ $test_status -ne 0 ]; then
                grep -q '^not ok ' "$test_out" || not_ok "$test_name" "ended with status $test_status"
        else
                grep -q -E '^(ok|not ok|skip) ' "$test_out" || ok "$test_name"
        fi
        rm -f "$test_out"
}

# Runs what prints results, and once more if one of them is `not ok`: tests with deadlines in real time miss some on a busy machine. No
# more than $repeats_left of a stage are repeated; a first failure is shown as a skip, so that it is seen and counted, and a second
# one counts. Never for a test whose failing now and then is the very thing that it looks for.
#   repeat_once NAME COMMAND…
repeats_left=3
repeat_once() {
        repeat_name=$1
        shift
        repeat_out=$(mktemp)
        "$@" >"$repeat_out"
        if [ $repeats_left -gt 0 ] && grep -q '^not ok ' "$repeat_out"; then
                repeats_left=$((repeats_left - 1))
                echo "REPEATED: $repeat_name failed at first:" >&2
                grep '^not ok ' "$repeat_out" >&2
                repeat_first=$(sed -n 's/^not ok //p' "$repeat_out" | head -n 1 | cut -c 1-200)
                "$@" >"$repeat_out"
                grep -q '^not ok ' "$repeat_out" || skip "$repeat_name/first-run" "failed, and passed when repeated: $repeat_first"
        fi
        cat "$repeat_out"
        rm -f "$repeat_out"
}

# Makes or renews a build folder: configure NAME MESON-OPTION…; the folder is $BULKHEAD_TOP/build/NAME.
configure() {
        folder=$BULKHEAD_TOP/build/$1
        shift
        if [ -f "$folder/build.ninja" ]; then
                run meson configure "$folder" "$@"
        else
                run meson setup "$folder" "$BULKHEAD_TOP" "$@"
        fi
}

# One result line per test of a meson run: meson_results FOLDER
meson_results() {
        /usr/bin/python3 - "$1/meson-logs/testlog.json" <<'END'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as log:
    for line in log:
        test = json.loads(line)
        name = test["name"].split(" / ")[-1].replace(" ", "-")
        output = (test.get("stdout", "") + test.get("stderr", "")).strip().split("\n")
        if test["result"] in ("OK", "EXPECTEDFAIL"):
            print("ok", name)
        elif test["result"] == "SKIP":
            print("skip %s: %s" % (name, output[-1] or "it says that it cannot run here"))
        else:
            print("not ok %s: %s, returned %s: %s" % (name, test["result"], test["returncode"], output[-1][:200]))
END
}
