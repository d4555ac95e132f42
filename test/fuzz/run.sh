#!/bin/sh
#
# Builds the fuzzers with clang and runs each.
#   test/fuzz/run.sh [SECONDS [NAME...]]     60 seconds, all of them
# 0 seconds only repeats the corpus.  Prints TAP.  An input that breaks something is left in
# tmp/fuzz and belongs into the corpus once it is understood.

set -eu
cd "$(dirname "$0")/../.."

seconds=${1:-60}
[ $# -eq 0 ] || shift
cc=${CLANG:-clang}
build=${BUILD_DIR:-tmp/fuzz}
mkdir -p "$build"

# without -fwrapv, so that UBSan sees overflow
flags="-std=gnu11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -Wno-unused-parameter -Werror -Isrc -Itest/fuzz
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all"

echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n);
int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return 0; }' > "$build/probe.c"
if ! $cc $flags "$build/probe.c" -o "$build/probe" 2> "$build/probe.log"; then
	echo "1..0 # SKIP $cc with libFuzzer is not here (Debian: clang libclang-rt-dev)"
	exit 0
fi

if [ $# -eq 0 ]; then
	for source in test/fuzz/*.c; do
		set -- "$@" "$(basename "$source" .c)"
	done
fi

failed=0
number=0
for name in "$@"; do
	# replies and data are the drivers' to read; options.c alone there knows PostgreSQL
	case $name in
		reply | data) drivers="$(find src/provider -name '*.c' ! -name options.c) -lcurl -lpthread" ;;
		*) drivers= ;;
	esac
	$cc $flags "test/fuzz/$name.c" src/core/*.c $drivers -ljson-c -lcrypto -o "$build/$name"
	mkdir -p "$build/corpus/$name"
	limit="-max_total_time=$seconds"
	[ "$seconds" -gt 0 ] || limit="-runs=0"
	if "$build/$name" "$limit" -max_len=4096 -print_final_stats=1 -artifact_prefix="$build/$name-" \
		"$build/corpus/$name" "test/fuzz/corpus/$name" > "$build/$name.log" 2>&1; then
		echo "ok $((number += 1)) - fuzz: $name, $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log") runs"
	else
		echo "not ok $((number += 1)) - fuzz: $name, see $build/$name.log"
		tail -30 "$build/$name.log" | sed 's/^/# /'
		failed=1
	fi
done
echo "1..$number"
exit $failed
