# lib.sh: what the benchmarks with a database share; sourced by them.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
. scripts/lib.sh
command -v pgbench > /dev/null || fail "run it by make bench, which brings a server"

# bench_start [CONFIGURATION LINE]...
# A private cluster as durable as PostgreSQL is by default, with the extension
# installed in database "bench" and nothing that works in the background. It is
# stopped at exit.
bench_start()
{
	bench_tmp=$PWD/tmp/bench
	mkdir -p "$bench_tmp"
	trap 'scripts/cluster.sh stop bench' EXIT
	scripts/cluster.sh start bench "mktg.databases = ''" "fsync = on" "synchronous_commit = on" \
		"autovacuum = off" "shared_buffers = 512MB" "maintenance_work_mem = 256MB" \
		"max_wal_size = 16GB" "checkpoint_timeout = 1h" "jit = off" "$@"
	read -r -a bench_options <<< "$(scripts/cluster.sh options bench)"
	psql -X -q "${bench_options[@]}" -d postgres -c 'CREATE DATABASE bench'
	sql -c 'CREATE EXTENSION mktg' -c 'SELECT mktg.install()' > /dev/null
	echo "PostgreSQL $(sql -c 'SHOW server_version'), $(nproc) processors, load $(cut -d ' ' -f 1 /proc/loadavg)"
}

# psql on it: bare output, stops at an error
sql()
{
	PGOPTIONS='-c client_min_messages=warning' psql -X -q -A -t -v ON_ERROR_STOP=1 "${bench_options[@]}" -d bench "$@"
}

# pgbench on it, with prepared statements: bench_pgbench SCRIPT [OPTION]...
# Prints "LATENCY-IN-MS TRANSACTIONS-A-SECOND".
bench_pgbench()
{
	local script=$1
	shift
	pgbench -n -M prepared -f "$script" "$@" "${bench_options[@]}" bench 2> "$bench_tmp/pgbench.log" |
		awk '/^latency average/ { latency = $4 } /^tps/ { tps = $3 }
			END { if (!tps) exit 1; print latency, tps }' || { cat "$bench_tmp/pgbench.log" >&2; exit 1; }
}

# The median of numbers, one a line.
median()
{
	sort -g | awk '{ n[NR] = $1 } END { print NR % 2 ? n[(NR + 1) / 2] : (n[NR / 2] + n[NR / 2 + 1]) / 2 }'
}

# The median of the ratios of two files' lines: a round's figures stand on the
# same line of both.
ratio()
{
	paste "$1" "$2" | awk '{ print $1 / $2 }' | median
}

# figure NAME RATIO BOUND: "<=1.2", ">=0.7", "0.8..1.2" or "-" for a reference.
# Prints a line and counts what was missed.
bench_missed=0
figure()
{
	local verdict
	verdict=$(awk -v r="$2" -v b="$3" 'BEGIN {
		if (b == "-") ok = -1
		else if (b ~ /^<=/) ok = r <= substr(b, 3) + 0
		else if (b ~ /^>=/) ok = r >= substr(b, 3) + 0
		else { split(b, e, /\.\./); ok = r >= e[1] + 0 && r <= e[2] + 0 }
		print ok < 0 ? "reference" : ok ? "ok" : "MISSED" }')
	[ "$verdict" != MISSED ] || bench_missed=$((bench_missed + 1))
	printf '%-66s %9.3f  %-9s %s\n' "$1" "$2" "$3" "$verdict"
}
