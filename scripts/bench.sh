#!/bin/bash
# Runs the benchmarks in a working copy (see work.sh): bench/*.sh, or those named.
# Each finds a server with the extension installed and prints its own ratios.
#
#	scripts/bench.sh [NAME]...
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh

bindir=$(scripts/tree.sh "$PG_CONFIG")
export PATH="$bindir:$PATH"
if [ $# = 0 ]; then
	set -- bench/*.sh
else
	set -- "${@/#/bench/}"
	set -- "${@/%/.sh}"
fi
trap 'scripts/cluster.sh stop bench' EXIT
for script; do
	case $script in *lib.sh) continue ;; esac	# what they share
	echo "== $script"
	"$script"
done
