# Faults of the server itself: a full disk, no slot for a worker, another
# library installed under a running worker, a failover in mid-run.  After each
# the queue is looked at: nothing is lost, and nothing sent that should not be.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use MktgNamespace (disk => '48m');

use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $stub = start_stub(full => 1);	# of the server just tested

sub sql
{
	my ($node, $sql, $db) = @_;
	return $node->safe_psql($db // 'postgres', $sql);
}

sub prepare
{
	my ($node, $db) = @_;
	add_contacts($node, 200, channel => 'webhook', db => $db);
	add_template($node, 'note', 'webhook', db => $db);
	add_webhook_provider($node, $stub, db => $db,
		senders => { hold => "on_doubt => 'hold'", retry => "on_doubt => 'retry'" });
}

# Requests since the last call.
my $seen = 0;
sub new_requests
{
	my @log = stub_log($stub);
	my @new = @log[ $seen .. $#log ];
	$seen = @log;
	return @new;
}

# Waits until the stub has had N requests since the last call of new_requests().
sub wait_requests
{
	my ($n) = @_;
	my $end = time + 60;
	while (stub_log($stub) < $seen + $n)
	{
		die "no $n requests came" if time > $end;
		usleep(20_000);
	}
}

sub doubled
{
	my %count;
	$count{ $_->{id} }++ for grep { $_->{taken} } @_;
	return scalar grep { $_ > 1 } values %count;
}

# ---- another library under a running worker ----

# The tree is a copy by links, so that what is installed there is nobody else's.
my $path = other_build('upgraded', objects => [ 'install/status' ]);
my $node = new_node('upgraded', install_path => $path);

sub agents
{
	my %agent = map { $_->{headers} =~ /^user-agent: (\S+)/mi; ($1 => 1) } @_;
	return join ',', sort keys %agent;
}

prepare($node);
send_some($node, 'hold', 5, key => 'old');
wait_drained($node);
my $agent = agents(new_requests());
like($agent, qr{^mktg/\d}, 'the library tells its version to the provider');
my $pid = worker_pid($node);

stub_mode($stub, 'slow=1');
send_some($node, 'hold', 5, key => 'during');
wait_requests(5);
my %rebuilt = (objects => [ 'provider/request', 'install/status' ], edit => {
		'src/provider/request.c' => sub { s/"mktg\/" MKTG_VERSION/"mktg\/rebuilt"/ or die 'no user agent' },
		'src/install/status.c' => sub { s/"mktg " MKTG_VERSION/"mktg rebuilt"/ or die 'no version' } });
install_library('rebuilt', 'upgraded', %rebuilt);
stub_mode($stub, 'ok=1');
send_some($node, 'hold', 5, key => 'after');
wait_drained($node);
is(worker_pid($node), $pid, 'a library installed under a running worker: it goes on');
is(agents(my @requests = new_requests()), $agent, 'with the code it has begun with');
sql($node, "SELECT pg_terminate_backend($pid)");
wait_sql($node, 'postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'mktg worker' AND pid <> $pid");
wait_delivering($node);
send_some($node, 'hold', 5, key => 'again');
wait_drained($node);
is(agents(new_requests()), $agent, 'so does the next worker, for the server has loaded the old one');
unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC/, 'nothing crashed');

stub_mode($stub, 'slow=1');
send_some($node, 'hold', 5, key => 'restart');
wait_requests(5);
$node->restart;
stub_mode($stub, 'ok=1');
wait_delivering($node);
send_some($node, 'hold', 5, key => 'new');
wait_drained($node);
is(agents(grep { $_->{id} =~ /new/ } @requests = new_requests()), 'mktg/rebuilt', 'a restart of the server goes over to the new one');
is(doubled(@requests), 0, 'and sends nothing twice');
is_status($node, 'library', qr/^t\|mktg rebuilt$/, 'status() says which it is');
is(sql($node, "SELECT count(*) FROM mktg.message WHERE status NOT IN ('sent', 'in_doubt')"), '0', 'each is sent, or was under way at the restart');
is_conserved($node, 'upgraded');

# one that belongs to another schema
install_library('other_schema', 'upgraded', objects => [ 'base/query', 'install/status' ],
	edit => { 'src/base/base.h' => sub { s/(#define MKTG_SCHEMA_VERSION\s+)\d+/${1}99/ or die 'no schema version' } });
$node->stop('fast');
$node->start;
wait_for_status($node, 'worker postgres', 'f', '^pid \d+, idle: schema version \d+, library knows version 99');
is_status($node, 'schema', qr/^f\|schema version \d+, library knows version 99/, 'a library of another schema: status() says so');
my ($ret, $out, $err) = $node->psql('postgres', "SELECT mktg.send(1, 'note', channel => 'webhook', sender => 'hold')");
like($err, qr/HINT:  Run SELECT mktg\.migrate\(\), or install the library that belongs to the schema/, 'functions refuse, with a hint');
sql($node, "UPDATE mktg.contact SET city = 'Pune' WHERE contact_id <= 10; CREATE TABLE unrelated (i integer); INSERT INTO unrelated VALUES (1)");
pass('statements that do not ask for anything of mktg go on');
# a message that is in the queue all the same
sql($node, "UPDATE mktg.message SET status = 'queued' WHERE ref LIKE '%new1'; INSERT INTO mktg.outbox (campaign_id, contact_id, ref, due)
	SELECT campaign_id, contact_id, ref, now() FROM mktg.message WHERE ref LIKE '%new1'");
install_library('rebuilt', 'upgraded', %rebuilt);
is(sql($node, 'SELECT count(*), count(lease) FROM mktg.outbox'), '1|0', 'and the queue waits');
is(scalar(new_requests()), 0, 'unsent');

# ---- no slot for the worker ----

$node->append_conf('postgresql.conf', "max_worker_processes = 2\n");
$node->restart;
wait_for_status($node, 'worker postgres', 'f', 'no background worker slot; raise max_worker_processes');
my ($hold) = send_some($node, 'hold', 5, key => 'slot', from => 50);
is(sql($node, 'SELECT count(*), count(lease), max(attempt) FROM mktg.outbox'), '6|0|0', 'no worker slot: messages are taken, and wait');
is(sql($node, "SELECT due <= now() FROM mktg.outbox WHERE ref LIKE '%slot1'"), 't', 'due at once');
is(scalar(new_requests()), 0, 'nobody sends');
$node->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$node->restart;
wait_drained($node);
is(sql($node, "SELECT count(*) FROM mktg.message WHERE ref LIKE '%slot_' AND status = 'sent' AND attempts = 1"), '5', 'with a slot they go');
is(doubled(new_requests()), 0, 'once each');
is_conserved($node, 'a slot again');
are_counters_right($node, 'a slot again');
$node->stop('fast');

# ---- the primary dies in mid-run, and its standby is promoted ----

my $primary = new_node('primary', allows_streaming => 1);
prepare($primary);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "mktg.rearm_on_promote = on\n");
$standby->start;

stub_mode($stub, 'stall=1');
my @held = send_some($primary, 'hold', 4, key => 'held');
my @retried = send_some($primary, 'retry', 4, key => 'retried', from => 10);
wait_requests(8);
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));
is(sql($standby, 'SELECT count(*), count(lease) FROM mktg.outbox'), '8|8', 'the standby sees what is under way');
$primary->stop('immediate');
new_requests();
stub_mode($stub, 'ok=1');
$standby->promote;
wait_delivering($standby);
wait_drained($standby);
is_sender_queue($standby, 'hold', qr/^4 in_doubt, ended, 1: worker died while it was under way$/, 'promoted: what was under way is in doubt with hold');
is_sender_queue($standby, 'retry', qr/^4 sent, ended, 2: -$/, 'and sent again with retry');
@requests = new_requests();
is(join(' ', sort map { $_->{id} } @requests), join(' ', sort @retried), 'these, once more, and no other');
send_some($standby, 'hold', 5, key => 'later', from => 50);
wait_drained($standby);
is(sql($standby, "SELECT count(*) FROM mktg.message WHERE ref LIKE '%later_' AND status = 'sent'"), '5', 'it takes and sends messages');
is(sql($standby, "SELECT mktg.settle('$held[0]', 'queued')"), 't', 'one in doubt is settled to go again');
wait_drained($standby);
is(sql($standby, "SELECT status FROM mktg.message WHERE mktg._message_id(tenant_id, campaign_id, contact_id, ref) = '$held[0]'"), 'sent', 'and goes');
is_conserved($standby, 'promoted');
are_counters_right($standby, 'promoted');
$standby->stop('fast');
new_requests();

# ---- a full disk ----

SKIP:
{
	skip "no small disk: $MktgNamespace::why", 1 if !$MktgNamespace::disk;
	full_disk();
	full_disk_of_wal();
}

done_testing();

# Takes all there is of the small disk.
sub fill_disk
{
	open(my $file, '>>', "$MktgNamespace::disk/ballast") or die "ballast: $!";
	for my $size (1 << 20, 1 << 12, 1)
	{
		1 while defined syswrite($file, 'x' x $size);
	}
	close $file;
}

sub free_disk
{
	unlink "$MktgNamespace::disk/ballast" or die "ballast: $!";
}

# The tables of a database are on the disk.
sub full_disk
{
	my $node = new_node('disk', config => "mktg.databases = 'postgres, shop'\nmktg.max_in_flight = 8\n");
	my $place = "$MktgNamespace::disk/tables";

	mkdir $place or die "$place: $!";
	sql($node, "CREATE TABLESPACE small LOCATION '$place'");
	sql($node, 'CREATE DATABASE shop TABLESPACE small');
	sql($node, 'CREATE EXTENSION mktg; SELECT mktg.install()', 'shop');
	prepare($node);
	# ids of the two databases are the same, so the other one has a provider of its own
	$stub = start_stub(modes => 'if:"contact":5,=503 slow=1');
	$seen = 0;
	prepare($node, 'shop');
	wait_delivering($node, 'shop');
	my $campaign = add_campaign($node, name => 'offer', channel => 'webhook', sender => 'hold', where => 'contact_id <= 40', db => 'shop');
	sql($node, 'SELECT mktg.disarm_delivery()', 'shop');
	launch($node, $campaign, db => 'shop');
	fill_disk();
	my ($ret, $out, $err);
	for my $i (1 .. 100)
	{
		# pages with room are filled first
		($ret, $out, $err) = $node->psql('shop', "SELECT mktg.send(contact_id, 'note', channel => 'webhook', sender => 'retry') FROM mktg.contact");
		last if $ret;
	}
	like($err, qr/No space left on device/, 'a full disk: a message that cannot be stored is refused to its sender');

	# among the first eight is one that is refused, and the table of failures has no page as yet
	sql($node, 'SELECT mktg.arm_delivery()', 'shop');
	wait_requests(8);
	wait_for_status($node, 'worker shop', 'f', 'idle: the last transaction failed; see the server log', 'shop');
	like(slurp_file($node->logfile), qr/ERROR:  could not extend file .*No space left on device/, 'the server log says why the worker idles');
	send_some($node, 'hold', 5, key => 'elsewhere');
	wait_drained($node);
	is(sql($node, "SELECT count(*) FROM mktg.message WHERE ref LIKE '%elsewhere_' AND status = 'sent'"), '5', 'another database\'s messages go on');
	# once more, so that it has tried again
	wait_sql($node, 'postgres', "SELECT count(*) > 2 FROM regexp_matches(pg_read_file('" . $node->logfile . "'), 'ERROR:  could not extend', 'g')");
	is(scalar(new_requests()), 8, 'nothing more is sent while nothing can be recorded');
	is(sql($node, "SELECT count(lease), max(attempt), count(*) FROM mktg.outbox WHERE campaign_id = $campaign", 'shop'), '8|1|40', 'and what is known is kept in memory');
	is_conserved($node, 'a full disk', 'shop');

	stub_mode($stub, 'ok=1');
	free_disk();
	wait_sql($node, 'shop', 'SELECT count(lease) = 0 FROM mktg.outbox');
	hurry($node, 'shop');
	wait_drained($node, 'shop');
	is_status($node, 'worker shop', qr/^t\|pid \d+$/, 'room again: the worker delivers', 'shop');
	is(sql($node, "SELECT status, attempts, count(*) FROM mktg.message WHERE campaign_id = $campaign GROUP BY 1, 2 ORDER BY 2", 'shop'),
		"sent|1|39\nsent|2|1", 'all are sent at the first attempt, but for the one that was refused');
	is(doubled(stub_log($stub)), 0, 'once each');
	is_conserved($node, 'room again', 'shop');
	are_counters_right($node, 'room again', 'shop');
	$node->stop('fast');
}

# The write-ahead log is on the disk: no room there ends the server.
sub full_disk_of_wal
{
	$stub = start_stub(modes => 'lag=1');
	my $node = new_node('wal', extra => [ '--wal-segsize=1', '--waldir', "$MktgNamespace::disk/wal" ],
		config => "mktg.max_in_flight = 8\nmin_wal_size = 2MB\nmax_wal_size = 4MB\nautovacuum = off\n");
	prepare($node);
	sql($node, 'CREATE TABLE much (t text)');
	my $campaign = add_campaign($node, name => 'offer', channel => 'webhook', sender => 'hold');
	launch($node, $campaign);
	fill_disk();
	# more than checkpoints make room for
	is(try_sql($node, 'postgres', "INSERT INTO much SELECT repeat('x', 1000) FROM generate_series(1, 40000)"), undef, 'no room for the log: what writes fails');
	ok(slurp_file($node->logfile) =~ /PANIC:  could not (write to|create) file "pg_wal.*No space left on device/, 'the server ends');
	free_disk();
	# it may come back by itself, or have given up
	my $end = time + 60;
	until (defined try_sql($node, 'postgres', 'SELECT 1'))
	{
		die 'the server does not come back' if time > $end;
		if (!-e $node->data_dir . '/postmaster.pid')
		{
			$node->{_pid} = undef;
			$node->start(fail_ok => 1);
		}
		usleep(100_000);
	}
	wait_delivering($node);
	wait_drained($node, 'postgres', 120);
	my ($sent, $in_doubt, $others) = split /\|/, sql($node, "SELECT count(*) FILTER (WHERE status = 'sent'), count(*) FILTER (WHERE status = 'in_doubt'),
		count(*) FILTER (WHERE status NOT IN ('sent', 'in_doubt')) FROM mktg.message");
	is($others, 0, "room again: each is sent ($sent) or in doubt ($in_doubt)");
	my %taken = map { $_->{id} => 1 } grep { $_->{taken} } stub_log($stub);
	is(sql($node, "SELECT count(*) FROM mktg.message WHERE status = 'sent' AND mktg._message_id(tenant_id, campaign_id, contact_id, ref)
		NOT IN ('" . join("', '", keys %taken) . "')"), '0', 'what is sent has arrived');
	is(doubled(stub_log($stub)), 0, 'once each');
	is_conserved($node, 'room again for the log');
	are_counters_right($node, 'room again for the log');
	$node->stop('fast');
}
