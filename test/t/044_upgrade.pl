# An installation of 0.1.0 is upgraded: nothing is lost, and it comes to be what
# a fresh installation is.
use strict;
use warnings;
use File::Copy qw(copy);
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $fixtures = "$FindBin::RealBin/../upgrade";
my $node = new_node('upgrade', config => "mktg.databases = 'postgres, old'\nmktg.clock = '2025-01-15 09:00+00'\n");
my $script = $node->config_data('--sharedir') . '/extension/mktg--0.1.0.sql';
my $node_connection = $node->connstr('old');

sub sql
{
	my ($sql, $db) = @_;
	return $node->safe_psql($db // 'old', $sql);
}

sub error_of
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('old', "\\set VERBOSITY verbose\n$sql");
	return $err;
}

sub catalog
{
	return sql(slurp_file("$fixtures/catalog.sql"), $_[0]);
}

# Lines that only one of two installations has.
sub is_same_catalog
{
	my ($what, @catalogs) = @_;
	my %seen;
	$seen{$_}++ for split /\n/, $catalogs[0];
	$seen{$_}-- for split /\n/, $catalogs[1];
	my @odd = map { ($seen{$_} > 0 ? 'old: ' : 'new: ') . $_ } grep { $seen{$_} != 0 } sort keys %seen;
	ok(!@odd, $what) or diag(join "\n", @odd[ 0 .. ($#odd < 60 ? $#odd : 60) ]);
}

# ---- 0.1.0, as it was ----

copy("$fixtures/extension_0.1.0.sql", $script) or die "could not copy to $script: $!";
END { unlink $script if $script }
$node->safe_psql('postgres', 'CREATE DATABASE old');
sql("CREATE EXTENSION mktg VERSION '0.1.0'");
$node->command_ok(['psql', '-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1', '-d', $node_connection, '-f', "$fixtures/schema_1.sql"],
	'the tables of version 1');
sql(<<'END');
CREATE SERVER mktg_sandbox FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'sandbox');
INSERT INTO mktg.schema_version (version, extension_version) VALUES (1, '0.1.0');
INSERT INTO mktg.tenant (name) VALUES ('default'), ('second');
INSERT INTO mktg.sender (tenant_id, name, provider) SELECT tenant_id, 'sandbox', 'mktg_sandbox' FROM mktg.tenant;
END
is(sql("SELECT extversion FROM pg_extension WHERE extname = 'mktg'"), '0.1.0', 'and the functions of 0.1.0');

# Its triggers are of this library already: whoever writes does not notice.
sql(<<'END');
INSERT INTO mktg.contact (external_id, name, email, phone, city)
SELECT i, 'Person ' || i, 'Person' || i || '@Example.com', '+1 202 000 ' || 1000 + i, CASE i % 2 WHEN 0 THEN 'Pune' ELSE 'Delhi' END
  FROM generate_series(1, 100) i;
INSERT INTO mktg.consent (contact_id, channel) SELECT contact_id, 'whatsapp' FROM mktg.contact;
UPDATE mktg.consent SET state = 'unsubscribed' WHERE contact_id <= 10;
INSERT INTO mktg.template (name, channel) VALUES ('hello', 'whatsapp');
INSERT INTO mktg.template_version (template_id, version, body) VALUES (1, 1, 'Hello {{name}}');
INSERT INTO mktg.campaign (name, channel, template_id, sender_id, target_audience, last_position)
VALUES ('spring', 'whatsapp', 1, 1, '{"city": "Pune"}', 20);
INSERT INTO mktg.message (campaign_id, contact_id, position, address)
SELECT 1, contact_id, row_number() OVER (ORDER BY contact_id), phone FROM mktg.contact WHERE contact_id BETWEEN 81 AND 100;
END
is(sql('SELECT count(*), sum(pending) FROM mktg.campaign_stat'), '1|20', 'contacts and a campaign');
like(error_of("SELECT mktg.create_campaign('c', 'email')"), qr/MK003: .*\n.*schema version 1, library knows version 2/,
	'functions of mktg ask for migrate()');
is_status($node, 'schema', qr/^f\|schema version 1, library knows version 2$/, 'as status() does', 'old');
wait_for_status($node, 'worker old', 'f', 'idle: schema version 1, library knows version 2', 'old');
pass('and the worker idles');
my $before = sql('SELECT md5(string_agg(c::text, E\'\n\' ORDER BY contact_id)) FROM mktg.contact c');

# ---- upgraded ----

sql('ALTER EXTENSION mktg UPDATE');
is(sql("SELECT extversion FROM pg_extension WHERE extname = 'mktg'"),
	sql("SELECT default_version FROM pg_available_extensions WHERE name = 'mktg'"), 'ALTER EXTENSION mktg UPDATE');
like(error_of("SELECT mktg.refresh_segments()"), qr/MK003: /, 'new functions ask for migrate(), too');
sql(q{INSERT INTO mktg.contact (external_id) VALUES ('between'); DELETE FROM mktg.contact WHERE external_id = 'between'});
is(sql('SELECT mktg.migrate()'), '2', 'mktg.migrate()');
is(sql('SELECT string_agg(version::text, \' \' ORDER BY version) FROM mktg.schema_version'), '1 2', 'both versions are on record');

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
sql('CREATE EXTENSION mktg; SELECT mktg.install()', 'fresh');
my $fresh = catalog('fresh');
cmp_ok((() = $fresh =~ /^(column|function|trigger|index) /mg), '>', 300, 'the catalog of a fresh installation');
is_same_catalog('an upgraded one has the same', catalog('old'), $fresh);
is(sql('SELECT mktg.migrate()'), '2', 'migrate() again');
is_same_catalog('changes nothing', catalog('old'), $fresh);

# ---- nothing is lost, and all of it works ----

is(sql('SELECT md5(string_agg(c::text, E\'\n\' ORDER BY contact_id)) FROM mktg.contact c'), $before, 'contacts are what they were');
is(sql('SELECT name, target_audience, include_segments, exclude_segments FROM mktg.campaign'), 'spring|{"city": "Pune"}|{}|{}',
	'so is the campaign');
are_counters_right($node, 'upgraded', 'old');
is(sql('SELECT added, duplicates, unsubscribed, unknown FROM mktg.add_audience(1)'), '35|10|5|0', 'its audience, which 0.1.0 only kept, is added');
sql("SELECT mktg.create_segment('Pune', '{\"city\": \"Pune\"}')");
is(sql('SELECT entered FROM mktg.refresh_segment(1)'), '50', 'a segment is filled');
is(sql('SELECT mktg.load_segment_catalog()'), '67', 'the catalogue is loaded');
sql("INSERT INTO mktg.purchase (contact_id, amount) VALUES (1, 1000)");
is(sql('SELECT mktg.score_rfm()'), '1', 'contacts are scored');
sql("SELECT mktg.arm_delivery(); SELECT mktg.activate_campaign(1, '2025-01-15'); SELECT mktg.process_daily()");
wait_delivering($node, 'old');
wait_drained($node, 'old');
is(sql('SELECT count(*), count(*) FILTER (WHERE address LIKE \'+1202%\') FROM mktg.sandbox_message'), '55|55', 'the campaign goes out');
wait_sql($node, 'old', 'SELECT count(*) = 0 FROM mktg.segment_list WHERE refreshed_at IS NULL AND kind = \'dynamic\'');
pass('and segments are kept up to date');

# ---- an upgraded one that DROP EXTENSION took apart ----

my $upgraded = catalog('old');
sql('DROP EXTENSION mktg CASCADE; CREATE EXTENSION mktg');
is(sql('SELECT mktg.migrate()'), '2', 'migrate() after CREATE EXTENSION');
is_same_catalog('is the same again', catalog('old'), $upgraded);

# ---- what stands in the way is not taken ----

$node->safe_psql('postgres', 'CREATE DATABASE blocked');
sql("CREATE EXTENSION mktg VERSION '0.1.0'", 'blocked');
$node->command_ok(['psql', '-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('blocked'), '-f', "$fixtures/schema_1.sql"],
	'tables of version 1 once more');
sql("INSERT INTO mktg.schema_version (version, extension_version) VALUES (1, '0.1.0'); ALTER EXTENSION mktg UPDATE;
	 CREATE ROLE stranger; CREATE TABLE mktg.segment (mine integer); ALTER TABLE mktg.segment OWNER TO stranger", 'blocked');
my ($status, $out, $err) = $node->psql('blocked', 'SELECT mktg.migrate()');
like($err, qr/relation "mktg.segment" belongs to another role/, 'a table of that name, of another role');
is(sql('SELECT max(version), to_regclass(\'mktg.purchase\') IS NULL FROM mktg.schema_version', 'blocked'), '1|t', 'nothing has changed');
sql('DROP TABLE mktg.segment; SELECT mktg.migrate()', 'blocked');
is(sql('SELECT max(version) FROM mktg.schema_version', 'blocked'), '2', 'once it is gone, migrate() works');

$node->stop('fast');
done_testing();
