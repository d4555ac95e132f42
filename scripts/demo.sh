#!/bin/bash
# A campaign goes out: four days in half a minute, in a private cluster, with
# the real worker and the sandbox provider. Runs in a working copy (work.sh).
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh

campaign=1
bindir=$(scripts/tree.sh "$PG_CONFIG")
scripts/cluster.sh start demo "mktg.databases = 'demo'" "timezone = 'UTC'" "log_min_messages = warning"
options=$(scripts/cluster.sh options demo)

query()				# STATEMENT: bare answer
{
	# shellcheck disable=SC2086 # a list
	"$bindir/psql" $options -X -q -A -t -v ON_ERROR_STOP=1 -d "${database:-demo}" -c "$1"
}

show()				# STATEMENT: as somebody would type it
{
	echo "demo=# $1"
	# shellcheck disable=SC2086 # a list
	"$bindir/psql" $options -X -q -P border=2 -P footer=off -v ON_ERROR_STOP=1 -d demo -c "$1"
}

file()				# FILE: its statements, without their results
{
	# shellcheck disable=SC2086 # a list
	"$bindir/psql" $options -X -q -o /dev/null -v ON_ERROR_STOP=1 -d demo -f "$1"
}

say()
{
	echo
	echo "== $*"
}

trouble()
{
	query "SELECT * FROM mktg.status()" >&2
	fail "$* (log: $PWD/tmp/cluster-demo/log)"
}

# The day the whole cluster lives in, worker and sessions.
set_clock()
{
	query "ALTER SYSTEM SET mktg.clock = '$1'"
	query "SELECT pg_reload_conf()" > /dev/null
	wait_until "SELECT mktg.clock() = '$1'" "the clock did not move"
}

wait_until()		# CONDITION MESSAGE
{
	local tries=0
	until [ "$(query "$1")" = t ]; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || trouble "$2"
		sleep 0.1
	done
}

# Follows the worker while it drains the day's queue, until at most that many wait.
drain()				# [REST]
{
	local total left before=-1 tries=0
	total=$(query "SELECT count(*) FROM mktg.message WHERE send_day = mktg.clock()::date AND status <> 'skipped'")
	while :; do
		left=$(query "SELECT count(*) FROM mktg.outbox")
		if [ "$left" != "$before" ]; then
			tries=0
			before=$left
			progress $((total - left)) "$total"
		fi
		[ "$left" -gt "${1:-0}" ] || break
		tries=$((tries + 1))
		[ $tries -lt 150 ] || trouble "the queue does not drain"
		sleep 0.2
	done
	[ ! -t 1 ] || echo
	echo
	# the sandbox reports deliveries and reads after it has taken a message
	[ -n "${1:-}" ] || wait_until "SELECT NOT EXISTS (SELECT FROM mktg.sandbox_message
		WHERE report IS NOT NULL AND reported_at IS NULL)" "the sandbox does not report"
}

progress()			# SENT TOTAL
{
	[ ! -t 1 ] || printf '\r'
	printf '   worker [%-40s] %d of %d' "$(printf '%*s' $((40 * $1 / $2)) '' | tr ' ' '#')" "$1" "$2"
	[ -t 1 ] || echo
}

day()				# DATE
{
	set_clock "$1 09:00+00"
	show "SELECT * FROM mktg.process_daily('$1');"
}

stats()
{
	show "SELECT status, total_target, pending, queued, sent, delivered, read, failed, bounced, skipped, progress_percentage FROM mktg.campaign_stats($campaign);"
}

exact()
{
	wrong=$(query "SELECT mktg.rebuild_stats($campaign)")
	echo "A recount of every recipient finds $wrong wrong counters"
	[ "$wrong" = 0 ] || trouble "the counters were wrong"
}

say "A database with mktg in it"
database=postgres query "CREATE DATABASE demo"
query "CREATE EXTENSION mktg"
query "SELECT mktg.install()" > /dev/null
set_clock '2025-01-14 10:00+00'
wait_until "SELECT bool_and(ok) FROM mktg.status() WHERE \"check\" ~ 'worker'" "the worker did not start"
show "SELECT * FROM mktg.status();"

say "1,060 contacts, 1,000 of them reachable by WhatsApp (examples/demo/contacts.sql)"
file examples/demo/contacts.sql
file examples/demo/provider.sql

say "A template, and a campaign of at most 250 messages a day"
show "SELECT mktg.create_template('new_year', 'whatsapp', body => 'Hi {{name}}, the New Year Sale has begun in {{city}}.');"
show "SELECT mktg.create_campaign('New Year Sale 2025', 'whatsapp', template => 'new_year', daily_send_limit => 250);"
show "SELECT * FROM mktg.add_all_contacts($campaign);"
show "SELECT * FROM mktg.activate_campaign($campaign, '2025-01-15');"
show "SELECT send_date, from_position, to_position, batch_size, status FROM mktg.send_schedule ORDER BY 1;"

say "2025-01-15: the first batch"
day 2025-01-15
drain
stats
exact

say "2025-01-16: five of today's recipients have unsubscribed meanwhile"
show "SELECT count(mktg.unsubscribe(contact_id, 'whatsapp', reason => 'replied STOP')) AS unsubscribed FROM mktg.recipient WHERE campaign_id = $campaign AND position BETWEEN 301 AND 305;"
day 2025-01-16
drain
stats
exact

say "2025-01-17: paused while the batch is on its way, then resumed"
day 2025-01-17
drain 150
show "SELECT mktg.pause_campaign($campaign);"
sleep 0.3			# what had left when we paused comes home
waiting=$(query "SELECT count(*) FROM mktg.outbox")
sleep 1
echo "$waiting messages wait; a second later $(query "SELECT count(*) FROM mktg.outbox") wait"
echo
show "SELECT mktg.resume_campaign($campaign);"
drain
exact

say "2025-01-18: the last batch"
day 2025-01-18
drain
wait_until "SELECT status = 'completed' FROM mktg.campaign WHERE campaign_id = $campaign" "the campaign did not end"
stats
exact

say "The campaign day by day, what failed, and what one customer got"
show "SELECT day, planned, sent, delivered, read, failed, bounced, skipped FROM mktg.campaign_daily WHERE campaign_id = $campaign ORDER BY day;"
show "SELECT status, failure_reason, count(*) FROM mktg.failed_sends GROUP BY 1, 2 ORDER BY 1;"
show "SELECT sent_at, address, body, outcome FROM mktg.sandbox_message ORDER BY contact_id LIMIT 1;"

[ "$(query "SELECT count(*) FROM mktg.campaign_stats($campaign) WHERE status = 'completed'
	AND total_target = 1000 AND pending + queued = 0 AND skipped = 5
	AND sent + failed + bounced = 995")" = 1 ] || trouble "the figures are not those of the story"

say "Done in $SECONDS s. The server still runs. Look around with"
echo "   $(command -v psql || echo "$bindir/psql") $options -d demo"
echo "and stop it with"
echo "   make demo-stop"
