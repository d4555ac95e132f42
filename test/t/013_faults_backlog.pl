# One million messages wait when the worker starts: its memory stays as it is
# with a few, the first message leaves at once, a pause and a stop are prompt,
# and an urgent message does not wait behind them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";

use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $million = 1_000_000;
my $node = new_node('backlog', config => "max_wal_size = 4GB\nshared_buffers = 256MB\n");
my $stub = start_stub();

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# Waits until the stub has had N requests in all.
sub wait_requests
{
	my ($n) = @_;
	my $end = time + 120;
	my $lines = 0;
	open(my $file, '<', $stub->{log}) or die $!;
	while ($lines < $n)
	{
		$lines++ while <$file>;
		seek($file, 0, 1);		# what comes later is seen, too
		die "no $n requests came" if time > $end;
		usleep(5_000);
	}
}

add_contacts($node, 1000, channel => 'webhook');
add_template($node, 'note', 'webhook');
add_webhook_provider($node, $stub, senders => { hook => "on_doubt => 'hold'", urgent => "on_doubt => 'hold'" });

# ---- with two thousand, to compare ----

stub_mode($stub, 'lag=1');
send_some($node, 'hook', 1000, key => $_) for 'a', 'b';
wait_drained($node);
my $few = worker_memory($node);
sql('VACUUM (TRUNCATE off) mktg.outbox');

# ---- a million ----

set_config($node, 'mktg.databases' => '');
wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'mktg worker'");
my $campaign = sql("SELECT campaign_id FROM mktg.campaign");
my $begin = time;
sql("INSERT INTO mktg.message (campaign_id, contact_id, ref, address, status, queued_at)
	SELECT $campaign, 1 + i % 1000, i, 'c' || i, 'queued', now() FROM generate_series(1, $million) i");
sql("INSERT INTO mktg.outbox (campaign_id, contact_id, ref, due)
	SELECT campaign_id, contact_id, ref, queued_at FROM mktg.message WHERE status = 'queued'");
diag(sprintf 'a million messages in the queue after %.0f s', time - $begin);
# what a queue that is empty most of the time looks like to the planner
is(sql("SELECT reltuples, relpages > 0 FROM pg_class WHERE oid = 'mktg.outbox'::regclass"), '0|t', 'the statistics of the queue are those of an empty one');
sql("ALTER SYSTEM SET mktg.databases = 'postgres'");
$node->stop('fast');
my $requests = stub_log($stub);
$begin = time;
$node->start;
wait_requests($requests + 1);
my $took = time - $begin;
cmp_ok($took, '<', 5, sprintf 'the first message leaves %.2f s after the server is told to start', $took);
is_status($node, 'queue', qr/^t\|\d+ waiting, \d+ leased, oldest due row \d+ s old$/, 'status() tells how many wait');

wait_requests($requests + 1000);
my $early = worker_memory($node);
wait_requests($requests + 4000);
my $late = worker_memory($node);
diag(sprintf 'memory of the worker: %.1f MB with a short queue, %.1f MB after 1000 and %.1f MB after 4000 of a million', $few, $early, $late);
cmp_ok($late - $early, '<', 3, 'the worker\'s memory is flat');
cmp_ok($late - $few, '<', 8, 'and what it is with a short queue');
is(sql("SELECT count(lease) <= 64 FROM mktg.outbox"), 't', 'it has leased no more than may be under way');

# ---- what is urgent, a pause, a stop ----

$begin = time;
send_some($node, 'urgent', 1, key => 'urgent');
wait_sender($node, 'urgent', "m.status = 'sent'");
$took = time - $begin;
cmp_ok($took, '<', 5, sprintf 'an urgent message takes %.2f s', $took);

sql("SELECT mktg.pause_campaign($campaign)");
$requests = stub_log($stub);
wait_sql($node, 'postgres', 'SELECT count(lease) = 0 FROM mktg.outbox');
$begin = time;
send_some($node, 'urgent', 1, key => 'later');
wait_sender($node, 'urgent', "m.status = 'sent'");
$took = time - $begin;
cmp_ok($took, '<', 5, sprintf 'behind a paused million it takes %.2f s', $took);
cmp_ok(stub_log($stub) - $requests, '<=', 65, 'a pause lets nothing go but what was under way');
sql("SELECT mktg.resume_campaign($campaign)");
$requests = stub_log($stub);
wait_requests($requests + 200);
$begin = time;
$node->stop('fast');
$took = time - $begin;
cmp_ok($took, '<', 5, sprintf 'a fast stop takes %.2f s', $took);
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nobody had to be killed');

unlink $node->data_dir . '/postgresql.auto.conf';
$node->append_conf('postgresql.conf', "mktg.databases = ''\n");
$node->start;
is(sql('SELECT count(lease), coalesce(max(deaths), 0) FROM mktg.outbox'), '0|0', 'nothing is left leased');
is(sql("SELECT count(*) FROM mktg.message WHERE status NOT IN ('queued', 'sent')"), '0', 'and nothing in doubt');
is(scalar(grep { $_ > 1 } values %{ stub_counts($stub) }), 0, 'nothing was sent twice');
is(sql("SELECT count(*) FROM mktg.message WHERE status = 'sent'"), scalar(keys %{ stub_counts($stub) }), 'what arrived is what is sent');
is_conserved($node, 'in the end');
are_counters_right($node, 'in the end');
$node->stop('immediate');
stop_stub($stub);
done_testing();
