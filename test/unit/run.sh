#!/bin/sh
#
# Compiles the unit tests of src/core and src/provider with sanitizers and runs
# them.
#   test/unit/run.sh [NAME...]        all tests, or those named
# CC (gcc), SANITIZE (address,undefined), BUILD_DIR (tmp/unit) and MKTG_SPECS
# (../shared/specs, for published test cases) may be set.

set -eu
cd "$(dirname "$0")/../.."

cc=${CC:-gcc}
build=${BUILD_DIR:-tmp/unit}
specs=${MKTG_SPECS:-../shared/specs}
mkdir -p "$build"

perl test/unit/cases.pl mustache "$specs/mustache/interpolation.json" \
	"$specs/mustache/comments.json" > "$build/mustache_cases.h"
perl test/unit/cases.pl signature "$specs/signatures/standard-webhooks.json" \
	> "$build/signature_cases.h"
perl test/unit/cases.pl jwt "$specs/signatures/rs256-jws-rfc7520.json" \
	"$specs/signatures/fcm-service-account-jwt.json" > "$build/jwt_cases.h"
perl test/unit/cases.pl identifier "$specs/audience-hash/meta.json" "$specs/audience-hash/x.json" \
	> "$build/identifier_cases.h"
perl test/unit/cases.pl errors "$specs/errors/provider-errors.json" > "$build/error_cases.h"

if [ $# -eq 0 ]; then
	for source in test/unit/*.c; do
		set -- "$@" "$(basename "$source" .c)"
	done
fi

# one archive, so that each test links only what it names
flags="-std=gnu11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -Werror -Isrc -Itest/unit -I$build
	-fsanitize=${SANITIZE:-address,undefined} -fno-sanitize-recover=all"
objects=
for source in src/core/*.c src/provider/*.c; do
	# the one file there that knows PostgreSQL
	[ "$source" != src/provider/options.c ] || continue
	object="$build/$(echo "$source" | tr / _).o"
	$cc $flags -c "$source" -o "$object"
	objects="$objects $object"
done
rm -f "$build/core.a"
ar rc "$build/core.a" $objects

programs=
for name in "$@"; do
	$cc $flags "test/unit/$name.c" "$build/core.a" -lcurl -ljson-c -lssl -lcrypto -lm -lpthread -o "$build/$name"
	programs="$programs $build/$name"
done

exec prove ${PROVE_FLAGS:-} --exec '' $programs
