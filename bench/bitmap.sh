#!/bin/bash
#
# Sets of ids as segments keep them (src/core/bitmap.c) against CRoaring: bytes
# stored, and the time to write one, to count a union of five, to look for an id.
# CRoaring is no dependency: without its headers there is nothing to compare with.
#
#	bench/bitmap.sh
set -eu
cd "$(dirname "$0")/.."
compiler=${CC:-gcc}
if ! echo '#include <roaring/roaring.h>' | $compiler -E - > /dev/null 2>&1; then
	echo "skipped: CRoaring is not there (libroaring-dev)"
	exit 0
fi
mkdir -p tmp/bench
$compiler -std=gnu11 -O2 -Wall -Wextra -Werror -Isrc bench/bitmap.c src/core/bitmap.c -lroaring -o tmp/bench/bitmap
echo "$(nproc) processors, load $(cut -d ' ' -f 1 /proc/loadavg)"
exec tmp/bench/bitmap
