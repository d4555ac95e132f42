# The worker: starts, drains, wakes at commit, heeds a pause, says why it idles
# and goes on by itself, and follows mktg.databases.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $node = new_node('worker', config => "track_commit_timestamp = on\nmax_worker_processes = 12");

# ---- a small campaign, through the sandbox, with reports ----

is_status($node, 'library', qr/^t\|mktg /, 'status: the library');
is_status($node, 'preloaded', qr/^t\|/, 'status: preloaded');
is_status($node, 'schema', qr/^t\|version \d+$/, 'status: the schema');
is_status($node, 'armed', qr/^t\|/, 'status: armed by install()');
is_status($node, 'worker postgres', qr/^t\|pid \d+$/, 'status: the worker delivers');
is_status($node, 'queue', qr/^t\|0 waiting, 0 leased, oldest due row none$/, 'status: an empty queue');

$node->safe_psql('postgres', "ALTER SERVER mktg_sandbox OPTIONS (ADD seed '7', ADD read_rate '0.5',
	ADD delivered_rate '0.9', ADD failed_rate '0.1', ADD bounced_rate '0.1')");
add_contacts($node, 300);
my $id = add_campaign($node, name => 'first');
launch($node, $id);
wait_drained($node);
wait_sql($node, 'postgres', "SELECT status = 'completed' FROM mktg.campaign WHERE campaign_id = $id");
wait_sql($node, 'postgres', 'SELECT NOT EXISTS (SELECT FROM mktg.sandbox_message
	WHERE report IS NOT NULL AND reported_at IS NULL)');
is($node->safe_psql('postgres', "SELECT count(DISTINCT status) FROM mktg.message WHERE campaign_id = $id"), '5',
	'messages are sent, delivered, read, failed and bounced');
is($node->safe_psql('postgres', "SELECT count(*) FROM mktg.message m JOIN mktg.sandbox_message s USING (campaign_id, contact_id)
	WHERE m.campaign_id = $id AND m.status <> CASE s.outcome WHEN 'sent' THEN coalesce(s.report, 'sent') ELSE s.outcome END"),
	'0', 'each as the provider said');
is($node->safe_psql('postgres', "SELECT (SELECT count(*) FROM mktg.suppression) =
	(SELECT count(*) FROM mktg.message WHERE status = 'bounced')"), 't', 'bounced addresses are suppressed');
is($node->safe_psql('postgres', "SELECT body FROM mktg.sandbox_message ORDER BY contact_id LIMIT 1"), 'Hello Contact 1',
	'rendered from the template');
is_conserved($node, 'after a campaign');
are_counters_right($node, 'after a campaign');

# ---- the way from commit to the provider ----

my $stub = start_stub(full => 1);
add_webhook_provider($node, $stub, senders => { hook => '' });
add_template($node, 'receipt', 'email', subject => 'Receipt {{order}}');
$node->safe_psql('postgres', 'CREATE TABLE sends (message text)');
for my $i (1 .. 31)
{
	$node->safe_psql('postgres', "INSERT INTO sends SELECT mktg.send($i, 'receipt', '{\"order\": $i}', sender => 'hook')");
	wait_drained($node);
}
my %committed = map { split /\|/ } split /\n/, $node->safe_psql('postgres',
	'SELECT message, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM sends');
my @ms = sort { $a <=> $b } map { 1000 * ($_->{at} - $committed{ $_->{id} }) } grep { $committed{ $_->{id} } } stub_log($stub);
is(scalar @ms, 31, 'every message arrived once');
diag(sprintf('from commit to arrival: median %.1f ms, largest %.1f ms', $ms[15], $ms[-1]));
cmp_ok($ms[15], '<', 500, 'a commit wakes the worker: no poll explains the median');
like((stub_log($stub))[0]{body}, qr/"subject":"Receipt 1"/, 'with the variables of the call');
is_conserved($node, 'after single messages');

# ---- pause stops at the next claim, resume goes on, cancel ends ----

stub_mode($stub, 'slow=1');
set_config($node, 'mktg.max_in_flight' => 4);
my $paused = add_campaign($node, name => 'paused', sender => 'hook');
launch($node, $paused);
wait_sql($node, 'postgres', 'SELECT count(*) >= 4 FROM mktg.outbox WHERE lease IS NOT NULL');
my $before = $node->safe_psql('postgres', "SELECT mktg.pause_campaign($paused); SELECT sum(attempt) FROM mktg.outbox");
stub_mode($stub, 'ok=1');
wait_sql($node, 'postgres', 'SELECT count(lease) = 0 FROM mktg.outbox');
my $requests = @{ [ stub_log($stub) ] };
# a message to somebody else passes through the whole loop meanwhile
$node->safe_psql('postgres', "SELECT mktg.send(299, 'receipt', sender => 'hook')");
wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM mktg.outbox WHERE campaign_id <> $paused");
is(@{ [ stub_log($stub) ] } - $requests, 1, 'nothing of a paused campaign is sent');
is($node->safe_psql('postgres', "SELECT count(*) = (SELECT queued FROM mktg.campaign_stats($paused)) AND count(*) > 200
	FROM mktg.outbox WHERE campaign_id = $paused"), 't', 'what waited still waits');
is_conserved($node, 'in a pause');
$node->safe_psql('postgres', "SELECT mktg.resume_campaign($paused)");
wait_drained($node);
is($node->safe_psql('postgres', "SELECT sent + skipped = total_target AND queued = 0 FROM mktg.campaign_stats($paused)"), 't',
	'resumed it is sent to the end');

stub_mode($stub, 'slow=1');
my $cancelled = add_campaign($node, name => 'cancelled', sender => 'hook');
launch($node, $cancelled);
wait_sql($node, 'postgres', 'SELECT count(*) >= 4 FROM mktg.outbox WHERE lease IS NOT NULL');
$node->safe_psql('postgres', "SELECT mktg.cancel_campaign($cancelled)");
stub_mode($stub, '503=1');
wait_drained($node);
is($node->safe_psql('postgres', "SELECT cancelled > 200 AND queued = 0 AND pending = 0 FROM mktg.campaign_stats($cancelled)"), 't',
	'cancelled: nothing waits');
is_conserved($node, 'after cancelling');
are_counters_right($node, 'after cancelling');
stub_mode($stub, 'ok=1');

# ---- what cannot be recorded stays in memory, and nothing more is sent ----

stub_mode($stub, 'slow=1');
set_config($node, 'mktg.max_in_flight' => 4);
$node->safe_psql('postgres', q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''out of order''; END'});
my $stuck = add_campaign($node, name => 'stuck', sender => 'hook', where => 'contact_id <= 40');
my $log_start = -s $node->logfile;
$requests = @{ [ stub_log($stub) ] };
launch($node, $stuck);
wait_sql($node, 'postgres', 'SELECT count(*) >= 4 FROM mktg.outbox WHERE lease IS NOT NULL');
$node->safe_psql('postgres', 'CREATE TRIGGER refuse BEFORE UPDATE ON mktg.message FOR EACH ROW EXECUTE FUNCTION refuse()');
wait_for_status($node, 'worker postgres', 'f', 'idle: the last transaction failed; see the server log');
# and once more, so that it has tried again
wait_sql($node, 'postgres', "SELECT count(*) > 1 FROM regexp_matches(pg_read_file('" . $node->logfile
	. "', $log_start, 10000000), 'ERROR:  out of order', 'g')");
stub_mode($stub, 'ok=1');
is(@{ [ stub_log($stub) ] } - $requests, 4, 'while records fail nothing more is sent');
is($node->safe_psql('postgres', 'SELECT count(lease), count(*) FROM mktg.outbox'), '4|' . $node->safe_psql('postgres',
	"SELECT count(*) FROM mktg.message WHERE status = 'queued'"), 'and nothing is forgotten');
$node->safe_psql('postgres', 'DROP TRIGGER refuse ON mktg.message; DROP FUNCTION refuse()');
wait_drained($node);
is(@{ [ stub_log($stub) ] } - $requests, $node->safe_psql('postgres', "SELECT sent FROM mktg.campaign_stats($stuck)"),
	'recorded at last, each was sent once');
is($node->safe_psql('postgres', "SELECT max(attempts) FROM mktg.message WHERE campaign_id = $stuck"), '1', 'at the first attempt');
is_status($node, 'worker postgres', qr/^t\|/, 'and the worker delivers');
is_conserved($node, 'after records that failed');
are_counters_right($node, 'after records that failed');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET mktg.max_in_flight');
$node->reload;

my ($status, $answer, $error) = $node->psql('postgres', "ALTER SYSTEM SET mktg.clock = '2025-13-45 10:00'");
like($error, qr/"2025-13-45 10:00" is not a timestamp/, 'a clock at no time is refused');

# ---- without work, and with work it may not do, it does not spin ----

my $backlog = add_campaign($node, name => 'backlog');
$node->safe_psql('postgres', 'SELECT mktg.disarm_delivery()');
wait_for_status($node, 'worker postgres', 'f', 'idle: not armed');
launch($node, $backlog);
is_status($node, 'armed', qr/^f\|not armed; mktg.arm_delivery\(\) arms it/, 'status: disarmed');
my $sandbox = $node->safe_psql('postgres', 'SELECT count(*) FROM mktg.sandbox_message');
my ($commits) = $node->safe_psql('postgres', "SELECT pg_stat_get_db_xact_commit(oid) FROM pg_database WHERE datname = 'postgres'");
my $since = $node->safe_psql('postgres', 'SELECT now()');
wait_sql($node, 'postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'mktg worker'
	AND state_change > '$since'::timestamptz)");
cmp_ok($node->safe_psql('postgres', "SELECT pg_stat_get_db_xact_commit(oid) - $commits FROM pg_database WHERE datname = 'postgres'"),
	'<', 200, 'an idle worker does not spin');
is($node->safe_psql('postgres', 'SELECT count(*) FROM mktg.sandbox_message'), $sandbox, 'disarmed, it sends nothing');
$node->safe_psql('postgres', 'SELECT mktg.arm_delivery()');
wait_drained($node);
is_status($node, 'worker postgres', qr/^t\|/, 'armed again, it sends');

# ---- extension dropped under way, put back ----

my $again = add_campaign($node, name => 'again');
$node->safe_psql('postgres', 'DROP EXTENSION mktg CASCADE');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'mktg worker'"),
	'the worker outlives DROP EXTENSION');
$node->wait_for_log(qr/mktg worker idles: extension mktg is not in this database/);
$node->safe_psql('postgres', 'CREATE EXTENSION mktg');
is_status($node, 'schema', qr/^f\|.*DROP EXTENSION took/, 'status: triggers and views are missing');
wait_for_status($node, 'worker postgres', 'f', 'DROP EXTENSION took');
my ($ret, $out, $err) = $node->psql('postgres', "SELECT mktg.process_daily()", extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($err, qr/MK003/, 'nothing works on half a schema');
like($err, qr/mktg\.migrate\(\)/, 'and the hint says what mends it');
$node->safe_psql('postgres', 'SELECT mktg.migrate()');
wait_delivering($node);
launch($node, $again);
wait_drained($node);
pass('migrated, it sends again');
are_counters_right($node, 'after DROP EXTENSION and migrate()');

# ---- databases come and go ----

$node->safe_psql('postgres', 'CREATE DATABASE bare');
$node->safe_psql('postgres', 'CREATE DATABASE other');
set_config($node, 'mktg.databases' => 'postgres,bare,other');
wait_for_status($node, 'worker bare', 'f', 'extension mktg is not in this database');
$node->safe_psql('bare', 'CREATE EXTENSION mktg');
wait_for_status($node, 'worker bare', 'f', 'not installed');
$node->safe_psql('bare', 'SELECT mktg.install()');
wait_delivering($node, 'bare');
pass('the worker notices extension and installation by itself');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'mktg worker'"), '3',
	'one worker a database');

my $offset = -s $node->logfile;
set_config($node, 'mktg.databases' => 'other,postgres,nowhere');
wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'mktg worker' AND datname = 'bare'");
wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM mktg.status() WHERE \"check\" = 'worker bare'");
pass('a database no longer named loses its worker');
$node->wait_for_log(qr/database "nowhere" does not exist/, $offset);
wait_for_status($node, 'worker nowhere', 'f', 'not running');
$node->safe_psql('postgres', 'CREATE DATABASE nowhere');
wait_for_status($node, 'worker nowhere', 'f', 'extension mktg is not in this database');
pass('a database created later gets its worker');
is_status($node, 'worker bare', qr/^f\|none; the setting mktg.databases does not name/, 'status in a database not named', 'bare');

($ret, $out, $err) = $node->psql('postgres', "ALTER SYSTEM SET mktg.databases = '\"x'");
isnt($ret, 0, 'a list that is none is refused');

# ---- no slot left for a worker ----

$node->adjust_conf('postgresql.conf', 'max_worker_processes', '2');
set_config($node, 'mktg.databases' => 'postgres');
$node->restart;
wait_for_status($node, 'worker postgres', 'f', 'no background worker slot; raise max_worker_processes');
pass('status: no worker slot');
$node->adjust_conf('postgresql.conf', 'max_worker_processes', '1');
$node->restart;
is_status($node, 'worker postgres', qr/^f\|none; the launcher does not run: raise max_worker_processes/, 'status: no slot for the launcher');
$node->adjust_conf('postgresql.conf', 'max_worker_processes', '8');
$node->restart;
wait_delivering($node);

is_conserved($node, 'in the end');
are_counters_right($node, 'in the end');
stop_stub($stub);
$node->stop;
done_testing();
