# Faults of a provider that answers: limits, an outage, credentials that expire
# in mid-run, and a message that kills the worker.  After each the queue is
# looked at, and messages of another sender go on meanwhile.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";

use Digest::SHA qw(hmac_sha256_base64);
use List::Util qw(max min);
use MIME::Base64 qw(decode_base64);
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $in_flight = 8;
my $node = new_node('provider', config => "mktg.max_in_flight = $in_flight\n");
my $healthy = start_stub();

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# "attempts begun, messages with none, messages" of what a sender has in the queue
sub queue_sums
{
	my ($sender) = @_;
	return sql("SELECT coalesce(sum(o.attempt), 0), count(*) FILTER (WHERE o.attempt = 0), count(*) FROM mktg.outbox o
		JOIN mktg.campaign c USING (tenant_id, campaign_id) JOIN mktg.sender s USING (tenant_id, sender_id) WHERE s.name = '$sender'");
}

# Messages of the healthy sender pass through the whole loop.
sub others_go_on
{
	my ($what) = @_;
	our $round;
	$round++;
	send_some($node, 'healthy', 5, key => "round$round-");
	wait_sender($node, 'healthy', "m.status = 'sent'");
	return pass("$what: another sender's messages go on");
}

sub wait_log
{
	my ($stub, $n) = @_;
	my $end = time + 120;
	my @log;
	while ((@log = stub_log($stub)) < $n)
	{
		die "no $n requests came, but " . @log if time > $end;
		usleep(20_000);
	}
	return @log;
}

# "resting|REASON" of a sender that rests, "ready|" of one that does not
sub sender_state
{
	my ($sender) = @_;
	return sql("SELECT state, rest_reason FROM mktg.sender_status WHERE name = '$sender'");
}

# How soon a rest ends, in seconds.
sub rest_left
{
	my ($sender) = @_;
	return sql("SELECT extract(epoch FROM resting_until - clock_timestamp()) FROM mktg.sender_status WHERE name = '$sender'");
}

add_contacts($node, 300, channel => 'webhook');
add_template($node, 'note', 'webhook', body => 'Hello {{name}}');
add_webhook_provider($node, $healthy, name => 'healthy', senders => { healthy => '' });
others_go_on('at first');

# ---- 429 ----

my %limits = (none => '429/', seconds => '429/30', date => '429/date', overloaded => '503/30');
my %limited;
for my $name (sort keys %limits)
{
	$limited{$name} = start_stub(modes => "$limits{$name}=1");
	add_webhook_provider($node, $limited{$name}, name => $name, senders => { $name => "on_doubt => 'hold'" });
	send_some($node, $name, 20);
}
for my $name (sort keys %limits)
{
	wait_for_status($node, 'provider failures in the last hour', 'f', "\\m$name retry: ");
	like(status_of($node, 'provider failures in the last hour'), qr/\b$name retry: \d+ \(HTTP (429|503)/, "$name: status() says why");
}
others_go_on('429');
# a later message of the sender must wait, too
send_some($node, $_, 1, from => 100, key => 'later') for sort keys %limits;
others_go_on('429 and more to come');
for my $name (qw(seconds date overloaded))
{
	like(sender_state($name), qr/^resting\|HTTP (429|503): /, "$name: the sender rests");
	cmp_ok(rest_left($name), '>', 20, 'as long as it was told');
	my $requests = stub_log($limited{$name});
	my ($attempts, $untried, $all) = split /\|/, queue_sums($name);
	is($all, 21, "$name: all wait");
	is($attempts, $requests, "$name: for $requests requests as many attempts");
	cmp_ok($requests, '<=', $in_flight, "$name: nothing is sent but what was under way");
	is(sql("SELECT count(*) FROM mktg.outbox o JOIN mktg.campaign c USING (tenant_id, campaign_id) JOIN mktg.sender s USING (tenant_id, sender_id)
		WHERE s.name = '$name' AND o.attempt > 0 AND o.due NOT BETWEEN now() + interval '20 s' AND now() + interval '39 s'"), '0',
		"$name: they wait as long as they were told, and up to a quarter more");
}
is_conserved($node, '429');
stub_mode($_, 'ok=1') for values %limited;
sql("SELECT mktg.reset_sender('$_')") for sort keys %limited;
hurry($node);
wait_drained($node);
for my $name (sort keys %limits)
{
	is_sender_queue($node, $name, qr/^(\d+ sent, ended, [12]: -\n?)+$/, "$name: healed, all go, at the second attempt at most");
	is(scalar(grep { $_ != 1 } values %{ stub_counts($limited{$name}) }), 0, "$name: once each");
	is(sender_state($name), 'ready|', 'and the sender is ready');
}
is_conserved($node, '429 healed');

# ---- 503 for as long as it likes: a campaign, and a message on its own ----

my ($down, $lone) = (start_stub(modes => '503=1'), start_stub(modes => '503=1'));
add_webhook_provider($node, $down, name => 'down', senders => { down => "on_doubt => 'hold', daily_limit => 60" });
add_webhook_provider($node, $lone, name => 'lone', senders => { lone => "on_doubt => 'retry'" });
# it is noon for the tenant, so no day ends meanwhile
sql(sprintf "UPDATE mktg.tenant SET time_zone = 'Etc/GMT%+d'", (gmtime)[2] - 12);
my $campaign = add_campaign($node, name => 'offer', channel => 'webhook', sender => 'down', where => 'contact_id <= 60');
launch($node, $campaign);
send_some($node, 'lone', 1);

# 8 requests of the one are three more than the breaker lets through, after 1, 2 and 4 s
my $end = time + 60;
while (stub_log($lone) < 8 && time < $end)
{
	sql("UPDATE mktg.outbox o SET due = now() FROM mktg.campaign c JOIN mktg.sender s USING (tenant_id, sender_id)
		WHERE c.tenant_id = o.tenant_id AND c.campaign_id = o.campaign_id AND s.name = 'lone' AND o.lease IS NULL");
	usleep(100_000);
}
my @at = map { $_->{at} } wait_log($lone, 8);
wait_sender($node, 'lone', 'o.lease IS NULL');
is_sender_queue($node, 'lone', qr/^1 queued, waiting, 5: -$/, 'a message on its own: tries that find the provider down are no attempts, so it outlives any outage');
cmp_ok($at[$_] - $at[ $_ - 1 ], '>=', 2**($_ - 5), sprintf('its sender rests %.1f s, twice as long each time', $at[$_] - $at[ $_ - 1 ])) for 5 .. 7;

@at = map { $_->{at} } wait_log($down, $in_flight + 2);
my ($attempts, $untried, $all) = split /\|/, queue_sums('down');
is($all, 60, 'a campaign: all wait');
cmp_ok($attempts, '<=', $in_flight + 5, 'only what was under way before five refusals has burnt an attempt');
is(sql("SELECT max(attempt) FROM mktg.outbox WHERE campaign_id = $campaign"), '1', 'one each');
cmp_ok(scalar @at - $attempts, '<=', 6, 'what comes after it are single tries');
like(sender_state($_), qr/^resting\|HTTP 503: /, "$_: the sender rests") for qw(down lone);
others_go_on('an outage');
is_sender_queue($node, 'down', qr/^\d+ queued, waiting, 0: -\n\d queued, waiting, 1: -$/, 'an outage: none is lost, failed or in doubt');
like(status_of($node, 'provider failures in the last hour'), qr/\bdown retry: \d+ \(HTTP 503/, 'status() says why');
is_conserved($node, 'an outage');

stub_mode($_, 'ok=1') for $down, $lone;
hurry($node);
wait_drained($node, 'postgres', 120);
is_sender_queue($node, 'down', qr/^(\d+ sent, ended, [12]: -\n?)+$/, 'back again: all go by themselves, at the second attempt at most');
is_sender_queue($node, 'lone', qr/^1 sent, ended, 6: -$/, 'also the one on its own');
is(scalar(grep { $_ != 1 } values %{ stub_counts($down) }), 0, 'once each');
is(sql("SELECT used FROM mktg.sender_state JOIN mktg.sender USING (tenant_id, sender_id) WHERE name = 'down'"), '60', 'and count once for the day');
is_conserved($node, 'back again');
are_counters_right($node, 'back again');

# ---- credentials expire in mid-run ----

my $strict = start_stub(full => 1, modes => 'lag=1');
add_webhook_provider($node, $strict, name => 'strict', senders => { strict => "on_doubt => 'hold'" });
my $pid = worker_pid($node);
my $run = add_campaign($node, name => 'run', channel => 'webhook', sender => 'strict', where => 'contact_id <= 200');
launch($node, $run);
wait_log($strict, 30);
stub_mode($strict, '401=1');
wait_for_status($node, 'provider failures in the last hour', 'f', 'strict config: .*HTTP 401');
wait_sql($node, 'postgres', 'SELECT count(lease) = 0 FROM mktg.outbox');
my $refused = grep { $_->{mode} eq '401' } stub_log($strict);
my $sent = sql("SELECT sent FROM mktg.campaign_stats($run)");
is(queue_sums('strict'), '0|' . (200 - $sent) . '|' . (200 - $sent), "credentials expired after $sent of 200: the rest wait, and no attempt is burnt");
cmp_ok($refused, '<=', 2 * $in_flight, "the $refused that were refused were under way, or begun before the first refusal came");
send_some($node, 'strict', 3, key => 'after');
like(sender_state('strict'), qr/^resting\|HTTP 401: /, 'the sender rests, and says why');
others_go_on('credentials expired');
is(scalar(grep { $_->{mode} eq '401' } stub_log($strict)), $refused, 'the channel stands still, also for messages that come now');
is_status($node, 'worker postgres', qr/^t\|pid $pid$/, 'the worker delivers');
is_conserved($node, 'credentials expired');

my $secret = 'whsec_' . 'bmV3LXNlY3JldC1vZi0zMi1ieXRlcy1oZXJlLWl0LWlzIQ==';
stub_mode($strict, 'ok=1');
my $seen = stub_log($strict);
sql("SELECT mktg.set_credential('strict', 'secret', '$secret')");
wait_drained($node);
my @after = stub_log($strict);
is(scalar(grep { !signed($_, $secret) } @after[ $seen .. $#after ]), 0, 'set_credential() heals it at once: what goes now has the new signature');
is_sender_queue($node, 'strict', qr/^203 sent, ended, 1: -$/, 'everything is sent at its first attempt');
is(scalar(grep { $_ != 1 } values %{ stub_counts($strict) }), 0, 'once each');
is(worker_pid($node), $pid, 'by the same worker');
is_conserved($node, 'credentials renewed');
are_counters_right($node, 'credentials renewed');

# ---- a message that the worker dies of ----

# It stalls, and a segmentation fault comes while it is under way with others.
set_config($node, 'mktg.max_in_flight' => 20);
my $trap = start_stub(modes => 'stall=1');
add_webhook_provider($node, $trap, name => 'trap', senders => { trap => "on_doubt => 'retry'", held => "on_doubt => 'hold'" });

sub crash_worker
{
	my $worker = worker_pid($node);
	kill('SEGV', $worker) == 1 or die 'no worker to kill';
	wait_sql($node, 'postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'mktg worker' AND pid <> $worker");
	wait_delivering($node);
}

# how often the stub has had the message
sub times_asked
{
	my ($id) = @_;
	return scalar grep { ($_->{id} // '') eq $id } stub_log($trap);
}

sub wait_asked
{
	my ($id, $n) = @_;
	my $until = time + 60;
	while (times_asked($id) < $n)
	{
		die "message $id was not asked for" if time > $until;
		usleep(20_000);
	}
}

my ($boom) = send_some($node, 'trap', 1, key => 'boom');
my @innocent = send_some($node, 'trap', 4, from => 10);
my @held = send_some($node, 'held', 2, from => 20);
wait_asked($_, 1) for $boom, @innocent, @held;
stub_mode($trap, 'if:boom=stall ok=1');
crash_worker();
is_sender_queue($node, 'held', qr/^2 in_doubt, ended, 1: worker died while it was under way$/, 'hold: what was under way is in doubt, and not sent again');
wait_asked($boom, 2);
others_go_on('a message that the worker died of');
is(sql("SELECT count(*) FROM mktg.outbox WHERE deaths = 1 AND lease IS NOT NULL AND ref LIKE '%boom%'"), '1', 'it is under way once more');
is(sql("SELECT count(*) FROM mktg.outbox WHERE deaths = 1 AND lease IS NULL"), '4', 'alone: the innocent wait for their turn, so the next death is not theirs');
is_conserved($node, 'after one death');
crash_worker();
wait_sender($node, 'trap', "m.status <> 'queued'");
is_sender_queue($node, 'trap', qr/^1 failed, ended, 2: quarantined: two workers died with it\n4 sent, ended, 2: -$/,
	'after two deaths it is quarantined, and only it');
is(times_asked($boom), 2, 'and not sent a third time');
send_some($node, 'trap', 3, key => 'next', from => 30);
wait_sql($node, 'postgres', "SELECT count(*) = 3 FROM mktg.message WHERE status = 'sent' AND ref LIKE '%next%'");
pass('its sender goes on');
others_go_on('quarantined');
ok(slurp_file($node->logfile) =~ /background worker "mktg worker[^"]*" \(PID \d+\) was terminated by signal 11/, 'the worker did crash');
is_conserved($node, 'quarantined');
are_counters_right($node, 'quarantined');
my @errors = slurp_file($node->logfile) =~ /ERROR:  (.*)/g;
is("@errors", '', 'no transaction of the worker has failed');

$node->stop('fast');
stop_stub($_) for $healthy, $down, $lone, $strict, $trap, values %limited;
done_testing();

# Is the request signed with this secret?
sub signed
{
	my ($request, $with) = @_;
	my ($timestamp) = $request->{headers} =~ /^webhook-timestamp: (\d+)/m;
	my ($signature) = $request->{headers} =~ /^webhook-signature: v1,(\S+)/m;
	return hmac_sha256_base64("$request->{id}.$timestamp.$request->{body}", decode_base64(substr($with, length 'whsec_'))) . '=' eq $signature;
}
