# Real pg_cron: its jobs are registered, run, and removed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $node = new_node(
	'cron',
	installed => 0,
	config => <<'END') if -e PostgreSQL::Test::Cluster->new('probe')->config_data('--pkglibdir') . '/pg_cron.so';
shared_preload_libraries = 'pg_cron, mktg'
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 20
mktg.clock = '2025-01-15 09:00+00'
END
plan skip_all => 'pg_cron is not installed' if !$node;

sub fails_with
{
	my ($db, $sql, $state, $what) = @_;
	my ($status, $out, $err) = $node->psql($db, "\\set VERBOSITY verbose\n$sql");
	like($err, qr/ERROR:  $state:/, $what);
}

sub jobs
{
	return $node->safe_psql('postgres',
		'SELECT jobname, schedule, command, database FROM cron.job ORDER BY jobname COLLATE "C"');
}

$node->safe_psql('postgres', 'CREATE EXTENSION mktg; SELECT mktg.install()');
wait_delivering($node);

# ---- without the extension ----

fails_with('postgres', 'SELECT mktg.schedule_jobs()', 'MK006', 'without pg_cron no jobs are registered');
fails_with('postgres', 'SELECT mktg.unschedule_jobs()', 'MK006', 'nor removed');

# ---- registering ----

$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
my $expected = <<'END';
mktg daily 1|5 * * * *|SELECT mktg.process_daily(tenant => 1)|postgres
mktg maintain|35 3 * * *|SELECT mktg.maintain()|postgres
mktg segments 1|20 4 * * *|SELECT mktg.score_rfm(tenant => 1); SELECT mktg.refresh_segments(tenant => 1)|postgres
END
chomp $expected;

is($node->safe_psql('postgres', 'SELECT mktg.schedule_jobs()'), '3', 'three jobs are registered');
is(jobs(), $expected, 'the daily one, scores with segments, and housekeeping');
is($node->safe_psql('postgres', 'SELECT mktg.schedule_jobs()'), '3', 'registered again');
is(jobs(), $expected, 'they are the same three');
fails_with('postgres', 'SELECT mktg.schedule_jobs(99)', 'MK010', 'a tenant that does not exist has none');
is(jobs(), $expected, 'and nothing is changed');

# ---- pg_cron runs them ----

add_contacts($node, 30);
my $id = add_campaign($node, name => 'spring', limit => 10);
$node->safe_psql('postgres', "SELECT mktg.activate_campaign($id, '2025-01-15')");
$node->safe_psql('postgres', <<'END');
INSERT INTO mktg.provider_failure (tenant_id, sender_id, minute, class, failures)
SELECT tenant_id, sender_id, timestamptz '2024-12-01 00:00+00', 'retry', 1 FROM mktg.sender
END
is($node->safe_psql('postgres', 'SELECT count(*) FROM mktg.outbox'), '0', 'nobody has called process_daily()');
$node->safe_psql('postgres', <<'END');
INSERT INTO mktg.purchase (contact_id, amount) SELECT contact_id, 100 FROM mktg.contact LIMIT 7;
SELECT mktg.create_segment('New buyers', '{"field": "customer.rfmSegment", "operator": "EXISTS"}');
DROP TABLE mktg.event_2025_04
END

$node->safe_psql('postgres', "SELECT cron.alter_job(jobid, schedule => '* * * * *') FROM cron.job");
wait_sql($node, 'postgres', <<'END', 180);
SELECT count(DISTINCT jobid) = 3 FROM cron.job_run_details WHERE status = 'succeeded'
END
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'"),
	'0', 'pg_cron ran all');
is($node->safe_psql('postgres', "SELECT count(*), (SELECT size FROM mktg.segment) FROM mktg.rfm_score"), '7|7',
	'contacts are scored, and a segment that reads the scores is up to date');
is($node->safe_psql('postgres', "SELECT to_regclass('mktg.event_2025_04')"), 'mktg.event_2025_04', 'a partition was missing and is made');
wait_sql($node, 'postgres', 'SELECT count(*) = 10 FROM mktg.sandbox_message');
wait_drained($node);
is($node->safe_psql('postgres', "SELECT send_date, queued, status FROM mktg.send_schedule ORDER BY 1"),
	"2025-01-15|10|dispatched\n2025-01-16|0|planned\n2025-01-17|0|planned", 'the batch of the day has gone out, no other');
is($node->safe_psql('postgres', 'SELECT count(*) FROM mktg.provider_failure'), '0', 'and housekeeping was done');
are_counters_right($node, 'after the jobs');

is($node->safe_psql('postgres', 'SELECT mktg.schedule_jobs()'), '3', 'registering once more');
is(jobs(), $expected, 'puts the times back');

# ---- several tenants, and removing ----

my $tenant = $node->safe_psql('postgres', "SELECT mktg.create_tenant('Second')");
$node->safe_psql('postgres', "SELECT cron.schedule('mine', '0 0 1 1 *', 'SELECT 1'); SELECT mktg.schedule_jobs($tenant)");
is( $node->safe_psql('postgres', "SELECT string_agg(jobname, ', ' ORDER BY jobname COLLATE \"C\") FROM cron.job"),
	"mine, mktg daily 1, mktg daily $tenant, mktg maintain, mktg segments 1, mktg segments $tenant",
	'a second tenant has its own daily and nightly jobs');
is($node->safe_psql('postgres', 'SELECT mktg.unschedule_jobs()'), '5', 'all of mktg are removed');
is(jobs(), 'mine|0 0 1 1 *|SELECT 1|postgres', 'and no other');
is($node->safe_psql('postgres', 'SELECT mktg.unschedule_jobs()'), '0', 'there is none to remove again');

$node->stop('fast');
done_testing();
