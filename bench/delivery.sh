#!/bin/bash
#
# Sending: one worker with a database, every outcome durable, against a bare
# loop of libcurl without one, to nginx and to smtp-sink on loopback; batches of
# a thousand against what the database alone could do; and the time from
# mktg.send() to the wire. Runs are interleaved; figures are medians of a
# round's ratios.
#
#	[ROUNDS=3] [MESSAGES=100000] [MAILS=20000] [IN_FLIGHT="64 256"] bench/delivery.sh
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=bench/delivery_lib.sh
. bench/delivery_lib.sh
rounds=${ROUNDS:-3}
messages=${MESSAGES:-100000}
mails=${MAILS:-20000}
in_flight=${IN_FLIGHT:-64 256}
sends=100
request=1250	# bytes of the JSON around a body
connections=16	# of the references
streams=64
batch=1000

delivery_start
make_contacts "$messages"
listen_port=$(free_port)
sql > /dev/null <<-END
	CREATE SERVER listener FOREIGN DATA WRAPPER mktg_provider
		OPTIONS (driver 'webhook', url 'http://127.0.0.1:$listen_port/', allow_networks '127.0.0.1/32');
	SELECT mktg.set_credential('listener', 'secret', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
	SELECT mktg.set_sender('listener', 'listener', 'webhook');
END
find_worker

# Commits that wrote WAL from one place to another: the worker's, as nobody else writes.
commits()
{
	pg_waldump -p "$PWD/tmp/cluster-bench/data/pg_wal" -s "$1" -e "$2" --stats=record 2> "$out/waldump.log" |
		awk '$1 == "Transaction/COMMIT" { print $2 }'
}

# drain NAME CHANNEL TEMPLATE SENDER NUMBER: queues a campaign, lets the worker
# send it, and notes its rate and what a message cost.
drain()
{
	local name=$1 number=$5 time from to
	time=$(worker_time)
	queue "$2" "$3" "$4" "$number"
	from=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
	wait_sent
	to=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
	echo "$time $(worker_time)" | awk -v n="$number" '{ print ($2 - $1) / n }' >> "$out/$name.cpu"
	commits "$from" "$to" | awk -v n="$number" '{ print $1 / n }' >> "$out/$name.commits"
	sql -c "SELECT pg_wal_lsn_diff('$to', '$from') / $number" >> "$out/$name.wal"
	rate_sent "$number" >> "$out/$name"
	sql -c 'TRUNCATE mktg.message'
}

# The reference: notes its rate and its processor time.
bare()
{
	local rate cpu
	"$out/bare" "$@" > "$out/rate"
	read -r rate cpu < "$out/rate"
	echo "$rate" >> "$out/bare.$1"
	echo "$cpu" >> "$out/bare.$1.cpu"
}

# What the database alone can do: claims, updates and deletes of the same rows
# in batches, a commit for the claim and one for the rest, without triggers,
# gates, or anybody who waits for a reply.
claim_by_hand()
{
	queue email letter batches "$messages"
	wait_sent
	sql <<-END
		DROP TABLE IF EXISTS queued, told;
		CREATE TABLE queued (LIKE mktg.outbox INCLUDING ALL) WITH (fillfactor = 70);
		CREATE TABLE told (LIKE mktg.message INCLUDING ALL) WITH (fillfactor = 85);
		INSERT INTO told SELECT * FROM mktg.message;
		UPDATE told SET status = 'queued', sent_at = NULL;
		INSERT INTO queued (tenant_id, campaign_id, contact_id, ref, due)
		SELECT tenant_id, campaign_id, contact_id, ref, now() FROM told;
		VACUUM ANALYZE queued, told;
		TRUNCATE mktg.message;
		CHECKPOINT;
	END
	cat > "$out/claim.pgbench" <<-END
		\set lease random(1, 9000000000000000)
		WITH c AS MATERIALIZED (SELECT ctid AS tid FROM queued WHERE tenant_id = 1 AND campaign_id = $campaign AND lease IS NULL
			AND due <= now() ORDER BY due, contact_id LIMIT $batch FOR UPDATE SKIP LOCKED),
		leased AS (UPDATE queued q SET lease = :lease, worker = 1, attempt = attempt + 1 FROM c WHERE q.ctid = c.tid RETURNING q.contact_id)
		SELECT array_agg(contact_id) AS ids FROM leased \gset
		WITH gone AS (DELETE FROM queued WHERE tenant_id = 1 AND campaign_id = $campaign AND contact_id = ANY (:ids::bigint[]) AND lease = :lease RETURNING *)
		UPDATE told m SET status = 'sent', sent_at = now(), attempts = g.attempt FROM gone g
			WHERE m.tenant_id = g.tenant_id AND m.campaign_id = g.campaign_id AND m.contact_id = g.contact_id AND m.ref = g.ref;
	END
	bench_pgbench "$out/claim.pgbench" -c 1 -t $((messages / batch)) | awk -v n=$batch '{ print $2 * n }' >> "$out/by_hand"
	[ "$(sql -c "SELECT count(*) FROM told WHERE status = 'sent'")" = $((messages / batch * batch)) ] ||
		fail "the reference has not told what it was to tell"
}

# ---- rates ----

for ((round = 0; round < rounds; round++)); do
	for n in $in_flight; do
		use_in_flight "$n"
		bare http "http://127.0.0.1:$http_port/" "$messages" $connections $request
		tail -n 1 "$out/bare.http" >> "$out/bare.$n"
		drain "$n" webhook news web "$messages"
		bare http2 "https://localhost:$https_port/" "$messages" $streams $request "$out/cert.pem"
		tail -n 1 "$out/bare.http2" >> "$out/bare.h2-$n"
		drain "h2-$n" webhook news web2 "$messages"
	done
	use_in_flight 128
	bare smtp "smtp://127.0.0.1:$smtp_port/" "$mails" $connections $body
	drain smtp email letter mail "$mails"
	use_in_flight 4000
	claim_by_hand
	drain batches email letter batches "$messages"
done
use_in_flight 64

# costs NAME TEXT
costs()
{
	printf '%s: %.0f/s; a message: %.1f us of processor in the worker, %.4f commits, %.0f bytes of WAL\n' "$2" \
		"$(median < "$out/$1")" "$(median < "$out/$1.cpu")" "$(median < "$out/$1.commits")" "$(median < "$out/$1.wal")"
}
# reference NAME TEXT
reference()
{
	printf 'bare libcurl, %s: %.0f/s, %.1f us of processor a message\n' "$2" \
		"$(median < "$out/bare.$1")" "$(median < "$out/bare.$1.cpu")"
}
echo
echo "HTTP: $messages messages of $body bytes, one worker, nginx on loopback, load $(cut -d ' ' -f 1 /proc/loadavg)"
reference http "$connections connections"
reference http2 "$streams streams of HTTP/2 with TLS"
for n in $in_flight; do
	costs "$n" "mktg.max_in_flight $n"
	figure "one worker, mktg.max_in_flight $n" "$(ratio "$out/$n" "$out/bare.$n")" ">=0.5"
	figure "processor time in us" "$(median < "$out/$n.cpu")" "<=60"
	costs "h2-$n" "HTTP/2, mktg.max_in_flight $n"
	figure "one worker over HTTP/2, mktg.max_in_flight $n" "$(ratio "$out/h2-$n" "$out/bare.h2-$n")" ">=0.5"
done

echo
echo "SMTP: $mails mails of two texts, one worker, 64 connections, smtp-sink on loopback; ratio to bare libcurl"
reference smtp "$connections connections"
costs smtp "one worker"
figure "one worker" "$(ratio "$out/smtp" "$out/bare.smtp")" ">=0.6"

echo
echo "SendGrid: $messages mails in requests of $batch, nginx on loopback; ratio to claim, update and delete by hand"
printf 'by hand: %.0f/s\n' "$(median < "$out/by_hand")"
costs batches "one worker"
figure "one worker" "$(ratio "$out/batches" "$out/by_hand")" ">=0.4"

# ---- latency ----

"$out/bare" listen "$listen_port" "$sends" > "$out/arrivals" &
listener=$!
started+=("$listener")
sql > /dev/null <<-END
	CHECKPOINT;
	SELECT mktg.send(1, 'news', channel => 'webhook', sender => 'listener');
END
sleep 1
# one every 100 ms on average; the log has the end of each transaction in its
# last columns but one, and how long it took
echo "SELECT mktg.send(1, 'news', channel => 'webhook', sender => 'listener');" > "$out/send.pgbench"
pgbench -n -M prepared -f "$out/send.pgbench" -R 10 -t $((sends - 1)) -l --log-prefix="$out/sends" \
	"${bench_options[@]}" bench > /dev/null 2>&1
wait "$listener"
# milliseconds from the transaction's beginning and from its end to the wire
tail -n +2 "$out/arrivals" | paste -d ' ' - "$out"/sends.* |
	awk '{ end = $6 + $7 / 1e6; print ($1 - end) * 1e3 + ($4 - $8) / 1e3, ($1 - end) * 1e3 }' > "$out/latency"
percentile()
{
	cut -d ' ' -f "$2" "$out/latency" | sort -g | awk -v p="$1" '{ n[NR] = $1 } END { i = int(NR * p + 0.999); print n[i < 1 ? 1 : i] }'
}
echo
echo "mktg.send() on an idle queue, $((sends - 1)) times; milliseconds until the request is on the wire"
printf 'from the beginning of the transaction: median %.1f, 95 of 100 within %.1f; from its end as the client sees it: %.1f and %.1f\n' \
	"$(percentile 0.5 1)" "$(percentile 0.95 1)" "$(percentile 0.5 2)" "$(percentile 0.95 2)"
figure "median in ms, from the beginning" "$(percentile 0.5 1)" "<=50"
[ "$bench_missed" = 0 ] || fail "$bench_missed figures missed"
