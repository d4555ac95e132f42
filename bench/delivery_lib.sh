# delivery_lib.sh: what the benchmarks of sending share; sourced by them.
# shellcheck shell=bash

# shellcheck source=bench/lib.sh
. bench/lib.sh
body=1024
answer=$(printf 'x%.0s' {1..256})	# nginx ends a connection of HTTP/2 with many tiny answers
started=()

# delivery_start [CONFIGURATION LINE]...
# A cluster, nginx over HTTP/1.1 and over HTTP/2 with TLS, and smtp-sink, with a
# provider and a sender of each. Sets out, and the ports. Receivers end at exit.
delivery_start()
{
	local tool
	for tool in nginx smtp-sink openssl "${CC:-gcc}"; do
		find_tool "$tool" > /dev/null || fail "the benchmark of sending needs $tool"
	done
	bench_start "autovacuum = on" "$@"
	out=$bench_tmp/delivery
	rm -rf "$out"
	mkdir -p "$out/nginx"
	trap 'kill "${started[@]}" 2> /dev/null; scripts/cluster.sh stop bench' EXIT
	"${CC:-gcc}" -std=gnu11 -O2 -Wall -Wextra -Werror bench/bare.c -o "$out/bare" -lcurl -pthread
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
		-addext subjectAltName=DNS:localhost -keyout "$out/key.pem" -out "$out/cert.pem" 2> "$out/openssl.log"
	start_receivers
	make_providers
}

# Over HTTP/2 nginx would answer before it has read a message, and libcurl takes
# that for a stream that failed: the mirror has it read first.
start_receivers()
{
	http_port=$(free_port)
	https_port=$(free_port)
	smtp_port=$(free_port)
	cat > "$out/nginx/nginx.conf" <<-END
		daemon off;
		worker_processes 1;
		pid $out/nginx/pid;
		error_log $out/nginx/error.log;
		events { worker_connections 2048; }
		http {
			access_log off;
			keepalive_requests 1000000000;
			keepalive_timeout 1h;
			client_max_body_size 32m;
			client_body_buffer_size 4m;
			client_body_temp_path $out/nginx/body;
			proxy_temp_path $out/nginx/proxy;
			fastcgi_temp_path $out/nginx/fastcgi;
			uwsgi_temp_path $out/nginx/uwsgi;
			scgi_temp_path $out/nginx/scgi;
			server {
				listen 127.0.0.1:$http_port;
				location / { return 200; }
				location /v3/mail/send { return 202; }
			}
			server {
				listen 127.0.0.1:$https_port ssl http2;
				ssl_certificate $out/cert.pem;
				ssl_certificate_key $out/key.pem;
				location / { root /nowhere; mirror /read; error_page 404 405 =200 @taken; }
				location = /read { internal; return 204; }
				location @taken { return 200 $answer; }
			}
		}
	END
	"$(find_tool nginx)" -p "$out/nginx" -c "$out/nginx/nginx.conf" 2>> "$out/nginx/error.log" &
	started+=($!)
	"$(find_tool smtp-sink)" "127.0.0.1:$smtp_port" 256 2> "$out/smtp-sink.log" &
	started+=($!)
}

make_providers()
{
	sql > /dev/null <<-END
		CREATE SERVER web FOREIGN DATA WRAPPER mktg_provider
			OPTIONS (driver 'webhook', url 'http://127.0.0.1:$http_port/', allow_networks '127.0.0.1/32', max_connections '64');
		CREATE SERVER web2 FOREIGN DATA WRAPPER mktg_provider
			OPTIONS (driver 'webhook', url 'https://localhost:$https_port/', allow_networks '127.0.0.1/32',
			         ca_file '$out/cert.pem', http_version '2', max_connections '64');
		CREATE SERVER mail FOREIGN DATA WRAPPER mktg_provider
			OPTIONS (driver 'smtp', host '127.0.0.1', port '$smtp_port', tls 'none', max_connections '64');
		CREATE SERVER batches FOREIGN DATA WRAPPER mktg_provider
			OPTIONS (driver 'sendgrid', base_url 'http://127.0.0.1:$http_port');
		SELECT mktg.set_credential(server, 'secret', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw') FROM unnest('{web,web2}'::text[]) server;
		SELECT mktg.set_credential('batches', 'api_key', 'SG.x');
		SELECT mktg.set_sender('web', 'web', 'webhook'), mktg.set_sender('web2', 'web2', 'webhook'),
		       mktg.set_sender('mail', 'mail', 'email', from_address => 'shop@example.com'),
		       mktg.set_sender('batches', 'batches', 'email', from_address => 'shop@example.com');
		SELECT mktg.create_template('news', 'webhook', body => rpad('Dear {{name}}, ', $body, 'our new shoes are here. ')),
		       mktg.create_template('letter', 'email', subject => 'News for {{name}}',
		                            body => rpad('Dear {{name}},', $body / 2, E'\nour new shoes are here.'),
		                            html => rpad('<p>Dear {{name}},</p>', $body / 2, E'\nour new shoes are here.'));
		ALTER SYSTEM SET mktg.databases = 'bench';
		SELECT pg_reload_conf();
	END
}

# make_contacts NUMBER: they want to hear from us.
make_contacts()
{
	sql <<-END
		INSERT INTO mktg.contact (name, email)
		SELECT 'Name ' || i, 'customer' || i || '@example.com' FROM generate_series(1, $1) i;
		INSERT INTO mktg.consent (contact_id, channel)
		SELECT contact_id, channel FROM mktg.contact, unnest('{webhook,email}'::text[]) channel ORDER BY contact_id;
		VACUUM ANALYZE;
	END
}

find_worker()
{
	worker=
	until [ -n "$worker" ]; do
		worker=$(sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'mktg worker'")
		[ -n "$worker" ] || sleep 0.2
	done
}

# Microseconds of processor the worker has had, its threads included.
worker_time()
{
	awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1e6 / tick }' "/proc/$worker/stat"
}

# The worker's limit and the provider's; nothing is under way.
use_in_flight()
{
	sql -c "ALTER SYSTEM SET mktg.max_in_flight = $1" -c 'SELECT pg_reload_conf()' \
		-c "ALTER SERVER web OPTIONS (SET max_connections '$1')" \
		-c "ALTER SERVER web2 OPTIONS (SET max_connections '$1')" > /dev/null
}

# queue CHANNEL TEMPLATE SENDER NUMBER: a campaign that waits in the queue; sets campaign.
queue()
{
	campaign=$(sql -c "SELECT mktg.create_campaign('bench', '$1', template => '$2', sender => '$3')")
	sql > /dev/null <<-END
		SELECT mktg.add_recipients($campaign, (SELECT array_agg(contact_id ORDER BY contact_id) FROM mktg.contact WHERE contact_id <= $4));
		SELECT mktg.activate_campaign($campaign, current_date);
		CHECKPOINT;
		SELECT mktg.process_daily();
	END
}

# wait_sent: until nothing of the campaign waits any more.
wait_sent()
{
	until [ "$(sql -c "SELECT queued FROM mktg.campaign_stats($campaign)")" = 0 ]; do
		sleep 0.2
	done
}

# rate_sent NUMBER: messages a second of the campaign, all of which must have been sent.
rate_sent()
{
	local rate sent
	sql -F ' ' -c "SELECT count(*) / extract(epoch FROM max(sent_at) - min(sent_at)), count(*)
		FROM mktg.message WHERE tenant_id = 1 AND campaign_id = $campaign AND status = 'sent'" > "$out/rate"
	read -r rate sent < "$out/rate"
	[ "$sent" = "$1" ] || fail "$sent of $1 messages were sent"
	echo "$rate"
}
