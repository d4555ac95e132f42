# Senders with the real worker: the breaker over restarts, a second provider, one
# that stalls beside one that does not, urgency, bounces that pause a campaign.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $node = new_node('senders', config => "mktg.max_in_flight = 16\n");
my $first = start_stub();
my $second = start_stub();

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

sub state_of
{
	return sql("SELECT state FROM mktg.sender_status WHERE name = '$_[0]'");
}

# Sends N messages by a sender, each with a key of its own.
my $key = 0;
sub send_some
{
	my ($n, $sender) = @_;
	$key++;
	sql("SELECT count(mktg.send(contact_id, 'note', channel => 'webhook', sender => '$sender', idempotency_key => 'k$key'))
		FROM (SELECT contact_id FROM mktg.contact ORDER BY contact_id LIMIT $n) c");
}

sub requests
{
	return scalar(stub_log($_[0]));
}

add_contacts($node, 300, channel => 'webhook');
add_template($node, 'note', 'webhook');
add_webhook_provider($node, $first, name => 'first', options => "timeout_ms '10000'");
add_webhook_provider($node, $second, name => 'second');
sql("SELECT mktg.set_sender('alone', 'first', 'webhook'), mktg.set_sender('backed', 'first', 'webhook', fallback => 'second')");

# ---- the breaker ----

stub_mode($first, '503=1');
send_some(20, 'alone');
wait_sql($node, 'postgres', "SELECT state = 'resting' AND rest_reason LIKE '%503%' FROM mktg.sender_status WHERE name = 'alone'");
pass('a sender whose provider refuses rests, and its status says why');
# a long rest, as after an hour of this
sql("UPDATE mktg.sender_state SET resting_until = clock_timestamp() + interval '1 hour'");
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'mktg worker'");
wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM mktg.outbox WHERE lease IS NOT NULL");
wait_delivering($node);
my $before = requests($first);
my $attempts = sql('SELECT sum(attempt) FROM mktg.outbox');
stub_mode($first, 'ok=1');
sql("UPDATE mktg.outbox SET due = now()");
# another sender's message goes to its end meanwhile
add_template($node, 'text', 'sms');
sql("SELECT mktg.send(1, 'text', channel => 'sms')");
wait_sql($node, 'postgres', "SELECT m.status <> 'queued' FROM mktg.message m JOIN mktg.campaign c USING (tenant_id, campaign_id) WHERE channel = 'sms'");
is(requests($first), $before, 'the next worker keeps the rest');
is(sql("SELECT sum(attempt) FROM mktg.outbox"), $attempts, 'and burns no attempt');
is(state_of('alone'), 'resting', 'as its status says');
is(sql("SELECT mktg.reset_sender('alone')"), 't', 'somebody ends it');
wait_drained($node);
is(requests($first), $before + 20, 'all of it goes out');
wait_sql($node, 'postgres', "SELECT state = 'ready' FROM mktg.sender_status WHERE name = 'alone'");
is_conserved($node, 'after a rest');

# ---- a second provider ----

stub_mode($first, '503=1');
$before = requests($second);
send_some(100, 'backed');
wait_drained($node);
cmp_ok(requests($second) - $before, '>=', 80, 'while the first rests, messages go by the second');
is(sql("SELECT count(*) FROM mktg.message WHERE ref = 'k$key' AND status = 'sent'"), '100', 'all of them');
stub_mode($first, 'ok=1');
sql("SELECT mktg.reset_sender('backed')");
$before = requests($second);
my $at_first = requests($first);
send_some(30, 'backed');
wait_drained($node);
is(requests($first) - $at_first, 30, 'after its rest they go by the first again');
is(requests($second), $before, 'and no more by the second');

# ---- one that stalls ----

stub_mode($first, 'stall=1');
send_some(40, 'alone');
wait_sql($node, 'postgres', 'SELECT count(*) >= 8 FROM mktg.outbox WHERE lease IS NOT NULL');
sql("SELECT mktg.set_sender('other', 'second', 'webhook')");
send_some(200, 'other');
wait_sql($node, 'postgres', "SELECT count(*) = 200 FROM mktg.message WHERE ref = 'k$key' AND status = 'sent'", 25);
cmp_ok(sql("SELECT count(*) FROM mktg.outbox WHERE lease IS NOT NULL"), '<=', 16, 'one provider that stalls does not stop another');
is(sql("SELECT count(*) > 0 FROM mktg.outbox"), 't', 'it stalls all the while');
like(sql("SELECT query FROM pg_stat_activity WHERE backend_type = 'mktg worker'"), qr/^delivering messages: \d+ under way, \d+ a second$/, 'pg_stat_activity says how it goes');
is(sql("SELECT remaining > 0 AND estimated_end IS NULL OR per_second >= 0 FROM mktg.delivery_progress LIMIT 1"), 't', 'so does delivery_progress');
stub_mode($first, 'ok=1');
sql("SELECT mktg.cancel_campaign(campaign_id) FROM mktg.campaign WHERE status = 'active' AND sender_id = (SELECT sender_id FROM mktg.sender WHERE name = 'alone')");
wait_drained($node, 'postgres', 60);

# ---- urgency ----

sql("SELECT mktg.set_sender('box', 'mktg_sandbox')");
add_contacts($node, 20000, from => 1001);
my $big = add_campaign($node, name => 'big', sender => 'box', where => "external_id ~ '^c[0-9]{4,5}\$'", priority => 3);
my $urgent = add_campaign($node, name => 'urgent', sender => 'box', where => "contact_id % 1000 = 0", priority => 8);
my $equal = add_campaign($node, name => 'equal', sender => 'box', where => "contact_id % 1000 = 1", priority => 3);
launch($node, $big);
wait_sql($node, 'postgres', "SELECT count(*) > 500 FROM mktg.message WHERE campaign_id = $big AND sent_at IS NOT NULL");
launch($node, $urgent);
launch($node, $equal);
wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM mktg.outbox WHERE campaign_id IN ($urgent, $equal)");
cmp_ok(sql("SELECT count(*) FROM mktg.outbox WHERE campaign_id = $big"), '>', 100, 'an urgent campaign, and a small one of the same priority, are through while the big one goes on');
wait_drained($node, 'postgres', 120);

# ---- bounces ----

sql("CREATE SERVER bouncing FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'sandbox', bounced_rate '0.3', seed '1');
	SELECT mktg.set_sender('bouncing', 'bouncing', rate_per_second => 400)");
my $bad = add_campaign($node, name => 'bad', sender => 'bouncing', where => "contact_id BETWEEN 5000 AND 8000");
sql("SELECT mktg.set_delivery_limits($bad, max_bounce_rate => 0.05)");
launch($node, $bad);
wait_sql($node, 'postgres', "SELECT status = 'paused' AND pause_reason ~ '^bounces: ' FROM mktg.campaign WHERE campaign_id = $bad");
wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM mktg.outbox WHERE lease IS NOT NULL");
cmp_ok(sql("SELECT count(*) FROM mktg.outbox WHERE campaign_id = $bad"), '>', 2000, 'a campaign that bounces pauses itself early');
is_conserved($node, 'at the end');
are_counters_right($node, 'at the end');

stop_stub($_) for $first, $second;
$node->stop;
done_testing();
