#!/bin/bash
#
# Segments: all of the catalogue brought up to date against the same by hand, one
# segment alone against the best statement for its count, what changed against
# everything, audiences and storage against a row a member, one contact against
# one rule, memory, and what marks cost those who write. Rounds are interleaved,
# the reference beside everything measured; figures are medians of a round's
# ratios. At last the time a contact takes with fewer and more of them.
#
#	[ROUNDS=3] [CONTACTS=1000000] [GROWTH="100000 1000000"] bench/segment.sh
#
# 3,000,000 contacts take 30 GB; they are left out where the disk has no room.
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rounds=${ROUNDS:-3}
contacts=${CONTACTS:-1000000}
growth=${GROWTH:-100000 1000000}
at='2026-01-01 00:00+00'
time="timestamptz '$at'"

# a quarter of the memory for the buffers, as is usual, up to 4 GB
buffers=$(awk '/^MemTotal/ { mb = int($2 / 4096); print mb < 4096 ? mb : 4096 }' /proc/meminfo)
# whoever asks, it is the same instant
bench_start "shared_buffers = ${buffers}MB" "mktg.clock = '$at'" "timezone = 'UTC'"
out=$bench_tmp/segment
rm -rf "$out"
mkdir -p "$out"

# Milliseconds of the statements of a file or of one -c, psql's start left out.
# Both sides have the memory that the reference needs for grouping.
milliseconds()
{
	sql -v at="$at" -c "SET work_mem = '256MB'" -c '\timing on' "$@" |
		awk '/^Time: / { total += $2 } END { print total }'
}

# A new database with N contacts, scored, and the catalogue.
fill()
{
	PGOPTIONS='-c client_min_messages=warning' psql -X -q "${bench_options[@]}" -d postgres -c 'DROP DATABASE IF EXISTS bench' -c 'CREATE DATABASE bench'
	sql -c 'CREATE EXTENSION mktg' -c 'SELECT mktg.install()' > /dev/null
	sql -v contacts="$1" -v purchases_per_contact=5 -v at="$at" -f bench/segment_data.sql
	sql -c 'SELECT mktg.score_rfm()' -c 'SELECT mktg.load_segment_catalog()' \
		-c 'VACUUM ANALYZE mktg.rfm_score, mktg.segment' > /dev/null
}

# Nobody is a member; as after create_segment().
empty()
{
	sql -c 'TRUNCATE mktg.segment_bitmap, mktg.segment_due' \
		-c 'UPDATE mktg.segment SET size = 0, refreshed_at = NULL, calendar_due = NULL' \
		-c 'VACUUM ANALYZE mktg.segment' -c CHECKPOINT
}

refresh()
{
	milliseconds -c 'SELECT count(*) FROM mktg.refresh_segments()'
}

# refresh_both NAME: from empty memberships, and again.
refresh_both()
{
	empty
	refresh >> "$out/$1.empty"
	sql -c 'VACUUM mktg.segment_bitmap, mktg.segment_due, mktg.segment' -c CHECKPOINT
	refresh >> "$out/$1.full"
	sql -c 'VACUUM mktg.segment_bitmap, mktg.segment_due, mktg.segment'
}

only_fifty()
{
	sql -c 'SELECT mktg.drop_segment(segment_id) FROM mktg.segment WHERE segment_id > 50' > /dev/null
}

seconds()
{
	median < "$out/$1" | awk '{ printf "%.2f s", $1 / 1000 }'
}

# ---- all segments ----

all_segments()
{
	local wrong round

	for ((round = 0; round < rounds; round++)); do
		sql -c 'SELECT mktg.load_segment_catalog()' > /dev/null
		refresh_both all
		only_fifty
		refresh_both fifty
		sql -c 'TRUNCATE bench.member' -c CHECKPOINT
		milliseconds -f bench/segment_reference.sql >> "$out/reference"
		[ "$round" = 0 ] || continue
		wrong=$(sql <<-'END'
			SET work_mem = '256MB';
			SELECT string_agg(name, ', ') FROM mktg.segment s LEFT JOIN
			  (SELECT segment_id, count(*) AS n, bit_xor(hashint8extended(contact_id, 1)) AS a, bit_xor(hashint8extended(contact_id, 2)) AS b
			     FROM mktg.segment_member GROUP BY segment_id) m USING (segment_id) LEFT JOIN
			  (SELECT segment AS segment_id, count(*) AS n, bit_xor(hashint8extended(contact_id, 1)) AS a, bit_xor(hashint8extended(contact_id, 2)) AS b
			     FROM bench.member GROUP BY segment) r USING (segment_id)
			 WHERE (m.n, m.a, m.b) IS DISTINCT FROM (r.n, r.a, r.b) OR s.size IS DISTINCT FROM r.n;
		END
		)
		[ -z "$wrong" ] || fail "members differ from the reference's: $wrong"
	done
	echo
	echo "refresh_segments() of 67: from empty $(seconds all.empty), again $(seconds all.full); of the fifty $(seconds fifty.empty), $(seconds fifty.full)"
	echo "fifty INSERT ... SELECT: $(seconds reference), $(sql -c 'SELECT count(*) FROM bench.member') members; members are equal in each segment"
	figure "fifty INSERT ... SELECT, over refresh_segments() of the fifty" "$(ratio "$out/reference" "$out/fifty.empty")" ">=15"
	figure "the same, over the fifty again" "$(ratio "$out/reference" "$out/fifty.full")" ">=15"
	figure "the same, over all 67 from empty" "$(ratio "$out/reference" "$out/all.empty")" "-"
	figure "the same, over all 67 again" "$(ratio "$out/reference" "$out/all.full")" "-"
}

# ---- audiences and storage, of the fifty ----

# Median milliseconds of each statement of a file, which stand after names.
# All must give the same.
#	compare FILE: lines "NAME<tab>STATEMENT"; prints "NAME MILLISECONDS" lines
compare()
{
	local runs=5 i
	{
		echo "SET work_mem = '256MB';"
		awk -F '\t' '{ print "PREPARE " $1 " AS " $2 ";" }' "$1"
		echo '\timing on'
		for ((i = 0; i < runs; i++)); do
			awk -F '\t' '{ print "\\echo " $1 "\nEXECUTE " $1 ";" }' "$1"
		done
	} > "$out/compare.sql"
	sql -f "$out/compare.sql" > "$out/compare"
	awk '/^[0-9]+$/ { if (n++ && $1 != answer) { print "answers differ: " answer " and " $1 > "/dev/stderr"; exit 1 } answer = $1 }
		/^[a-z]/ { name = $1 } /^Time: / { if (seen[name]++) print name, $2 }' "$out/compare" > "$out/compare.times" ||
		fail "in $(cat "$1")"
	awk '!seen[$1]++ { print $1 }' "$out/compare.times" | while read -r name; do
		echo "$name $(awk -v name="$name" '$1 == name { print $2 }' "$out/compare.times" | median)"
	done
}

# fives LABEL SEGMENTS: one set of five; included all, and three less two
fives()
{
	local list=$1 first=${1%,*,*} rest
	rest=${list#"$first,"}
	printf '%s\t%s\n' ours "SELECT mktg.audience_size('{$list}')" \
		by_distinct "SELECT count(DISTINCT contact_id) FROM bench.member WHERE segment IN ($list)" \
		by_group "SELECT count(*) FROM (SELECT contact_id FROM bench.member WHERE segment IN ($list) GROUP BY contact_id) m" > "$out/fives"
	compare "$out/fives" | sed 's/^/any /' >> "$out/fives.times"
	printf '%s\t%s\n' ours "SELECT mktg.audience_size('{$first}', '{$rest}')" \
		by_except "SELECT count(*) FROM (SELECT contact_id FROM bench.member WHERE segment IN ($first) EXCEPT SELECT contact_id FROM bench.member WHERE segment IN ($rest)) m" \
		by_group "SELECT count(*) FROM (SELECT contact_id FROM bench.member WHERE segment IN ($list) GROUP BY contact_id HAVING bool_and(segment IN ($first))) m" > "$out/fives"
	compare "$out/fives" | sed 's/^/less /' >> "$out/fives.times"
}

audiences()
{
	local ours member
	sql -c 'VACUUM FULL mktg.segment_bitmap' -c 'VACUUM FULL bench.member' -c 'VACUUM ANALYZE mktg.segment_bitmap, bench.member'
	ours=$(sql -c "SELECT pg_total_relation_size('mktg.segment_bitmap')")
	member=$(sql -c "SELECT pg_total_relation_size('bench.member')")
	: > "$out/fives.times"
	fives "$(sql -c "SELECT string_agg(segment_id::text, ',') FROM (SELECT segment_id FROM mktg.segment ORDER BY size DESC LIMIT 5) s")"
	fives "$(sql -c "SELECT string_agg(segment_id::text, ',') FROM (SELECT segment_id FROM mktg.segment ORDER BY size LIMIT 5) s")"
	for i in 1 2 3; do
		fives "$(sql -c "SELECT string_agg(segment_id::text, ',') FROM (SELECT segment_id FROM mktg.segment ORDER BY hashint8extended(segment_id, $i) LIMIT 5) s")"
	done
	# lines come in groups: ours, then the ways by hand
	awk '$2 == "ours" { if (n) print ours, best; n++; ours = $3; best = 1e18; next } $3 < best { best = $3 }
		END { print ours, best }' "$out/fives.times" > "$out/fives.pairs"
	echo
	printf 'audience_size() over the fives: %s ms; by rows %s ms (largest, smallest, three by chance; any of five, three less two)\n' \
		"$(cut -d ' ' -f 1 "$out/fives.pairs" | paste -sd ' ')" "$(cut -d ' ' -f 2 "$out/fives.pairs" | paste -sd ' ')"
	figure "audience_size() over five segments, slowest of the fives, ms" "$(cut -d ' ' -f 1 "$out/fives.pairs" | sort -g | tail -n 1)" "<=5"
	figure "the same over bench.member, over audience_size(): median" "$(awk '{ print $2 / $1 }' "$out/fives.pairs" | median)" ">=100"
	figure "the same, over the five largest" "$(awk 'NR == 1 { print $2 / $1 }' "$out/fives.pairs")" "-"
	figure "the same, over the five smallest" "$(awk 'NR == 3 { print $2 / $1 }' "$out/fives.pairs")" "-"
	printf 'storage of the fifty: %.2f MB; a row a member %.0f MB\n' "$(awk -v b="$ours" 'BEGIN { print b / 1e6 }')" "$(awk -v b="$member" 'BEGIN { print b / 1e6 }')"
	figure "storage of the fifty, to a row a member" "$(awk -v a="$ours" -v b="$member" 'BEGIN { print a / b }')" "<=0.05"
}

# ---- one segment alone ----

# alone NAME RULES STATEMENT...: each statement counts the same; the fastest is
# the reference.  Sources need no foreign key to contacts: a statement that trusts
# that there is a contact for each row begins with TRUST, and stands beside.
alone()
{
	local name=$1 i=0 statement kind
	printf 'ours\tSELECT mktg.estimate_segment($r$%s$r$)\n' "${2//[$'\n\t']/ }" > "$out/alone"
	shift 2
	for statement; do
		i=$((i + 1))
		kind=way
		[ "${statement#TRUST }" = "$statement" ] || kind=trust
		statement=${statement#TRUST }
		printf '%s%d\t%s\n' "$kind" "$i" "${statement//[$'\n\t']/ }" >> "$out/alone"
	done
	compare "$out/alone" > "$out/alone.times"
	awk -v name="$name" '$1 == "ours" { ours = $2 }
		$1 ~ /^way/ { by = by " " $2; if (!best || $2 < best) best = $2 }
		$1 ~ /^trust/ { trusting = trusting " " $2; if (!trust || $2 < trust) trust = $2 }
		END { printf "%s: %.1f ms; by hand%s ms%s\n", name, ours, by, trusting == "" ? "" : "; trusting" trusting " ms"
			print ours / best, trust ? ours / trust : "" > "'"$out/alone.ratio"'" }' "$out/alone.times"
	figure "estimate_segment: $name" "$(cut -d ' ' -f 1 "$out/alone.ratio")" "<=1.2"
	[ -z "$(cut -d ' ' -f 2 "$out/alone.ratio")" ] ||
		figure "  the same, to one that trusts that there are contacts" "$(cut -d ' ' -f 2 "$out/alone.ratio")" "-"
}

one_segment()
{
	local past="placed_at <= $time"
	local year="placed_at > $time - interval '365 days' AND placed_at <= $time"
	local major="sum(CASE WHEN currency IS NULL OR currency = 'USD' THEN amount END)"
	local premium="attributes ->> 'cabin' IN ('BUSINESS', 'FIRST')"
	local best="segment IN ('Champions', 'Loyal Customers')"

	sql -c 'CREATE INDEX contact_city ON mktg.contact (tenant_id, city)' -c 'VACUUM ANALYZE mktg.contact'
	echo
	echo "one segment alone: estimate_segment() to the fastest statement by hand, prepared, warm"
	alone "city, with an index" '{"city": "Montreal"}' \
		"SELECT count(*) FROM mktg.contact WHERE tenant_id = 1 AND city = 'Montreal'"
	alone "tag" '{"field": "customer.tags", "operator": "CONTAINS", "value": "corporate"}' \
		"SELECT count(*) FROM mktg.contact WHERE tenant_id = 1 AND 'corporate' = ANY (tags)" \
		"SELECT count(*) FROM mktg.contact WHERE tenant_id = 1 AND tags @> '{corporate}'"
	alone "spend" '{"field": "customer.totalSpend", "operator": ">=", "value": 5000}' \
		"SELECT count(*) FROM (SELECT contact_id FROM mktg.purchase WHERE tenant_id = 1 AND $past GROUP BY contact_id HAVING $major >= 500000) p
			JOIN mktg.contact c ON c.tenant_id = 1 AND c.contact_id = p.contact_id" \
		"TRUST SELECT count(*) FILTER (WHERE spent >= 500000) FROM (SELECT $major AS spent FROM mktg.purchase WHERE tenant_id = 1 AND $past GROUP BY contact_id) p"
	alone "two premium bookings within a year" '{"field": "booking.frequency", "operator": ">=", "value": 2, "within_days": 365,
		"where": [{"field": "booking.cabinClass", "operator": "IN", "value": ["BUSINESS", "FIRST"]}]}' \
		"SELECT count(*) FROM (SELECT contact_id FROM mktg.purchase WHERE tenant_id = 1 AND $year AND $premium GROUP BY contact_id HAVING count(*) >= 2) p
			JOIN mktg.contact c ON c.tenant_id = 1 AND c.contact_id = p.contact_id" \
		"TRUST SELECT count(*) FROM (SELECT contact_id FROM mktg.purchase WHERE tenant_id = 1 AND $year AND $premium GROUP BY contact_id HAVING count(*) >= 2) p"
	alone "last order within 30 days" '{"field": "customer.lastOrderAt", "operator": "WITHIN_LAST", "value": 30}' \
		"TRUST SELECT count(DISTINCT contact_id) FROM mktg.purchase WHERE tenant_id = 1 AND placed_at > $time - interval '30 days' AND $past" \
		"SELECT count(*) FROM (SELECT contact_id FROM mktg.purchase WHERE tenant_id = 1 AND placed_at > $time - interval '30 days' AND $past GROUP BY contact_id) p
			JOIN mktg.contact c ON c.tenant_id = 1 AND c.contact_id = p.contact_id" \
		"SELECT count(DISTINCT contact_id) FROM mktg.purchase JOIN mktg.contact c USING (tenant_id, contact_id) WHERE tenant_id = 1 AND placed_at > $time - interval '30 days' AND $past" \
		"SELECT count(*) FROM mktg.contact c WHERE tenant_id = 1 AND EXISTS (SELECT FROM mktg.purchase p WHERE p.tenant_id = 1 AND p.contact_id = c.contact_id AND placed_at > $time - interval '30 days' AND $past)"
	alone "the example of four rules" '{"logic": "AND", "rules": [{"field": "customer.totalSpend", "operator": ">=", "value": 5000},
		{"field": "booking.frequency", "operator": ">=", "value": 10, "within_days": 365},
		{"field": "booking.cabinClass", "operator": "IN", "value": ["BUSINESS", "FIRST"]},
		{"field": "customer.rfmSegment", "operator": "IN", "value": ["Champions", "Loyal"]}]}' \
		"SELECT count(*) FROM (SELECT contact_id FROM mktg.purchase WHERE tenant_id = 1 AND $past GROUP BY contact_id
			HAVING $major >= 500000 AND count(*) FILTER (WHERE $year) >= 10 AND bool_or($premium)) p
			JOIN mktg.rfm_score r ON r.tenant_id = 1 AND r.contact_id = p.contact_id AND $best" \
		"SELECT count(*) FROM (SELECT contact_id FROM mktg.purchase WHERE tenant_id = 1 AND $year GROUP BY contact_id HAVING count(*) >= 10) p
			JOIN mktg.rfm_score r ON r.tenant_id = 1 AND r.contact_id = p.contact_id AND $best,
			LATERAL (SELECT FROM mktg.purchase q WHERE q.tenant_id = 1 AND q.contact_id = p.contact_id AND $past
				HAVING $major >= 500000 AND bool_or($premium)) s" \
		"SELECT count(*) FROM mktg.rfm_score r, LATERAL (SELECT FROM mktg.purchase q WHERE q.tenant_id = 1 AND q.contact_id = r.contact_id AND $past
				HAVING $major >= 500000 AND count(*) FILTER (WHERE $year) >= 10 AND bool_or($premium)) s WHERE r.tenant_id = 1 AND $best"
	alone "attribute" '{"field": "customer.attributes.loyalty_number", "operator": "EXISTS"}' \
		"SELECT count(*) FROM mktg.contact WHERE tenant_id = 1 AND attributes ->> 'loyalty_number' IS NOT NULL" \
		"SELECT count(*) FROM mktg.contact WHERE tenant_id = 1 AND attributes ? 'loyalty_number' AND attributes ->> 'loyalty_number' IS NOT NULL"
	alone "consent" '{"field": "consent.email", "operator": "=", "value": true}' \
		"SELECT count(*) FROM (SELECT FROM mktg.consent WHERE tenant_id = 1 AND channel = 'email' GROUP BY contact_id
			HAVING bool_or(state = 'subscribed') AND NOT bool_or(topic = 'marketing' AND state = 'unsubscribed')) c" \
		"SELECT count(DISTINCT contact_id) FROM mktg.consent c WHERE tenant_id = 1 AND channel = 'email' AND state = 'subscribed'
			AND NOT EXISTS (SELECT FROM mktg.consent n WHERE n.tenant_id = 1 AND n.contact_id = c.contact_id AND n.channel = 'email' AND n.topic = 'marketing' AND n.state = 'unsubscribed')" \
		"SELECT count(*) FROM mktg.contact k WHERE tenant_id = 1
			AND EXISTS (SELECT FROM mktg.consent c WHERE c.tenant_id = 1 AND c.contact_id = k.contact_id AND c.channel = 'email' AND c.state = 'subscribed')
			AND NOT EXISTS (SELECT FROM mktg.consent n WHERE n.tenant_id = 1 AND n.contact_id = k.contact_id AND n.channel = 'email' AND n.topic = 'marketing' AND n.state = 'unsubscribed')"
	alone "no purchases" '{"field": "booking.frequency", "operator": "=", "value": 0}' \
		"SELECT count(*) FROM mktg.contact c WHERE tenant_id = 1 AND NOT EXISTS (SELECT FROM mktg.purchase p WHERE p.tenant_id = 1 AND p.contact_id = c.contact_id AND $past)" \
		"TRUST SELECT (SELECT count(*) FROM mktg.contact WHERE tenant_id = 1) - (SELECT count(*) FROM (SELECT contact_id FROM mktg.purchase WHERE tenant_id = 1 AND $past GROUP BY contact_id) p)" \
		"SELECT count(*) FROM mktg.contact c LEFT JOIN (SELECT contact_id FROM mktg.purchase WHERE tenant_id = 1 AND $past GROUP BY contact_id) p USING (contact_id) WHERE c.tenant_id = 1 AND p.contact_id IS NULL"
	alone "event within 7 days" '{"field": "event.name", "operator": "=", "value": "search", "within_days": 7}' \
		"TRUST SELECT count(DISTINCT contact_id) FROM mktg.event WHERE tenant_id = 1 AND name = 'search' AND occurred_at > $time - interval '7 days' AND occurred_at <= $time" \
		"SELECT count(*) FROM (SELECT contact_id FROM mktg.event WHERE tenant_id = 1 AND name = 'search' AND occurred_at > $time - interval '7 days' AND occurred_at <= $time GROUP BY contact_id) e
			JOIN mktg.contact c ON c.tenant_id = 1 AND c.contact_id = e.contact_id" \
		"SELECT count(*) FROM mktg.contact c WHERE tenant_id = 1 AND EXISTS (SELECT FROM mktg.event e WHERE e.tenant_id = 1 AND e.contact_id = c.contact_id AND name = 'search' AND occurred_at > $time - interval '7 days' AND occurred_at <= $time)"
	sql -c 'DROP INDEX mktg.contact_city'
}

# ---- after changes ----

changes()
{
	local round wrong

	sql -c 'SELECT mktg.load_segment_catalog()' -c 'SELECT count(*) FROM mktg.refresh_segments()' > /dev/null
	for ((round = 0; round < rounds; round++)); do
		sql -c 'VACUUM mktg.segment_bitmap, mktg.segment_due, mktg.segment, mktg.contact, mktg.purchase'
		# every hundredth contact: each chunk of each segment has some
		sql <<-END
			UPDATE mktg.contact SET tier = CASE tier WHEN 'vip' THEN 'gold' ELSE 'vip' END,
			       tags = CASE WHEN tags = '{}' THEN '{vip}' ELSE '{}' END::text[], updated_at = $time
			 WHERE tenant_id = 1 AND contact_id % 100 = $round;
			INSERT INTO mktg.purchase (contact_id, amount, currency, placed_at, channel, attributes)
			SELECT contact_id, 100000, 'USD', $time - interval '1 day', 'web', '{"cabin": "FIRST", "category": "domestic", "party_size": 6}'
			  FROM mktg.contact WHERE tenant_id = 1 AND contact_id % 100 = $round;
			CHECKPOINT;
		END
		milliseconds -c 'SELECT mktg.refresh_dirty()' >> "$out/dirty"
		sql -c 'VACUUM mktg.segment_bitmap, mktg.segment_due, mktg.segment' -c CHECKPOINT
		milliseconds -c 'CREATE TEMP TABLE refreshed AS SELECT * FROM mktg.refresh_segments()' -c '\timing off' \
			-c "\\o $out/wrong" -c "SELECT string_agg(name, ', ') FROM refreshed WHERE entered > 0 OR exited > 0" >> "$out/whole"
		wrong=$(cat "$out/wrong")
		[ -z "$wrong" ] || fail "refresh_dirty() left to do in $wrong"
	done
	echo
	echo "1 % of the contacts changed: refresh_dirty() $(median < "$out/dirty") ms, refresh_segments() $(median < "$out/whole") ms, which found nothing left to do"
	figure "refresh_dirty() of 1 %, to refresh_segments()" "$(ratio "$out/dirty" "$out/whole")" "<=0.05"
}

# ---- one contact ----

one_contact()
{
	local rules name
	: > "$out/matches"
	sql -F "$(printf '\t')" -c 'SELECT segment_id, name, rules FROM mktg.segment ORDER BY segment_id' > "$out/catalog"
	while IFS=$(printf '\t') read -r _ name rules; do
		# a name in single quotes; pgbench leaves colons within them alone
		printf '\\set contact random(1, %s)\nSELECT mktg.matches(:contact, (SELECT rules FROM bench.one));\n' "$contacts" > "$out/matches.pgbench"
		sql -v rules="$rules" <<-'END'
			DROP TABLE IF EXISTS bench.one;
			CREATE TABLE bench.one AS SELECT :'rules'::jsonb AS rules;
		END
		rm -f "$out"/matches.log.*
		pgbench -n -M prepared -f "$out/matches.pgbench" -t 500 -l --log-prefix="$out/matches.log" "${bench_options[@]}" bench > "$bench_tmp/pgbench.log" 2>&1 ||
			fail "$(cat "$bench_tmp/pgbench.log")"
		# the first ones find out what later ones know
		tail -q -n +21 "$out"/matches.log.* | sort -g -k 3,3 |
			awk -v name="$name" '{ t[NR] = $3 / 1000 } END { print t[int((NR + 1) / 2)] "\t" t[int(NR * 0.99)] "\t" name }' >> "$out/matches"
	done < "$out/catalog"
	sql -c 'DROP TABLE bench.one'
	echo
	echo "matches() of one contact, over $(wc -l < "$out/matches") rules: medians $(sort -g "$out/matches" | head -n 1 | cut -f 1) to $(sort -g "$out/matches" | tail -n 1 | cut -f 1) ms (round trip included); the slowest:"
	sort -gr "$out/matches" | head -n 3 | awk -F '\t' '{ printf "  %-34s median %.3f ms, 99 %% within %.3f ms\n", $3, $1, $2 }'
	figure "matches(): slowest rule's median, ms" "$(sort -g "$out/matches" | tail -n 1 | cut -f 1)" "<=1"
	figure "matches(): slowest rule's 99th percentile, ms" "$(cut -f 2 "$out/matches" | sort -g | tail -n 1)" "-"
}

# ---- memory ----

# Sum of what a session and its parallel workers have for themselves and of the
# shared memory between them, largest seen, in MB.
memory()
{
	local postmaster work_mem
	postmaster=$(head -n 1 tmp/cluster-bench/data/postmaster.pid)
	# shellcheck disable=SC2016 # for perl
	perl -MTime::HiRes=sleep -e '
		my ($postmaster, $stop) = @ARGV;
		my ($most, $one) = (0, 0);
		my $before;		# what others of this machine have there
		until (-e $stop) {
			my $sum = 0;
			open my $list, "<", "/proc/$postmaster/task/$postmaster/children" or die $!;
			for my $pid (split " ", <$list> // "") {
				open my $c, "<", "/proc/$pid/cmdline" or next;
				my $title = <$c> // "";
				next unless $title =~ / SELECT\b/ && $title =~ /postgres bench/ || $title =~ /parallel worker/;
				open my $s, "<", "/proc/$pid/status" or next;
				my ($rss) = join("", <$s>) =~ /^RssAnon:\s+(\d+)/m;
				$sum += $rss // 0;
				$one = $rss if ($rss // 0) > $one;
			}
			my $shared = 0;
			$shared += 512 * ((stat $_)[12] // 0) for glob "/dev/shm/PostgreSQL.*";
			$sum += ($shared - ($before //= $shared)) / 1024;
			$most = $sum if $sum > $most;
			sleep 0.005;
		}
		printf "%.0f %.0f\n", $most / 1024, $one / 1024;' "$postmaster" "$out/stop" > "$out/memory" &
	rm -f "$out/stop"
	sql -c 'SELECT count(*) FROM mktg.refresh_segments()' > /dev/null
	touch "$out/stop"
	wait $!
	work_mem=$(sql -c "SELECT pg_size_bytes(current_setting('work_mem')) >> 20")
	echo
	echo "memory of a refresh of 67, session, parallel workers and the memory they share: $(cut -d ' ' -f 1 "$out/memory") MB, largest process without that $(cut -d ' ' -f 2 "$out/memory") MB; work_mem $work_mem MB"
	figure "memory of a refresh beyond work_mem, MB" "$(awk -v w="$work_mem" '{ print $1 - w }' "$out/memory")" "<=512"
}

# ---- writing ----

writing()
{
	local round state many="INSERT INTO mktg.purchase (contact_id, amount, currency, placed_at, channel)
		SELECT 1 + (i * 7919) % $contacts, 10000, 'USD', $time, 'web' FROM generate_series(1, 10000) i"

	printf '%s\n' "\\set contact random(1, $contacts)" \
		"INSERT INTO mktg.purchase (contact_id, amount, currency, placed_at, channel) VALUES (:contact, 10000, 'USD', '$at', 'web');" > "$out/insert.pgbench"
	for ((round = 0; round < rounds; round++)); do
		for state in ENABLE DISABLE; do
			sql -c "ALTER TABLE mktg.purchase $state TRIGGER purchase_mark_insert" -c CHECKPOINT -c "$many"
			milliseconds -c "BEGIN" -c "$many" -c ROLLBACK >> "$out/many.$state"
			bench_pgbench "$out/insert.pgbench" -T 3 | cut -d ' ' -f 1 >> "$out/one.$state"
			PGOPTIONS='-c synchronous_commit=off' bench_pgbench "$out/insert.pgbench" -T 3 | cut -d ' ' -f 1 >> "$out/soft.$state"
		done
	done
	sql -c 'ALTER TABLE mktg.purchase ENABLE TRIGGER purchase_mark_insert'
	echo
	echo "marks of who changed: 10,000 purchases in a statement $(median < "$out/many.ENABLE") ms, without trigger $(median < "$out/many.DISABLE") ms;" \
		"one $(median < "$out/one.ENABLE") and $(median < "$out/one.DISABLE") ms, not durable $(median < "$out/soft.ENABLE") and $(median < "$out/soft.DISABLE") ms"
	figure "INSERT of 10,000 purchases with marks, to no trigger" "$(ratio "$out/many.ENABLE" "$out/many.DISABLE")" "-"
	figure "INSERT of one purchase, durable" "$(ratio "$out/one.ENABLE" "$out/one.DISABLE")" "-"
	figure "INSERT of one purchase, not durable" "$(ratio "$out/soft.ENABLE" "$out/soft.DISABLE")" "-"
}

# ---- growth ----

grow()
{
	local n round free
	# the first database stays to be looked at
	psql -X -q "${bench_options[@]}" -d postgres -c 'ALTER DATABASE bench RENAME TO bench_main'
	for n in $growth; do
		if [ "$n" = "$contacts" ]; then
			cp "$out/all.empty" "$out/size.$n.empty"
			cp "$out/all.full" "$out/size.$n.full"
			continue
		fi
		free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
		if [ "$n" -ge 3000000 ] && [ "$free" -lt 30 ]; then
			echo "$n contacts left out: $free GB free, 30 needed"
			continue
		fi
		fill "$n"
		for ((round = 0; round < rounds; round++)); do
			refresh_both "size.$n"
		done
	done
	echo
	echo "refresh_segments() of 67 with more contacts"
	echo "  contacts   from empty           again"
	for n in $growth; do
		[ -e "$out/size.$n.empty" ] || continue
		awk -v n="$n" -v a="$(median < "$out/size.$n.empty")" -v b="$(median < "$out/size.$n.full")" 'BEGIN {
			printf "%10d %8.2f s %5.2f us a contact %8.2f s %5.2f us\n", n, a / 1000, 1000 * a / n, b / 1000, 1000 * b / n
			print 1000 * b / n >> "'"$out/growth"'" }'
	done
	figure "time a contact of the most, to that of the fewest" "$(awk 'NR == 1 { first = $1 } END { print $1 / first }' "$out/growth")" "<=1.3"
}

fill "$contacts"
echo "$contacts contacts, $(sql -c 'SELECT count(*) FROM mktg.purchase') purchases, $(sql -c "SELECT pg_size_pretty(pg_database_size('bench'))"); $rounds rounds"
all_segments
audiences
one_segment
changes
one_contact
memory
writing
grow
[ "$bench_missed" = 0 ] || fail "$bench_missed figures missed"
