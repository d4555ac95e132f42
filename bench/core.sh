#!/bin/sh
#
# Rendering, escaping and signing, each against a reference: bench/core.sh

set -eu
cd "$(dirname "$0")/.."
mkdir -p tmp/bench
${CC:-gcc} -std=gnu11 -O2 -Wall -Wextra -Werror -Isrc bench/core.c src/core/*.c -lcrypto -o tmp/bench/core
exec tmp/bench/core
