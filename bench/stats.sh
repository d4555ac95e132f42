#!/bin/bash
#
# Statistics: what the trigger costs, against no trigger and against what else
# one might write. Rounds are interleaved, in turning order; figures are
# medians of a round's ratios.
#
#	[ROUNDS=31] bench/stats.sh
set -eu
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rounds=${ROUNDS:-31}

bench_start
echo "three campaigns, 1,110,000 recipients; $rounds rounds"
sql -f bench/stats.sql
out=$bench_tmp/stats
rm -rf "$out"
mkdir -p "$out"

update_one()
{
	cat <<-END
		\\set p random(1, $2)
		UPDATE mktg.message SET status = CASE status WHEN 'sent' THEN 'delivered' ELSE 'sent' END, sent_at = now()
		 WHERE tenant_id = 1 AND campaign_id = $1 AND contact_id = :p AND ref = '';
	END
}
update_many()
{
	cat <<-END
		\\set p random(1, $2 - $3 + 1)
		UPDATE mktg.message SET status = CASE status WHEN 'sent' THEN 'delivered' ELSE 'sent' END, sent_at = now()
		 WHERE tenant_id = 1 AND campaign_id = $1 AND position >= :p AND position < :p + $3;
	END
}
update_one 2 1000000 > "$out/1.pgbench"
update_many 2 1000000 100 > "$out/100.pgbench"
update_many 2 1000000 10000 > "$out/10000.pgbench"

# Every way to count in turn, another first each round:
# interleave ROUNDS FILE COMMAND WAY..., where the command prints a figure that
# goes to FILE.WAY.
interleave()
{
	local rounds=$1 file=$out/$2 command=$3 round way
	shift 3
	for ((round = 1; round <= rounds; round++)); do
		for way; do
			sql -c "SELECT bench.use('$way')" > /dev/null
			$command >> "$file.$way"
		done
		set -- "${@:2}" "$1"
		[ $((round % 5)) != 0 ] || sql -c 'VACUUM mktg.message' -c 'VACUUM mktg.campaign_stat' -c 'VACUUM bench.plain'
	done
}

# Microseconds of a statement: CAMPAIGN RECIPIENTS SIZE STATEMENTS
alone()
{
	sql -c "SELECT bench.time_update($1, $2, $3, $4)"
}

# The same, prepared by a client that waits for each commit: SIZE STATEMENTS
committed()
{
	bench_pgbench "$out/$1.pgbench" -t "$2" | awk '{ print $1 * 1000 }'
}

# ---- one session ----

for size in 10000:1 100:50 1:1000; do
	interleave "$rounds" "alone.${size%:*}" "alone 2 1000000 ${size%:*} ${size#*:}" none mktg plain
done
for size in 10000:1 100:50 1:200; do
	interleave "$rounds" "commit.${size%:*}" "committed ${size%:*} ${size#*:}" none mktg plain
done

echo
echo "time of a statement, campaign of 1,000,000 recipients; ratio to no trigger"
for size in 10000:1.15 100:1.2 1:1.25; do
	bound=${size#*:} size=${size%:*}
	printf '%s updated: %.1f us without trigger, %.1f us with it; with commit %.0f and %.0f us\n' "$size" \
		"$(median < "$out/alone.$size.none")" "$(median < "$out/alone.$size.mktg")" \
		"$(median < "$out/commit.$size.none")" "$(median < "$out/commit.$size.mktg")"
	figure "$size in one statement" "$(ratio "$out/alone.$size.mktg" "$out/alone.$size.none")" "<=$bound"
	figure "$size in one statement, prepared, committed" "$(ratio "$out/commit.$size.mktg" "$out/commit.$size.none")" "<=$bound"
	figure "  plain PL/pgSQL statement trigger" "$(ratio "$out/alone.$size.plain" "$out/alone.$size.none")" -
	figure "  the same, prepared, committed" "$(ratio "$out/commit.$size.plain" "$out/commit.$size.none")" -
done

# ---- size of the campaign ----

# The same statement in both, 100 recipients at a time; and EXPLAIN's word on
# the trigger, for 10,000.
sizes()
{
	echo "$(alone 1 10000 100 50) $(alone 2 1000000 100 50)"
}
triggers()
{
	# each in a session of its own: what ran before decides how warm its memory is
	local at="FROM generate_series(1, 5)"
	echo "$(sql -c "SELECT min(bench.time_trigger(1, 10000, 10000)) $at") $(sql -c "SELECT min(bench.time_trigger(2, 1000000, 10000)) $at")"
}
interleave "$rounds" sizes sizes none mktg
interleave "$rounds" triggers triggers mktg
for file in "$out"/sizes.none "$out"/sizes.mktg "$out"/triggers.mktg; do
	cut -d ' ' -f 1 "$file" > "$file.small"
	cut -d ' ' -f 2 "$file" > "$file.large"
done

echo
echo "cost per row in a campaign of 1,000,000; ratio to one of 10,000"
printf 'trigger alone: %.3f us a row of 10,000 in the small campaign, %.3f in the large one\n' \
	"$(median < "$out/triggers.mktg.small" | awk '{ print $1 / 10000 }')" "$(median < "$out/triggers.mktg.large" | awk '{ print $1 / 10000 }')"
figure "trigger alone" "$(ratio "$out/triggers.mktg.large" "$out/triggers.mktg.small")" 0.8..1.2
figure "statement with trigger" "$(ratio "$out/sizes.mktg.large" "$out/sizes.mktg.small")" 0.8..1.2
figure "  statement without trigger" "$(ratio "$out/sizes.none.large" "$out/sizes.none.small")" -

# ---- recounting ----

# As many rows as end in a few seconds; what a row costs does not depend on how many.
recounts()
{
	# shellcheck disable=SC2154 # interleave's
	if [ "$way" = none ]; then
		alone "$1" "$2" 10 50
	else
		alone "$1" "$2" 10 1
	fi
}
interleave 5 naive.10000 "recounts 1 10000" none naive
interleave 5 naive.100000 "recounts 3 100000" none naive

echo
echo "a row trigger that recounts the campaign; time per row, ratio to no trigger (10 rows measured)"
figure "  recounting trigger, campaign of 10,000" "$(ratio "$out/naive.10000.naive" "$out/naive.10000.none")" -
figure "  recounting trigger, campaign of 100,000" "$(ratio "$out/naive.100000.naive" "$out/naive.100000.none")" -

# ---- many statements in one transaction ----

interleave 5 transaction "alone 2 1000000 1 10000" none mktg plain

echo
echo "10,000 one-row statements in one transaction, which keeps every version of the counters"
figure "one-row statement" "$(ratio "$out/transaction.mktg" "$out/transaction.none")" -
figure "  plain PL/pgSQL statement trigger" "$(ratio "$out/transaction.plain" "$out/transaction.none")" -

# ---- concurrent sessions ----

clients()
{
	bench_pgbench "$out/1.pgbench" -c 8 -j 2 -T 1 | cut -d ' ' -f 2
}
interleave "$rounds" clients clients none mktg plain

echo
echo "8 clients, one-row updates in one campaign, each committed; throughput, ratio to no trigger"
printf '%.0f/s without trigger, %.0f/s with it, %.0f/s with one counter row\n' \
	"$(median < "$out/clients.none")" "$(median < "$out/clients.mktg")" "$(median < "$out/clients.plain")"
figure "8 clients" "$(ratio "$out/clients.mktg" "$out/clients.none")" ">=0.7"
figure "  statement trigger with one counter row" "$(ratio "$out/clients.plain" "$out/clients.none")" -

# ---- and the counters are right ----

sql -c "SELECT bench.use('mktg')" -c 'SELECT mktg.rebuild_stats(2)' > /dev/null
bench_pgbench "$out/1.pgbench" -c 8 -j 2 -T 3 > /dev/null
bench_pgbench "$out/10000.pgbench" -t 3 > /dev/null
echo
echo "counters wrong after 8 clients: $(sql -c 'SELECT mktg.rebuild_stats(2)')"
[ "$bench_missed" = 0 ] || fail "$bench_missed figures missed"
