#!/bin/bash
#
# Long drains: what a queue of many messages does to rate and memory, what an
# old snapshot does to rate and size, what a slow drain does to others.
#
#	[MILLION=200000] [SNAPSHOT_SECONDS=60] [BYSTANDER_SECONDS=30] [ROUNDS=3] bench/drain.sh
#
# As the figures are meant: MILLION=1000000 SNAPSHOT_SECONDS=600.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=bench/delivery_lib.sh
. bench/delivery_lib.sh
rounds=${ROUNDS:-3}
million=${MILLION:-200000}
snapshot_seconds=${SNAPSHOT_SECONDS:-60}
bystander_seconds=${BYSTANDER_SECONDS:-30}
piece=$((million < 50000 ? million : 50000))

delivery_start
make_contacts "$million"
find_worker
use_in_flight 256

# kB of memory that is the worker's alone
worker_memory()
{
	awk '/^RssAnon/ { print $2 }' "/proc/$worker/status"
}

# MB of the queue's table and of its indexes
queue_size()
{
	sql -F ' ' -c "SELECT round(pg_table_size('mktg.outbox') / 1e6, 1), round(pg_indexes_size('mktg.outbox') / 1e6, 1)"
}

# ---- many messages ----

before=$(worker_memory)
queue webhook news web "$million"
echo "$million messages wait; the queue has $(queue_size) MB of table and indexes"
while [ "$(sql -c "SELECT queued FROM mktg.campaign_stats($campaign)")" != 0 ]; do
	echo "$(worker_memory)" >> "$out/memory"
	sleep 1
done
rate=$(rate_sent "$million")
# rate of the first and of the last tenth, by the order in which they were sent
sql -F ' ' > "$out/tenths" <<-END
	SELECT count(*) FILTER (WHERE tenth = 1) / extract(epoch FROM max(sent_at) FILTER (WHERE tenth = 1) - min(sent_at) FILTER (WHERE tenth = 1)),
	       count(*) FILTER (WHERE tenth = 10) / extract(epoch FROM max(sent_at) FILTER (WHERE tenth = 10) - min(sent_at) FILTER (WHERE tenth = 10))
	FROM (SELECT sent_at, ntile(10) OVER (ORDER BY sent_at) AS tenth FROM mktg.message WHERE tenant_id = 1 AND campaign_id = $campaign) s
END
read -r first last < "$out/tenths"
printf '%.0f/s in all; the first tenth %.0f/s, the last %.0f/s\n' "$rate" "$first" "$last"
figure "rate of the last tenth, to the first" "$(awk -v a="$last" -v b="$first" 'BEGIN { print a / b }')" ">=0.9"
awk -v before="$before" '{ m[NR] = $1 } END {
	early = m[int((NR + 9) / 10)]; printf "memory of the worker alone: %d kB before, %d kB after a tenth of the time, %d kB at the end\n", before, early, m[NR]
	print m[NR] / early > "'"$out"'/growth" }' "$out/memory"
figure "memory at the end, to that after a tenth of the time" "$(cat "$out/growth")" "<=1.1"
sql -c 'TRUNCATE mktg.message'

# ---- an old snapshot ----

# drain_pieces NAME SECONDS: campaigns one after another, for as long
drain_pieces()
{
	local end=$((SECONDS + $2))
	while [ $SECONDS -lt $end ]; do
		queue webhook news web "$piece"
		wait_sent
		rate_sent "$piece" >> "$out/$1"
		queue_size >> "$out/$1.size"
	done
}
echo
echo "campaigns of $piece, one after another: $snapshot_seconds s without an old snapshot, then as long with one"
sql -c 'VACUUM mktg.outbox'
drain_pieces young "$snapshot_seconds"
mkfifo "$out/hold"
sql < "$out/hold" > "$out/held" &
started+=($!)
exec 7> "$out/hold"
echo "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM mktg.tenant;" >&7
until [ -s "$out/held" ]; do sleep 0.1; done
drain_pieces old "$snapshot_seconds"
exec 7>&-
wait "${started[-1]}" || true
printf 'without: %.0f/s, median of %d; with: %.0f/s, median of %d, the last %.0f/s\n' \
	"$(median < "$out/young")" "$(wc -l < "$out/young")" "$(median < "$out/old")" "$(wc -l < "$out/old")" "$(tail -n 1 "$out/old")"
echo "MB of the queue's table and indexes: $(tail -n 1 "$out/young.size") without; with, after each campaign: $(paste -s -d , "$out/old.size")"
figure "rate with an old snapshot, to the rate without" "$(awk -v a="$(median < "$out/old")" -v b="$(median < "$out/young")" 'BEGIN { print a / b }')" ">=0.8"
figure "the same of the last campaign" "$(awk -v a="$(tail -n 1 "$out/old")" -v b="$(median < "$out/young")" 'BEGIN { print a / b }')" ">=0.8"
drain_pieces after 1
echo "after it has gone: $(tail -n 1 "$out/after")/s, $(tail -n 1 "$out/after.size") MB"
sql -c 'TRUNCATE mktg.message'

# ---- a bystander ----

sql -c 'CREATE TABLE bystander (id integer PRIMARY KEY, value integer NOT NULL)' \
	-c 'INSERT INTO bystander SELECT i, 0 FROM generate_series(1, 100000) i' -c 'VACUUM ANALYZE bystander'
cat > "$out/bystander.pgbench" <<-'END'
	\set id random(1, 100000)
	BEGIN;
	SELECT value FROM bystander WHERE id = :id;
	UPDATE bystander SET value = value + 1 WHERE id = :id;
	COMMIT;
END
# bystander NAME: notes the latency in ms that 99 of 100 transactions stay within
bystander()
{
	rm -f "$out"/by.*
	pgbench -n -M prepared -f "$out/bystander.pgbench" -R 200 -c 4 -T "$bystander_seconds" -l --log-prefix="$out/by" \
		"${bench_options[@]}" bench > "$out/pgbench.log" 2>&1
	cut -d ' ' -f 3 "$out"/by.* | sort -n | awk '{ n[NR] = $1 } END { print n[int(NR * 0.99)] / 1e3 }' >> "$out/bystander.$1"
}
sql -c "SELECT mktg.set_sender('web', 'web', 'webhook', rate_per_second => 500)" > /dev/null
for ((round = 0; round < rounds; round++)); do
	bystander alone
	queue webhook news web $((piece < 500 * (bystander_seconds + 10) ? piece : 500 * (bystander_seconds + 10)))
	sleep 2
	waiting=$(sql -c "SELECT queued FROM mktg.campaign_stats($campaign)")
	bystander draining
	now=$(sql -c "SELECT queued FROM mktg.campaign_stats($campaign)")
	awk -v n=$((waiting - now)) -v s="$bystander_seconds" 'BEGIN { print n / s }' >> "$out/drained"
	sql -c "SELECT mktg.cancel_campaign($campaign)" > /dev/null
	wait_sent
done
echo
printf 'pgbench on another table, 200 transactions a second: 99 of 100 within %.2f ms alone, %.2f ms while %.0f messages/s are sent\n' \
	"$(median < "$out/bystander.alone")" "$(median < "$out/bystander.draining")" "$(median < "$out/drained")"
figure "99th percentile while 500/s are sent, to that alone" "$(ratio "$out/bystander.draining" "$out/bystander.alone")" "<=1.1"
[ "$bench_missed" = 0 ] || fail "$bench_missed figures missed"
