#!/bin/bash
#
# Offers: a hot code against a counter in one row, what answers take, codes by
# the million, and whether past redemptions make the next dearer. Rounds are
# interleaved, in turning order; figures are medians of a round's ratios.
#
#	[ROUNDS=7] [SECONDS_EACH=4] [PAST=10000000] bench/offer.sh
set -eu
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rounds=${ROUNDS:-7}
seconds=${SECONDS_EACH:-4}
past=${PAST:-10000000}

bench_start "max_connections = 150"
sql -f bench/offer.sql > /dev/null
out=$bench_tmp/offer
rm -rf "$out"
mkdir -p "$out"
cart=$(sql -c 'SELECT cart FROM bench.input WHERE lines = 1')

redeem()			# CODE: a use of it, with a key of its own
{
	echo "SELECT * FROM mktg.redeem_promo('$1', NULL, '$cart', NULL, gen_random_uuid()::text);"
}
redeem HOT > "$out/hot.pgbench"
redeem FREE > "$out/free.pgbench"
for way in insert_use redeem_locked redeem_guarded; do
	echo "SELECT bench.$way(gen_random_uuid()::text);" > "$out/$way.pgbench"
done

# Every way in turn, another first each round.
turns()				# WAY...
{
	local round way
	for ((round = 1; round <= rounds; round++)); do
		for way; do
			bench_pgbench "$out/$way.pgbench" -c 16 -j 2 -T "$seconds" | cut -d ' ' -f 2 >> "$out/$way"
		done
		set -- "${@:2}" "$1"
		sql -c CHECKPOINT
	done
}

# ---- a stampede ----

turns hot free insert_use redeem_locked redeem_guarded
echo
echo "16 clients on one code, each use committed durably; $rounds rounds of $seconds s"
for way in hot free insert_use redeem_locked redeem_guarded; do
	printf '%-16s %7.0f /s\n' "$way" "$(median < "$out/$way")"
done
figure "a limit, to the same without" "$(ratio "$out/hot" "$out/free")" ">=0.5"
figure "a limit, to SELECT FOR UPDATE of one row" "$(ratio "$out/hot" "$out/redeem_locked")" ">=3"
figure "a limit, to one guarded UPDATE" "$(ratio "$out/hot" "$out/redeem_guarded")" ">=3"
figure "  a limit, to an INSERT of the row alone, in PL/pgSQL" "$(ratio "$out/hot" "$out/insert_use")" -

sql -c "SELECT mktg.create_promo('EXACT', 'percent', 10, usage_limit => 20000)" > /dev/null
redeem EXACT > "$out/exact.pgbench"
pgbench -n -M prepared -f "$out/exact.pgbench" -c 16 -j 2 -t 1500 "${bench_options[@]}" bench > "$bench_tmp/exact.log" 2>&1 || true
echo "24,000 tries at a limit of 20,000: $(sql -c "SELECT count(*) FROM mktg.promo_redemption WHERE promo_code = 'EXACT'") uses"

# ---- answers ----

echo
echo "validate_promo() of ten conditions and ten lines, best_offers() of twenty codes; microseconds in one session, medians"
validated=$(sql -c "SELECT median FROM bench.time_codes('{TENCONDITIONS}', 5000, 10)")
best=$(sql -c "SELECT bench.time_best(500)")
figure "validate_promo()" "$validated" "<=150"
figure "best_offers()" "$best" "<=2000"

# what a stranger could measure; each code's call next to the other's
codes='{NOSUCHCODE,REFUSEDSCOPE,REFUSEDLATE,REFUSEDFULL,REFUSEDBYADMIN}'
for ((round = 1; round <= rounds; round++)); do
	sql -c "SELECT code, median FROM bench.time_codes('$codes', 2000, 10)" | while IFS='|' read -r code median; do
		echo "$median" >> "$out/refusal.$code"
	done
done
echo
echo "a refusal, to that of a code that does not exist ($(median < "$out/refusal.NOSUCHCODE") us)"
for code in REFUSEDSCOPE REFUSEDLATE REFUSEDFULL REFUSEDBYADMIN; do
	figure "$code" "$(ratio "$out/refusal.$code" "$out/refusal.NOSUCHCODE")" 0.9..1.1
done

# ---- codes ----

echo
echo "a million codes"
for round in 1 2 3; do
	sql -c 'DROP TABLE IF EXISTS bench.code' -c 'CREATE TABLE bench.code (code text PRIMARY KEY)' -c CHECKPOINT
	sql -c '\timing on' -c "INSERT INTO bench.code SELECT substr(md5(random()::text), 1, 16) FROM generate_series(1, 1000000)" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' >> "$out/code.insert"
	promo=$(sql -c "SELECT mktg.create_promo('MILLION$round', 'percent', 10)")
	sql -c CHECKPOINT
	sql -c '\timing on' -c "SELECT mktg.generate_codes($promo, 1000000)" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' >> "$out/code.generate"
done
printf 'generate_codes() %.1f s, bare INSERT %.1f s\n' "$(median < "$out/code.generate" | awk '{ print $1 / 1000 }')" "$(median < "$out/code.insert" | awk '{ print $1 / 1000 }')"
figure "generate_codes(), to INSERT of random strings with a unique index" "$(ratio "$out/code.generate" "$out/code.insert")" "<=2"

# ---- the past ----

# Two databases, one with many redemptions; one client, so that what a use costs shows.
fill()				# DATABASE REDEMPTIONS
{
	local db=(psql -X -q -A -t -v ON_ERROR_STOP=1 "${bench_options[@]}" -d "$1")
	psql -X -q "${bench_options[@]}" -d postgres -c "CREATE DATABASE $1"
	"${db[@]}" -o /dev/null -c 'CREATE EXTENSION mktg' -c 'SELECT mktg.install()' \
		-c "SELECT mktg.create_promo('HOT', 'percent', 10, usage_limit => 1000000000)" \
		-c 'CREATE SEQUENCE bench_key CACHE 100' \
		-c 'ALTER TABLE mktg.redemption DROP CONSTRAINT redemption_pkey' \
		-c 'DROP INDEX mktg.redemption_key, mktg.redemption_purchase' \
		-c "INSERT INTO mktg.redemption (tenant_id, offer_id, contact_id, content_hash, eligible_subtotal, discount, reserved_at, committed_at, status, code, idempotency_key, purchase, currency, lines)
			SELECT 1, 1, i % 100000, i, 10002, 1000, now(), now(), 'committed', 'HOT', gen_random_uuid()::text, 'order-' || i, 'USD', '[{\"line\": 1, \"amount\": 10002, \"discount\": 1000}]'
			  FROM generate_series(1, $2) i" \
		-c 'ALTER TABLE mktg.redemption ADD PRIMARY KEY (tenant_id, redemption_id)' \
		-c 'CREATE UNIQUE INDEX redemption_key ON mktg.redemption (tenant_id, idempotency_key)' \
		-c "CREATE UNIQUE INDEX redemption_purchase ON mktg.redemption (tenant_id, purchase, offer_id) WHERE purchase IS NOT NULL AND status NOT IN ('released', 'expired')" \
		-c 'VACUUM ANALYZE mktg.redemption' -c CHECKPOINT
}
uses()				# DATABASE KEYS: uses a second
{
	pgbench -n -M prepared -f "$out/$2.pgbench" -c 4 -j 2 -T "$seconds" "${bench_options[@]}" "$1" 2> "$bench_tmp/pgbench.log" |
		sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}
if [ "$past" -gt 0 ]; then
	fill past_few 10000
	fill past_many "$past"
	echo "SELECT * FROM mktg.redeem_promo('HOT', NULL, '$cart', NULL, 'z' || lpad(nextval('bench_key')::text, 12, '0'));" > "$out/ascending.pgbench"
	redeem HOT > "$out/random.pgbench"
	for ((round = 1; round <= rounds; round++)); do
		for keys in ascending random; do
			for db in $([ $((round % 2)) = 0 ] && echo past_few past_many || echo past_many past_few); do
				uses "$db" $keys >> "$out/$keys.$db"
			done
		done
	done
	echo
	echo "cost of a use after $past redemptions, to one after 10,000 (4 clients)"
	for keys in ascending random; do
		printf '%s keys: %.0f uses a second after few, %.0f after many\n' $keys "$(median < "$out/$keys.past_few")" "$(median < "$out/$keys.past_many")"
		figure "$keys idempotency keys" "$(ratio "$out/$keys.past_few" "$out/$keys.past_many")" 0.8..1.2
	done
fi
[ "$bench_missed" = 0 ] || fail "$bench_missed figures missed"
