# DROP DATABASE and a fast stop do not wait for a slow provider.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use MktgTest;

my $most = 5;			# seconds; two are promised, and machines may be busy

my $node = new_node('stop', config => "mktg.databases = 'postgres, shop'\n");
my $stub = start_stub();
my $requests = 0;		# seen by the stub
my $senders = { hook => q{on_doubt => 'hold'} };

sub took
{
	my ($what, $code) = @_;
	my $started = time;
	$code->();
	my $seconds = time - $started;
	diag sprintf('%s: %.2f s', $what, $seconds);
	return cmp_ok($seconds, '<', $most, "$what finishes soon");
}

# Queues ten messages for the stub, which keeps the worker waiting.
sub stall
{
	my ($db, $name) = @_;
	launch($node, add_campaign($node, db => $db, name => $name, sender => 'hook'), db => $db);
	for (1 .. 1800)
	{
		last if stub_log($stub) >= $requests + 10;
		Time::HiRes::usleep(100_000);
	}
	$requests = stub_log($stub);
	is($node->safe_psql($db, 'SELECT count(lease) FROM mktg.outbox'), '10', "$name: ten requests are under way");
}

sub serve
{
	my ($db) = @_;
	new_database($node, $db);
	$node->reload;
	wait_delivering($node, $db);
	add_webhook_provider($node, $stub, db => $db, senders => $senders);
	add_contacts($node, 10, db => $db);
}

add_webhook_provider($node, $stub, senders => $senders);
add_contacts($node, 10);
serve('shop');
ok(stub_mode($stub, 'stall=1'), 'the provider answers after half a minute');

# ---- DROP DATABASE ----

stall('shop', 'first');
stall('postgres', 'second');

$node->safe_psql('postgres', 'CREATE DATABASE plain');
took('DROP DATABASE of one that is not served', sub { $node->safe_psql('postgres', 'DROP DATABASE plain') });
new_database($node, 'idle');
took('DROP DATABASE of one that has mktg and no worker', sub { $node->safe_psql('postgres', 'DROP DATABASE idle') });
took('DROP DATABASE of the one that is served', sub { $node->safe_psql('postgres', 'DROP DATABASE shop') });
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname = 'shop'"), '0', 'it is gone');
is_status($node, 'worker postgres', qr/^t\|pid/, 'the worker of another database goes on');
is($node->safe_psql('postgres', 'SELECT count(lease) FROM mktg.outbox'), '10', 'with its requests under way');
is_status($node, 'worker shop', qr/^f\|not running/, 'and status() says that its own is gone');

# ---- fast stop ----

took('a fast stop', sub { $node->stop('fast') });
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'nobody had to be killed');
ok(stub_mode($stub, 'ok=1'), 'the provider answers again');
$node->start;
wait_delivering($node);
wait_drained($node);
is($node->safe_psql('postgres', 'SELECT status, count(*) FROM mktg.message GROUP BY 1'), 'in_doubt|10',
	'what was under way is in doubt after the next start');
is(scalar(stub_log($stub)), $requests, 'and was not sent twice');
is_conserved($node, 'restarted');
are_counters_right($node, 'restarted');

$node->stop('fast');
stop_stub($stub);
done_testing();
