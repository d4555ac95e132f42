#!/bin/bash
#
# RFM scores by ntile against one statement of three NTILE(5) windows, ties broken
# by contact_id: with the result stored, for the first time and in place of older
# scores; and the scores alone, from the same facts. Lifecycle stages against the
# aggregates they are made of. Rounds are interleaved; figures are medians of a
# round's ratios.
#
# The statement of the reference counts purchases, without making one of those of
# a day: score_rfm() does, and checks that contacts exist.
#
#	[ROUNDS=3] [CONTACTS=1000000] [PURCHASES=5000000] bench/rfm.sh
set -eu
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rounds=${ROUNDS:-3}
contacts=${CONTACTS:-1000000}
purchases=${PURCHASES:-5000000}

# shellcheck disable=SC2119 # no settings of its own
bench_start
echo "$contacts contacts, $purchases purchases; $rounds rounds"
out=$bench_tmp/rfm
rm -rf "$out"
mkdir -p "$out"
${CC:-gcc} -std=gnu11 -O2 -Wall -Wextra -Werror -Isrc bench/rfm.c src/core/rfm.c -o "$out/score"

# Facts of contacts, and their scores by windows.
facts="SELECT contact_id, date '2026-07-01' - max(placed_at)::date AS recency_days, count(*)::integer AS frequency,
	sum(amount)::bigint AS monetary FROM mktg.purchase WHERE tenant_id = 1 AND placed_at <= '2026-07-01' GROUP BY contact_id"
windows="ntile(5) OVER (ORDER BY recency_days DESC, contact_id) AS r, ntile(5) OVER (ORDER BY frequency, contact_id) AS f,
	ntile(5) OVER (ORDER BY monetary, contact_id) AS m"

sql <<-END
	CREATE SCHEMA bench;
	SELECT setseed(0.5) \g /dev/null
	INSERT INTO mktg.contact (external_id, name, email)
	SELECT 'c' || i, 'Name ' || i, 'c' || i || '@example.com' FROM generate_series(1, $contacts) i;
	-- in the order of time, by few who buy much and many who buy little
	INSERT INTO mktg.purchase (contact_id, amount, currency, placed_at, channel)
	SELECT 1 + floor($contacts * random() ^ 1.5)::bigint, (100 + 20000 * random() * random())::bigint, 'USD',
	       timestamptz '2024-01-01 00:00+00' + 900 * (i / $purchases.0) * interval '1 day', 'web'
	  FROM generate_series(1, $purchases) i;
	CREATE TABLE bench.stored (LIKE mktg.rfm_score INCLUDING ALL) WITH (fillfactor = 100);
	CREATE TABLE bench.facts AS $facts ORDER BY contact_id;
	VACUUM ANALYZE;
END

# Milliseconds of one statement, commit included; both have memory to sort in.
milliseconds()
{
	sql -c "SET work_mem = '256MB'" -c '\timing on' -c "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1
}

# The windows, stored in a table of the same key. In place of old rows where there are any.
store_windows()
{
	milliseconds "BEGIN; DELETE FROM bench.stored WHERE tenant_id = 1;
		INSERT INTO bench.stored SELECT 1, contact_id, recency_days, frequency, monetary, r, f, m,
		concat(r, f, m), 'Loyal Customers', 50 FROM (SELECT *, $windows FROM ($facts) base) scored; COMMIT"
}

for ((round = 0; round < rounds; round++)); do
	sql -c 'TRUNCATE mktg.rfm_score, bench.stored' -c 'DROP TABLE IF EXISTS bench.plain' -c CHECKPOINT
	milliseconds "SELECT mktg.score_rfm('ntile', at => '2026-07-01')" >> "$out/first"
	store_windows >> "$out/first.windows"
	sql -c CHECKPOINT
	milliseconds "SELECT mktg.score_rfm('ntile', at => '2026-07-02')" >> "$out/again"
	store_windows >> "$out/again.windows"
	milliseconds "CREATE TABLE bench.plain AS SELECT 1::bigint AS tenant_id, *, $windows FROM ($facts) base" >> "$out/plain"

	milliseconds "SELECT sum(r + 10 * f + 100 * m) FROM (SELECT $windows FROM bench.facts) scored" >> "$out/alone.windows"
	milliseconds "SELECT sum(contact_id + recency_days + frequency + monetary) FROM bench.facts" >> "$out/alone.scan"
	sql -c "COPY (SELECT * FROM bench.facts ORDER BY contact_id) TO STDOUT" | "$out/score" > "$out/alone.line"
	cut -d ' ' -f 1 "$out/alone.line" >> "$out/alone"
	wrong=$(sql -c "SELECT sum(r + 10 * f + 100 * m) - $(cut -d ' ' -f 2 "$out/alone.line") FROM (SELECT $windows FROM bench.facts) scored")
	[ "$wrong" = 0 ] || fail "scores differ from those of the windows"

	milliseconds "SELECT count(stage) FROM (SELECT mktg.lifecycle_stage(placed_at, '2026-07-01') AS stage
		FROM mktg.purchase WHERE tenant_id = 1 GROUP BY contact_id) s" >> "$out/stage"
	milliseconds "SELECT count(n), count(last) FROM (SELECT count(*) AS n, max(placed_at) AS last
		FROM mktg.purchase WHERE tenant_id = 1 GROUP BY contact_id) s" >> "$out/stage.count"
done
# what the windows took beyond reading the facts
paste "$out/alone.windows" "$out/alone.scan" | awk '{ print $1 - $2 }' > "$out/alone.net"

seconds()
{
	median < "$out/$1" | awk '{ printf "%.2f s", $1 / 1000 }'
}

echo
echo "score_rfm('ntile'): first $(seconds first), again $(seconds again)"
echo "three windows, one statement: stored $(seconds first.windows), in place of older $(seconds again.windows), CREATE TABLE AS without a key $(seconds plain)"
figure "windows stored by INSERT, over score_rfm() for the first time" "$(ratio "$out/first.windows" "$out/first")" ">=4"
figure "windows stored by DELETE and INSERT, over score_rfm() again" "$(ratio "$out/again.windows" "$out/again")" ">=4"
figure "windows in CREATE TABLE AS, over score_rfm() for the first time" "$(ratio "$out/plain" "$out/first")" "-"
figure "windows in CREATE TABLE AS, over score_rfm() again" "$(ratio "$out/plain" "$out/again")" "-"
echo
printf 'scores alone: windows %s, mktg %.0f ms\n' "$(seconds alone.net)" "$(median < "$out/alone")"
figure "windows over the scores of the same facts" "$(ratio "$out/alone.net" "$out/alone")" ">=15"
echo
echo "lifecycle_stage() by contact: $(seconds stage); count(*) and max() $(seconds stage.count)"
figure "lifecycle_stage() to count(*) and max()" "$(ratio "$out/stage" "$out/stage.count")" "-"
sql -c '\timing on' -c 'PREPARE q AS SELECT * FROM mktg.rfm_score WHERE tenant_id = 1 AND contact_id = $1' \
	-c 'EXECUTE q(7)' -c 'EXECUTE q(8)' -c 'EXECUTE q(9)' | awk '/^Time/ { t = $2 } END { printf "one contact'"'"'s scores: %.3f ms\n", t }'
[ "$bench_missed" = 0 ] || fail "$bench_missed figures missed"
