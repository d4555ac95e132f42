#!/bin/bash
#
# Sending: one worker with a database, every outcome durable, against a bare
# loop of libcurl without one, to nginx and to smtp-sink on loopback; and the
# time from mktg.send() to the wire. Runs are interleaved; figures are medians
# of a round's ratios.
#
#	[ROUNDS=3] [MESSAGES=100000] [MAILS=20000] [IN_FLIGHT="64 256"] bench/delivery.sh
set -eu
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rounds=${ROUNDS:-3}
messages=${MESSAGES:-100000}
mails=${MAILS:-20000}
in_flight=${IN_FLIGHT:-64 256}
sends=100
body=1024
request=1250	# bytes of the JSON around such a body
connections=16	# of the references
mail_connections=16

for tool in nginx smtp-sink "${CC:-gcc}"; do
	find_tool "$tool" > /dev/null || fail "the benchmark of sending needs $tool"
done
bench_start "autovacuum = on"
out=$bench_tmp/delivery
rm -rf "$out"
mkdir -p "$out/nginx"
started=()
trap 'kill "${started[@]}" 2> /dev/null; scripts/cluster.sh stop bench' EXIT
"${CC:-gcc}" -std=gnu11 -O2 -Wall -Wextra -Werror bench/bare.c -o "$out/bare" -lcurl -pthread

# ---- those who take messages ----

http_port=$(free_port)
cat > "$out/nginx/nginx.conf" <<END
daemon off;
worker_processes 1;
pid $out/nginx/pid;
error_log $out/nginx/error.log;
events { worker_connections 2048; }
http {
	access_log off;
	keepalive_requests 1000000000;
	keepalive_timeout 1h;
	client_body_temp_path $out/nginx/body;
	proxy_temp_path $out/nginx/proxy;
	fastcgi_temp_path $out/nginx/fastcgi;
	uwsgi_temp_path $out/nginx/uwsgi;
	scgi_temp_path $out/nginx/scgi;
	server { listen 127.0.0.1:$http_port; location / { return 200; } }
}
END
"$(find_tool nginx)" -p "$out/nginx" -c "$out/nginx/nginx.conf" 2>> "$out/nginx/error.log" &
started+=($!)
smtp_port=$(free_port)
"$(find_tool smtp-sink)" "127.0.0.1:$smtp_port" 256 2> "$out/smtp-sink.log" &
started+=($!)
listen_port=$(free_port)

# ---- what is sent ----

sql <<-END
	CREATE SERVER web FOREIGN DATA WRAPPER mktg_provider
		OPTIONS (driver 'webhook', url 'http://127.0.0.1:$http_port/', allow_networks '127.0.0.1/32', max_connections '64');
	CREATE SERVER mail FOREIGN DATA WRAPPER mktg_provider
		OPTIONS (driver 'smtp', host '127.0.0.1', port '$smtp_port', tls 'none', max_connections '$mail_connections');
	CREATE SERVER listener FOREIGN DATA WRAPPER mktg_provider
		OPTIONS (driver 'webhook', url 'http://127.0.0.1:$listen_port/', allow_networks '127.0.0.1/32');
	INSERT INTO mktg.contact (name, email)
	SELECT 'Name ' || i, 'customer' || i || '@example.com' FROM generate_series(1, $messages) i;
	INSERT INTO mktg.consent (contact_id, channel)
	SELECT contact_id, channel FROM mktg.contact, unnest('{webhook,email}'::text[]) channel ORDER BY contact_id;
	VACUUM ANALYZE;
END
sql > /dev/null <<-END
	SELECT mktg.set_credential(server, 'secret', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw') FROM unnest('{web,listener}'::text[]) server;
	SELECT mktg.set_sender('web', 'web', 'webhook'), mktg.set_sender('listener', 'listener', 'webhook'),
	       mktg.set_sender('mail', 'mail', 'email', from_address => 'shop@example.com');
	SELECT mktg.create_template('news', 'webhook', body => rpad('Dear {{name}}, ', $body, 'our new shoes are here. ')),
	       mktg.create_template('letter', 'email', subject => 'News for {{name}}',
	                            body => rpad('Dear {{name}},', $body, E'\nour new shoes are here.'));
	ALTER SYSTEM SET mktg.databases = 'bench';
	SELECT pg_reload_conf();
END

worker()
{
	local pid=
	until [ -n "$pid" ]; do
		pid=$(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'mktg worker'")
		[ -n "$pid" ] || sleep 0.2
	done
	echo "$pid"
}
worker=$(worker)

# Microseconds of processor the worker has had, its threads included.
worker_time()
{
	awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1e6 / tick }' "/proc/$worker/stat"
}

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
	local name=$1 number=$5 campaign time from to started sent
	campaign=$(sql -c "SELECT mktg.create_campaign('bench', '$2', template => '$3', sender => '$4')")
	sql > /dev/null <<-END
		SELECT mktg.add_recipients($campaign, (SELECT array_agg(contact_id ORDER BY contact_id) FROM mktg.contact WHERE contact_id <= $number));
		SELECT mktg.activate_campaign($campaign, current_date);
		CHECKPOINT;
	END
	time=$(worker_time)
	from=$(sql -c 'SELECT mktg.process_daily()' -c 'SELECT pg_current_wal_insert_lsn()' | tail -n 1)
	until [ "$(sql -c "SELECT queued FROM mktg.campaign_stats($campaign)")" = 0 ]; do
		sleep 0.2
	done
	to=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
	echo "$time $(worker_time)" | awk -v n="$number" '{ print ($2 - $1) / n }' >> "$out/$name.cpu"
	commits "$from" "$to" | awk -v n="$number" '{ print $1 / n }' >> "$out/$name.commits"
	sql -c "SELECT pg_wal_lsn_diff('$to', '$from') / $number" >> "$out/$name.wal"
	sql -F ' ' -c "SELECT count(*) / extract(epoch FROM max(sent_at) - min(sent_at)), count(*)
		FROM mktg.message WHERE tenant_id = 1 AND campaign_id = $campaign AND status = 'sent'" > "$out/rate"
	read -r rate sent < "$out/rate"
	[ "$sent" = "$number" ] || fail "$name: $sent of $number messages were sent"
	echo "$rate" >> "$out/$name"
	sql -c 'TRUNCATE mktg.message'
}

# The worker's limit and the provider's; nothing is under way.
use_in_flight()
{
	sql -c "ALTER SYSTEM SET mktg.max_in_flight = $1" -c 'SELECT pg_reload_conf()' \
		-c "ALTER SERVER web OPTIONS (SET max_connections '$1')" > /dev/null
}

# The reference: notes its rate and its processor time.
bare()
{
	"$out/bare" "$@" > "$out/rate"
	read -r rate cpu < "$out/rate"
	echo "$rate" >> "$out/bare.$1"
	echo "$cpu" >> "$out/bare.$1.cpu"
}

# ---- rates ----

for ((round = 0; round < rounds; round++)); do
	for n in $in_flight; do
		bare http "http://127.0.0.1:$http_port/" "$messages" $connections $request
		tail -n 1 "$out/bare.http" >> "$out/bare.$n"
		use_in_flight "$n"
		drain "$n" webhook news web "$messages"
	done
	use_in_flight 64
	bare smtp "smtp://127.0.0.1:$smtp_port/" "$mails" $mail_connections $body
	drain smtp email letter mail "$mails"
done

echo
echo "HTTP: $messages messages of $body bytes, one worker, nginx on loopback; ratio to bare libcurl with $connections connections"
printf 'bare libcurl: %.0f/s, %.1f us of processor a message\n' "$(median < "$out/bare.http")" "$(median < "$out/bare.http.cpu")"
# costs NAME TEXT
costs()
{
	printf '%s: %.0f/s; a message: %.1f us of processor in the worker, %.4f commits, %.0f bytes of WAL\n' "$2" \
		"$(median < "$out/$1")" "$(median < "$out/$1.cpu")" "$(median < "$out/$1.commits")" "$(median < "$out/$1.wal")"
}
for n in $in_flight; do
	costs "$n" "mktg.max_in_flight $n"
	figure "one worker, mktg.max_in_flight $n" "$(ratio "$out/$n" "$out/bare.$n")" ">=0.25"
done

echo
echo "SMTP: $mails mails, one worker, $mail_connections connections, smtp-sink on loopback; ratio to bare libcurl with as many"
printf 'bare libcurl: %.0f/s, %.1f us of processor a mail\n' "$(median < "$out/bare.smtp")" "$(median < "$out/bare.smtp.cpu")"
costs smtp "one worker"
figure "one worker" "$(ratio "$out/smtp" "$out/bare.smtp")" ">=0.4"

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
