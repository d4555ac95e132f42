# A standby delivers nothing, and neither does a promoted one until it is armed,
# unless mktg.rearm_on_promote lets it arm itself.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $primary = new_node('primary', allows_streaming => 1);

sub sql
{
	my ($node, $sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

sub add_standby
{
	my ($name, $config) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($primary, 'base', has_streaming => 1);
	$node->append_conf('postgresql.conf', $config) if $config;
	$node->start;
	return $node;
}

add_contacts($primary, 100);
my $id = add_campaign($primary, name => 'spring', where => 'contact_id <= 50');
launch($primary, $id);
wait_drained($primary);
$primary->backup('base');
my $plain = add_standby('plain');
my $rearming = add_standby('rearming', "mktg.rearm_on_promote = on\n");

# ---- standby ----

# nothing is sent by the primary from now on
set_config($primary, 'mktg.databases' => '');
wait_for_status($primary, 'worker postgres', 'f', '^none');
my $late = add_campaign($primary, name => 'late', where => 'contact_id > 50');
launch($primary, $late);
sql($primary, "SELECT mktg.send(1, 'late', channel => 'whatsapp', idempotency_key => 'single')");

for my $node ($plain, $rearming)
{
	my $name = $node->name;
	$primary->wait_for_catchup($node, 'replay', $primary->lsn('write'));
	is(sql($node, 'SELECT pg_is_in_recovery(), count(*) FROM mktg.outbox'), 't|51', "$name: a standby sees the queue");
	is(sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mktg%'"), '0', "$name: no worker runs");
	is_status($node, 'armed', qr/^f\|standby$/, "$name: status() says that it is a standby");
	is_status($node, 'worker postgres', qr/^f\|none/, "$name: and that there is no worker");
	is_status($node, 'preloaded', qr/^t\|/, "$name: though it is preloaded");
	is(sql($node, "SELECT total_target, pending, queued FROM mktg.campaign_stats($late)"), '50|0|50',
		"$name: statistics can be read");
	unlike(slurp_file($node->logfile), qr/mktg worker/, "$name: none has been started");
}

# ---- promoted ----

$plain->promote;
wait_for_status($plain, 'worker postgres', 'f', '^pid \d+, idle: armed for another timeline: promoted or restored$');
is_status($plain, 'armed', qr/^f\|armed for another timeline: promoted or restored$/, 'promoted, it says why it is silent');
like(slurp_file($plain->logfile), qr/mktg worker idles: armed for another timeline/, 'in the log, too');
is(sql($plain, "SELECT mktg.send(2, 'late', channel => 'whatsapp', idempotency_key => 'after') IS NOT NULL"), 't', 'it takes messages');
is(sql($plain, 'SELECT count(*) FROM mktg.sandbox_message'), '50', 'and sends none');
is(sql($plain, 'SELECT count(*), count(lease) FROM mktg.outbox'), '52|0', 'they wait');

$plain->restart;
wait_for_status($plain, 'worker postgres', 'f', 'idle: armed for another timeline');
is(sql($plain, 'SELECT count(*), count(lease) FROM mktg.outbox'), '52|0', 'also after a restart');

sql($plain, 'SELECT mktg.arm_delivery()');
wait_delivering($plain);
wait_drained($plain);
is(sql($plain, 'SELECT count(*), count(DISTINCT (campaign_id, contact_id, ref)) FROM mktg.sandbox_message'), '102|102',
	'armed by a person, it sends each once');
is_status($plain, 'armed', qr/^t\|for this place$/, 'and says so');
is_conserved($plain, 'armed');
are_counters_right($plain, 'armed');

# ---- promoted, and told to arm itself ----

is(sql($rearming, 'SELECT pg_is_in_recovery(), count(*) FROM mktg.sandbox_message'), 't|50', 'the other one has waited');
$rearming->promote;
wait_delivering($rearming);
wait_drained($rearming);
is(sql($rearming, 'SELECT count(*) FROM mktg.sandbox_message'), '101', 'with mktg.rearm_on_promote it sends without anybody');
is_status($rearming, 'armed', qr/^t\|for this place$/, 'armed for this place');
like(slurp_file($rearming->logfile), qr/mktg arms delivery after promotion to timeline 2/, 'and the log says so');
is(sql($rearming, 'SELECT timeline FROM mktg.delivery_arming'), '2', 'for the new timeline');
is_conserved($rearming, 'rearmed');
are_counters_right($rearming, 'rearmed');

$_->stop('fast') for $plain, $rearming, $primary;
done_testing();
