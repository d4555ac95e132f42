# The process that keeps segments up to date: it comes by itself, follows
# writes and the clock, and is in nobody's way.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use MktgSession;
use MktgTest;

my $soon = 20;			# seconds; a second or two is what it takes, and machines may be busy
my $most = 5;			# seconds; two are promised

my $node = new_node('segments', config => "mktg.databases = 'postgres'\nmktg.clock = '2025-01-15 09:00+00'\n");

sub sql
{
	my ($sql, $db) = @_;
	return $node->safe_psql($db // 'postgres', $sql);
}

sub process
{
	my ($db) = @_;
	$db //= 'postgres';
	return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'mktg segments' AND datname = '$db'");
}

# The members of a segment, by name of the segment and external_id of theirs.
sub members
{
	my ($name) = @_;
	return "SELECT coalesce(string_agg(c.external_id, ' ' ORDER BY c.contact_id), '') FROM mktg.segment_list s"
	  . " JOIN mktg.segment_member m USING (tenant_id, segment_id) JOIN mktg.contact c USING (tenant_id, contact_id) WHERE s.name = '$name'";
}

sub comes_to_be
{
	my ($name, $members, $what, $db) = @_;
	wait_sql($node, $db // 'postgres', 'SELECT (' . members($name) . ") = '$members'", $soon);
	is(sql(members($name), $db), $members, $what);
}

sub took
{
	my ($what, $code) = @_;
	my $started = time;
	$code->();
	my $seconds = time - $started;
	diag sprintf('%s: %.2f s', $what, $seconds);
	return cmp_ok($seconds, '<', $most, "$what finishes soon");
}

# Incremental equals full: nothing moves when all contacts are held against all segments.
sub is_full
{
	my ($what, $db) = @_;
	is(sql('SELECT string_agg(name, \', \') FROM mktg.refresh_segments() WHERE entered + exited > 0', $db), '', "$what: a full refresh changes nothing");
}

# ---- it comes by itself ----

sql(q{INSERT INTO mktg.contact (external_id, city) SELECT i, CASE WHEN i <= 3 THEN 'Pune' ELSE 'Delhi' END FROM generate_series(1, 6) i});
is(process(), '', 'without segments there is no such process');
sql(q{SELECT mktg.create_segment('Pune', '{"city": "Pune"}')});
comes_to_be('Pune', '1 2 3', 'a new segment is filled without a call');
like(process(), qr/^\d+$/, 'by a process of its own');
is(sql(q{SELECT size, refreshed_at FROM mktg.segment_list}), '3|2025-01-15 09:00:00+00', 'which notes size and time');

# ---- it follows writes ----

my $started = time;
sql(q{UPDATE mktg.contact SET city = 'Pune' WHERE external_id = '4'});
comes_to_be('Pune', '1 2 3 4', 'who moves in is in');
diag sprintf('a change shows after %.2f s', time - $started);
sql(q{DELETE FROM mktg.contact WHERE external_id = '1'; INSERT INTO mktg.contact (external_id, city) VALUES ('7', 'Pune')});
comes_to_be('Pune', '2 3 4 7', 'who is deleted or new as well');
sql(q{SELECT mktg.create_segment('Buyers', '{"hasPurchasedInLast30Days": true}'); SELECT mktg.create_segment('Birthday', '{"field": "customer.birthdayThisMonth", "operator": "=", "value": true}')});
sql(q{COPY mktg.purchase (contact_id, amount, placed_at) FROM PROGRAM 'echo "2,100,2025-01-10 00:00+00"; echo "3,100,2025-01-14 00:00+00"; echo "5,100,2024-11-01 00:00+00"' (FORMAT csv)});
sql(q{UPDATE mktg.contact SET birth_date = '1990-02-05' WHERE external_id = '6'; UPDATE mktg.contact SET birth_date = '1980-01-31' WHERE external_id = '2'});
comes_to_be('Buyers', '2 3', 'purchases that come by COPY');
comes_to_be('Birthday', '2', 'a birthday this month');
sql(q{BEGIN; INSERT INTO mktg.purchase (contact_id, amount) VALUES (6, 1); ROLLBACK});
is_full('written');

# ---- it follows the clock ----

set_clock($node, '2025-02-09 12:00+00');
comes_to_be('Buyers', '3', 'who bought on January 10th leaves after 30 days');
comes_to_be('Birthday', '6', 'birthdays are those of February');
set_clock($node, '2025-03-01 00:00+00');
comes_to_be('Buyers', '', 'and then nobody is left');
comes_to_be('Birthday', '', 'in March nobody has a birthday');
is_full('time has passed');

# ---- killed, it comes again ----

sql(q{UPDATE mktg.contact SET city = 'Pune' WHERE external_id = '5'});
comes_to_be('Pune', '2 3 4 5 7', 'it is there');
my $pid = process();
is(sql("SELECT pg_terminate_backend($pid, 10000)"), 't', 'the process is ended');
sql(q{UPDATE mktg.contact SET city = 'Delhi' WHERE external_id = '5'});
comes_to_be('Pune', '2 3 4 7', 'another one takes over');
isnt(process(), $pid, 'which is not the same');
sql(q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'mktg worker' AND datname = 'postgres'});
sql(q{UPDATE mktg.contact SET city = 'Pune' WHERE external_id = '6'});
comes_to_be('Pune', '2 3 4 6 7', 'it does without the worker while that is away');
wait_delivering($node);

# ---- housekeeping waits for nobody ----

my $busy = MktgSession->new($node);
$busy->sql('BEGIN; SELECT count(*) FROM mktg.event');
took('maintain() while events are read', sub { sql('SELECT mktg.maintain()') });
is(sql(q{SELECT to_regclass('mktg.event_2025_06')}), '', 'makes no partition then');
$busy->sql('COMMIT');
$busy->end;
sql('SELECT mktg.maintain()');
is(sql(q{SELECT to_regclass('mktg.event_2025_06')}), 'mktg.event_2025_06', 'but the next time');

# ---- it is in nobody's way ----

# A field whose value takes its time, and contacts enough for minutes of it.
sub keep_busy
{
	my ($db) = @_;
	sql(<<'END', $db);
CREATE SCHEMA slow;
CREATE FUNCTION slow.value(bigint) RETURNS integer LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM pg_sleep(0.1); RETURN 1; END $$;
CREATE TABLE slow.fact (contact_id bigint);
INSERT INTO mktg.contact (external_id) SELECT 's' || i FROM generate_series(1, 3000) i;
INSERT INTO slow.fact SELECT contact_id FROM mktg.contact;
SELECT mktg.map_source('slow', 'slow.fact', 'contact_id'), mktg.define_field('slow.value', 'slow', 'slow.value(contact_id)', 'number');
SELECT mktg.create_segment('Slow', '{"field": "slow.value", "operator": "=", "value": 1}');
END
	wait_sql($node, 'postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'mktg segments' AND datname = '$db'"
		  . " AND state = 'active' AND wait_event = 'PgSleep'", $soon);
}

new_database($node, 'shop');
set_config($node, 'mktg.databases' => 'postgres, shop');
wait_delivering($node, 'shop');
keep_busy('shop');
pass('a refresh takes its time');
took('DROP DATABASE while it refreshes', sub { sql('DROP DATABASE shop') });
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop'}), '0', 'nobody is left there');

# ---- dump and restore ----

sql(q{SELECT mktg.create_segment('Hand-picked', kind => 'static'); SELECT mktg.add_to_segment((SELECT segment_id FROM mktg.segment WHERE name = 'Hand-picked'), '{2,4,6}')});
sql(q{CREATE TABLE public.visit (visitor text, seen timestamptz);
	SELECT mktg.map_source('visit', 'public.visit', 'visitor', 'seen', 'external_id'), mktg.define_field('visit.count', 'visit', 'count(*)', 'number'),
	       mktg.define_alias('visited', '{"field": "visit.count", "operator": ">=", "value": "$value"}'),
	       mktg.create_segment('Visitors', '{"visited": 1}');
	INSERT INTO mktg.purchase (contact_id, amount, placed_at) VALUES (4, 1, '2025-02-20 00:00+00');
	SELECT mktg.load_segment_catalog()});
comes_to_be('Buyers', '4', 'a purchase');
wait_sql($node, 'postgres', 'SELECT count(*) = 0 FROM mktg.segment WHERE kind = \'dynamic\' AND (refreshed_at IS NULL OR settle_after IS NOT NULL)', $soon);
# marks nobody has taken yet are in the dump
set_config($node, 'mktg.databases' => '');
wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE 'mktg%'", 60);
sql(q{INSERT INTO public.visit VALUES ('7', '2025-02-28'); UPDATE mktg.contact SET city = 'Delhi' WHERE external_id = '2'});
cmp_ok(sql(q{SELECT count(*) FROM mktg.segment_due WHERE due = '-infinity'}), '>=', 2, 'two changes are marked and not yet taken');
my $dump = $PostgreSQL::Test::Utils::tmp_check . '/segments.sql';
my $state = q{SELECT s.name, s.kind, s.size, s.rules, s.sources, (SELECT md5(string_agg(m.contact_id::text, ',' ORDER BY m.contact_id)) FROM mktg.segment_member m
	WHERE m.segment_id = s.segment_id) FROM mktg.segment_list s ORDER BY s.segment_id};
my $registry = q{SELECT s::text FROM mktg.source s UNION ALL SELECT f::text FROM mktg.field f UNION ALL SELECT a::text FROM mktg.rule_alias a ORDER BY 1};
my $marks = q{SELECT segment_id, due, md5(contacts), external_ids FROM mktg.segment_due ORDER BY 2, 1, 3, 4};
my %before = map { $_ => sql($_) } $state, $registry, $marks;
$node->command_ok(['pg_dump', '-d', $node->connstr('postgres'), '-f', $dump], 'a dump');
sql('CREATE DATABASE elsewhere');
$node->command_ok(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('elsewhere'), '-f', $dump], 'is restored');
is(sql($state, 'elsewhere'), $before{$state}, 'with the same segments and members');
is(sql($registry, 'elsewhere'), $before{$registry}, 'the same registry');
is(sql($marks, 'elsewhere'), $before{$marks}, 'and the same marks, no more and no fewer');
sql('ALTER DATABASE elsewhere RENAME TO restored');
set_config($node, 'mktg.databases' => 'restored');
comes_to_be('Visitors', '7', 'the process there takes them', 'restored');
comes_to_be('Pune', '3 4 6 7', 'all of them', 'restored');
sql(q{INSERT INTO public.visit VALUES ('3', '2025-02-28')}, 'restored');
comes_to_be('Visitors', '3 7', 'and follows what is written there', 'restored');
is(sql(members('Hand-picked'), 'restored'), '2 4 6', 'who was picked by hand stays');
is_full('restored', 'restored');

# ---- a fast stop ----

set_config($node, 'mktg.databases' => 'postgres');
wait_delivering($node);
keep_busy('postgres');
took('a fast stop while it refreshes', sub { $node->stop('fast') });
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nobody had to be killed');

# ---- not preloaded ----

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->start;
sql(q{DROP SCHEMA slow CASCADE; SELECT mktg.drop_segment(segment_id) FROM mktg.segment WHERE name = 'Slow'});
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mktg%'}), '0', 'not preloaded: no process');
sql('SELECT mktg.refresh_segments()');
sql(q{UPDATE mktg.contact SET city = 'Pune' WHERE external_id = '2'});
is(sql(members('Pune')), '3 4 6 7', 'so members stay what they were');
cmp_ok(sql('SELECT mktg.refresh_dirty()'), '>=', 1, 'until refresh_dirty() is called');
is(sql(members('Pune')), '2 3 4 6 7', 'which does the same');
is(sql(q{SELECT mktg.estimate_segment('{"city": "Pune"}'), mktg.matches(2, '{"city": "Pune"}'), mktg.in_segment(2, segment_id) FROM mktg.segment WHERE name = 'Pune'}),
	'5|t|t', 'and all else works');
is_full('not preloaded');

$node->stop('fast');
done_testing();
