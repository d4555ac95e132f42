# A dump of a busy installation has everything and sends nothing; neither does
# a copy of the data directory.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $node = new_node('restore', allows_streaming => 1);
my $dump = $PostgreSQL::Test::Utils::tmp_check . '/busy.sql';

# a line "name|digest" for every table and sequence of mktg, row by row
my $digests = <<'END';
SELECT string_agg(CASE relkind
         WHEN 'S' THEN format('SELECT %L, md5(concat(last_value, is_called)) FROM %s', oid::regclass, oid::regclass)
         ELSE format('SELECT %L, count(*) || '' '' || md5(string_agg(t::text, E''\n'' ORDER BY t::text COLLATE "C")) FROM %s t',
                     oid::regclass, oid::regclass)
         END, ' UNION ALL ' ORDER BY oid::regclass::text COLLATE "C") || ' ORDER BY 1' AS digests
  FROM pg_class WHERE relnamespace = 'mktg'::regnamespace AND relkind IN ('r', 'p', 'S')
\gset
:digests;
END

sub sql
{
	my ($db, $sql, $where) = @_;
	return ($where // $node)->safe_psql($db, $sql);
}

sub contents
{
	my ($db, $where) = @_;
	return sql($db, $digests, $where);
}

# ---- a busy installation ----

sql('postgres', q{SELECT mktg.create_tenant('Second', 'Asia/Kolkata')});
sql('postgres', q{ALTER SERVER mktg_sandbox OPTIONS (ADD failed_rate '0.1', ADD bounced_rate '0.1', ADD read_rate '0.5');
	SELECT mktg.set_sender('slow', 'mktg_sandbox', rate_per_second => 20)});
add_contacts($node, 600);
sql('postgres', q{SELECT mktg.unsubscribe(contact_id, 'whatsapp') FROM mktg.contact WHERE contact_id <= 20;
	SELECT mktg.suppress('whatsapp', phone, 'stop') FROM mktg.contact WHERE contact_id BETWEEN 21 AND 30});
my %id;
$id{$_} = add_campaign($node, name => $_, limit => 50, where => 'contact_id <= 200') for qw(quick paused cancelled draft);
$id{slow} = add_campaign($node, name => 'slow', sender => 'slow', where => 'contact_id > 100');
sql('postgres', "SELECT mktg.activate_campaign($id{$_}, (mktg.clock() AT TIME ZONE 'UTC')::date)") for qw(quick paused cancelled slow);
sql('postgres', "SELECT mktg.pause_campaign($id{paused})");
sql('postgres', 'SELECT mktg.process_daily()');
sql('postgres', "SELECT mktg.cancel_campaign($id{cancelled})");
wait_sql($node, 'postgres', "SELECT count(*) >= 60 FROM mktg.sandbox_message");
my $taken_before = sql('postgres', 'SELECT count(*) FROM mktg.sandbox_message');

# the dump and the digests see the same instant, while the worker goes on
my $connection = $node->connstr('postgres');
my $original = sql('postgres', <<"END");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_export_snapshot() AS snapshot \\gset
\\setenv SNAPSHOT :snapshot
\\! pg_dump -d "$connection" --snapshot=\$SNAPSHOT -f $dump
$digests
COMMIT;
END
wait_sql($node, 'postgres', "SELECT count(*) > $taken_before FROM mktg.sandbox_message");
ok(-s $dump, 'a dump is made while the worker sends');

# ---- restored ----

sql('postgres', 'CREATE DATABASE restored');
$node->command_ok(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump],
	'it is restored into a new database');
is(contents('restored'), $original, 'with the same rows, sequences and statistics');
cmp_ok((() = $original =~ /\n/g), '>', 20, 'of all tables');
cmp_ok(sql('restored', 'SELECT count(*) FROM mktg.outbox'), '>', 100, 'and with messages that wait');
are_counters_right($node, 'restored', 'restored');
is_status($node, 'armed', qr/^f\|armed for another database$/, 'status() says that it is not armed', 'restored');

set_config($node, 'mktg.databases' => 'postgres, restored');
wait_for_status($node, 'worker restored', 'f', '^pid \d+, idle: armed for another database$', 'restored');
pass('the worker says so, too');
is(contents('restored'), $original, 'and has touched nothing');

# it works, but for the sending
sql('restored', "SELECT mktg.send(600, 'quick', channel => 'whatsapp', idempotency_key => 'here')");
is(sql('restored', "SELECT status FROM mktg.message WHERE ref LIKE '%here'"), 'queued', 'what is sent there waits');

my $taken = sql('restored', 'SELECT count(*) FROM mktg.sandbox_message');
sql('restored', q{UPDATE mktg.sender SET rate_per_second = NULL});
sql('restored', 'SELECT mktg.arm_delivery()');
wait_delivering($node, 'restored');
wait_sql($node, 'restored', 'SELECT count(*) = 0 FROM mktg.outbox JOIN mktg.campaign USING (tenant_id, campaign_id) WHERE status <> \'paused\'');
is_status($node, 'armed', qr/^t\|/, 'armed by a person', 'restored');
cmp_ok(sql('restored', 'SELECT count(*) FROM mktg.sandbox_message'), '>', $taken + 100, 'it sends');
is(sql('restored', "SELECT status FROM mktg.message WHERE ref LIKE '%here'") =~ /^(sent|delivered|read|failed|bounced)$/ ? 1 : 0, 1,
	'what waited, too');
is_conserved($node, 'armed', 'restored');
are_counters_right($node, 'armed', 'restored');
is_status($node, 'armed', qr/^t\|/, 'the original is armed as it was');

# ---- a copy of the data directory ----

sql('postgres', "UPDATE mktg.sender SET rate_per_second = 1 WHERE name = 'slow'");
sql('postgres', "SELECT mktg.send(i, 'quick', channel => 'whatsapp', idempotency_key => 'copy-' || i, sender => 'slow') FROM generate_series(1, 300) i");
$node->backup('copy');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'copy');
$copy->start;
is(sql('postgres', 'SELECT pg_is_in_recovery()', $copy), 'f', 'a copy is started beside the original');
wait_for_status($copy, 'worker postgres', 'f', '^pid \d+, idle: armed for another data directory$');
is_status($copy, 'armed', qr/^f\|armed for another data directory$/, 'and says why it is silent');
wait_for_status($copy, 'worker restored', 'f', 'idle: armed for another data directory', 'restored');
my $silent = contents('postgres', $copy);
cmp_ok(sql('postgres', 'SELECT count(*) FROM mktg.outbox', $copy), '>', 100, 'messages wait there');
wait_sql($node, 'postgres', 'SELECT count(*) > ' . sql('postgres', 'SELECT count(*) FROM mktg.sandbox_message', $copy) . ' FROM mktg.sandbox_message');
pass('the original goes on sending');
is(contents('postgres', $copy), $silent, 'and the copy does not');

sql('postgres', q{UPDATE mktg.sender SET rate_per_second = NULL}, $copy);
sql('postgres', 'SELECT mktg.arm_delivery()', $copy);
wait_delivering($copy);
wait_sql($copy, 'postgres', "SELECT NOT EXISTS (SELECT FROM mktg.outbox JOIN mktg.campaign USING (tenant_id, campaign_id) WHERE status <> 'paused')");
pass('until a person arms it');
is_status($node, 'armed', qr/^t\|/, 'which is nothing to the original');
is_conserved($copy, 'the copy');
are_counters_right($copy, 'the copy');

$copy->stop('fast');
$node->stop('fast');
done_testing();
