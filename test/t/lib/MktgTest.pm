# What the tests of the worker share: servers, people to write to, campaigns,
# waiting, a provider to talk to, and the checks that hold at any moment.
package MktgTest;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(basename);
use FindBin;
use IO::Socket::INET;
use IPC::Run;
use JSON::PP;
use Time::HiRes qw(usleep time);
use Test::More;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(
  new_node new_database other_build install_library add_contacts add_template add_campaign launch
  set_config set_clock status_of is_status wait_for_status wait_delivering wait_drained wait_sql try_sql
  send_some sender_queue is_sender_queue wait_sender hurry worker_pid worker_memory
  conservation_faults is_conserved are_counters_right crash_restart
  start_stub stop_stub stub_mode stub_log stub_counts add_webhook_provider
  $SECRET
);

our $SECRET = 'whsec_' . 'bWt0Zy10ZXN0LXNlY3JldC1vZi0zMi1ieXRlcy0hISE=';

# A running server with the extension preloaded and installed in database
# postgres, whose worker delivers.  Options: config (lines), installed => 0,
# fsync => 1, install_path; everything else goes to init() of the cluster.
sub new_node
{
	my ($name, %opt) = @_;
	my $config = delete $opt{config} // '';
	my $fsync = delete $opt{fsync};
	my $installed = delete $opt{installed} // 1;
	my %new = map { $_ => delete $opt{$_} } grep { exists $opt{$_} } qw(install_path);
	my $node = PostgreSQL::Test::Cluster->new($name, %new);

	$node->init(%opt);
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'mktg'
log_statement = none
restart_after_crash = on
timezone = 'UTC'
jit = off
max_wal_size = 1GB
$config
CONF
	$node->append_conf('postgresql.conf', "fsync = on\n") if $fsync;
	$node->start;
	if ($installed)
	{
		$node->safe_psql('postgres', 'CREATE EXTENSION mktg; SELECT mktg.install()');
		wait_delivering($node);
	}
	return $node;
}

sub new_database
{
	my ($node, $db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION mktg; SELECT mktg.install()');
}

# The installed server a second time, by links, with another library: its path
# for install_path.  Options: objects (made anew, such as 'worker/claim'), make
# (arguments), edit => { file => code that edits $_ }.
sub other_build
{
	my ($name, %opt) = @_;
	my $checkout = abs_path("$FindBin::RealBin/../..");
	my $root = "$checkout/tmp/$name";

	_script("$name.server", 'rm -rf "$1"; cp -al "$2/tmp/root" "$1"', $root, $checkout);
	install_library($name, $name, %opt);
	return $root . _bindir() =~ s{/bin$}{}r;
}

# Builds the library as other_build() does, and installs it into another
# build's server, whatever runs there.
sub install_library
{
	my ($name, $server, %opt) = @_;
	my $checkout = abs_path("$FindBin::RealBin/../..");
	my $build = "$checkout/tmp/${name}_build";

	_script("$name.build", <<'SH', $build, $checkout, map { "src/$_.o" } @{ $opt{objects} // [] });
build=$1 checkout=$2
shift 2
rm -rf "$build"
mkdir "$build"
cp -Rp "$checkout/src" "$checkout/sql" "$checkout/Makefile" "$checkout/mktg.control" "$build"
cd "$build"
rm -f "$@"
SH
	for my $file (sort keys %{ $opt{edit} // {} })
	{
		my @times = (stat "$build/$file")[ 8, 9 ];
		local $_ = slurp_file("$build/$file");
		$opt{edit}{$file}->();
		open(my $out, '>', "$build/$file") or die "$build/$file: $!";
		print $out $_;
		close $out;
		# only what was asked for is made anew
		utime @times, "$build/$file";
	}
	_script("$name.make", 'cd "$1"; shift; exec make -s all install PG_CONFIG="${PG_CONFIG:-pg_config}" with_llvm=no "$@"',
		$build, "DESTDIR=$checkout/tmp/$server", @{ $opt{make} // [] });
}

sub _bindir
{
	my $bindir = `\${PG_CONFIG:-pg_config} --bindir`;
	chomp $bindir;
	return $bindir;
}

sub _script
{
	my ($name, $script, @arguments) = @_;
	my $log = "$PostgreSQL::Test::Utils::tmp_check/$name.log";

	system('sh', '-c', "set -eu\n{ $script\n} > '$log' 2>&1", 'sh', @arguments) == 0
	  or die "$name failed:\n" . slurp_file($log);
}

# ---- settings ----

# set_config($node, 'mktg.databases' => 'a,b', ...): ALTER SYSTEM and reload
sub set_config
{
	my ($node, %settings) = @_;
	my @set = map { "ALTER SYSTEM SET $_ = '$settings{$_}'" } sort keys %settings;
	$node->safe_psql('postgres', "$_;") for @set;
	$node->reload;
}

# Stops the clock of the whole server; empty lets it run.  Returns when
# new sessions see it.
sub set_clock
{
	my ($node, $clock) = @_;
	set_config($node, 'mktg.clock' => $clock);
	wait_sql($node, 'postgres', "SELECT current_setting('mktg.clock') = '$clock'");
}

# ---- people and campaigns ----

# Adds contacts number FROM to FROM + N - 1 with phone and e-mail; those of
# the first are subscribed.  Options: from, channel, subscribed => 0.
sub add_contacts
{
	my ($node, $n, %opt) = @_;
	my $from = $opt{from} // 1;
	my $to = $from + $n - 1;
	my $channel = $opt{channel} // 'whatsapp';
	my $db = $opt{db} // 'postgres';

	$node->safe_psql($db, <<"SQL");
INSERT INTO mktg.contact (external_id, name, email, phone)
SELECT 'c' || i, 'Contact ' || i, 'c' || i || '\@example.com', '+1202' || lpad(i::text, 7, '0')
  FROM generate_series($from, $to) i;
SQL
	return if exists $opt{subscribed} && !$opt{subscribed};
	$node->safe_psql($db, <<"SQL");
INSERT INTO mktg.consent (contact_id, channel, source)
SELECT contact_id, '$channel', 'test' FROM mktg.contact
 WHERE substr(external_id, 2)::bigint BETWEEN $from AND $to;
SQL
}

sub add_template
{
	my ($node, $name, $channel, %opt) = @_;
	my $subject = $opt{subject} ? "'$opt{subject}'" : 'NULL';
	my $html = $opt{html} ? "'$opt{html}'" : 'NULL';
	my $body = $opt{body} // 'Hello {{name}}';
	return $node->safe_psql($opt{db} // 'postgres',
		"SELECT mktg.create_template('$name', '$channel', $subject, $html, '$body')");
}

# A draft with its template and recipients: add_campaign($node, name => ...,
# channel, sender, type, limit, priority, where (of contacts), db); its id.
sub add_campaign
{
	my ($node, %opt) = @_;
	my $channel = $opt{channel} // 'whatsapp';
	my $db = $opt{db} // 'postgres';
	my $sender = $opt{sender} ? "'$opt{sender}'" : 'NULL';
	my $limit = $opt{limit} // 'NULL';
	my $where = $opt{where} // 'true';
	my $type = $opt{type} // 'promotional';

	add_template($node, $opt{name}, $channel, %opt);
	my $id = $node->safe_psql($db,
		"SELECT mktg.create_campaign('$opt{name}', '$channel', '$opt{name}', $sender, '$type', $limit, "
		  . ($opt{priority} // 5) . ')');
	$node->safe_psql($db,
		"SELECT mktg.add_recipients($id, array_agg(contact_id ORDER BY contact_id)) FROM mktg.contact WHERE $where");
	return $id;
}

# Activates for today and dispatches today's batches.
sub launch
{
	my ($node, $id, %opt) = @_;
	my $db = $opt{db} // 'postgres';
	$node->safe_psql($db,
		"SELECT mktg.activate_campaign($id, (mktg.clock() AT TIME ZONE 'UTC')::date); SELECT mktg.process_daily()");
}

# ---- status and waiting ----

# "t|detail" of a check of mktg.status()
sub status_of
{
	my ($node, $check, $db) = @_;
	return $node->safe_psql($db // 'postgres',
		"SELECT ok, detail FROM mktg.status() WHERE \"check\" = '$check'");
}

sub is_status
{
	my ($node, $check, $pattern, $what, $db) = @_;
	like(status_of($node, $check, $db), $pattern, $what);
}

# Result of a query, undefined where it fails: the server may be down.
sub try_sql
{
	my ($node, $db, $sql) = @_;
	my ($out, $err);

	# not by standard input, which psql does not read if it cannot connect
	IPC::Run::run([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr($db), '-c', $sql ],
		'<', '/dev/null', '>', \$out, '2>', \$err)
	  or return undef;
	chomp $out;
	return $out;
}

# Polls a query that answers t in the end; dies if it never does.
sub wait_sql
{
	my ($node, $db, $sql, $seconds) = @_;
	my $end = time + ($seconds // $PostgreSQL::Test::Utils::timeout_default);
	my $answer;

	while (($answer = try_sql($node, $db, $sql) // '') ne 't')
	{
		die "timed out waiting for: $sql\nlast answer: $answer" if time > $end;
		usleep(50_000);
	}
}

# Waits until a check's "ok" is t or f and its detail matches (SQL pattern).
sub wait_for_status
{
	my ($node, $check, $ok, $pattern, $db) = @_;
	wait_sql($node, $db // 'postgres',
		"SELECT count(*) > 0 FROM mktg.status() WHERE \"check\" = '$check' AND ok = '$ok' AND detail ~ '$pattern'");
}

sub wait_delivering
{
	my ($node, $db) = @_;
	$db //= 'postgres';
	wait_for_status($node, "worker $db", 't', '^pid', $db);
}

sub wait_drained
{
	my ($node, $db, $seconds) = @_;
	wait_sql($node, $db // 'postgres', 'SELECT NOT EXISTS (SELECT FROM mktg.outbox)', $seconds);
}

# ---- what holds at any moment ----

# enqueued = waiting + leased + ended, and message by message: what is queued
# is in the queue, and nothing else but what was reported on while leased.
# Empty if so, else the counts.
sub conservation_faults
{
	my ($node, $db) = @_;
	return $node->safe_psql($db // 'postgres', <<'SQL');
SELECT concat_ws(' ', 'enqueued', enqueued, 'waiting', waiting, 'leased', leased, 'ended', ended, 'odd', odd)
  FROM (SELECT count(m.queued_at) AS enqueued,
               count(*) FILTER (WHERE o.due IS NOT NULL AND o.lease IS NULL) AS waiting,
               count(*) FILTER (WHERE o.lease IS NOT NULL) AS leased,
               count(*) FILTER (WHERE m.queued_at IS NOT NULL AND o.due IS NULL
                                  AND m.status NOT IN ('pending', 'queued')) AS ended,
               count(*) FILTER (WHERE m.contact_id IS NULL
                                   OR m.status = 'queued' AND o.due IS NULL
                                   OR m.status <> 'queued' AND o.due IS NOT NULL AND o.lease IS NULL) AS odd
          FROM mktg.message m FULL JOIN mktg.outbox o
            ON o.tenant_id = m.tenant_id AND o.campaign_id = m.campaign_id
           AND o.contact_id = m.contact_id AND o.ref = m.ref) x
 WHERE enqueued <> waiting + leased + ended OR odd > 0
SQL
}

sub is_conserved
{
	my ($node, $what, $db) = @_;
	return is(conservation_faults($node, $db), '', "$what: enqueued = waiting + leased + ended");
}

sub are_counters_right
{
	my ($node, $what, $db) = @_;
	my $wrong = $node->safe_psql($db // 'postgres',
		'SELECT coalesce(sum(mktg.rebuild_stats(campaign_id, tenant_id)), 0) FROM mktg.campaign');
	return is($wrong, '0', "$what: counters equal a recount");
}

# ---- messages of one sender ----

# Enqueues N messages of template "note" through a sender; their ids.  Options:
# key (begin of their idempotency keys), from (first contact), channel, db.
sub send_some
{
	my ($node, $sender, $n, %opt) = @_;
	my $from = $opt{from} // 1;
	my $key = $opt{key} // 'm';
	my $channel = $opt{channel} // 'webhook';

	return split /\n/, $node->safe_psql($opt{db} // 'postgres', <<"SQL");
SELECT mktg.send(contact_id, 'note', channel => '$channel', idempotency_key => '$key' || row_number() OVER (ORDER BY contact_id),
  sender => '$sender')
  FROM mktg.contact WHERE substr(external_id, 2)::bigint BETWEEN $from AND $from + $n - 1
SQL
}

my $sender_messages = <<'SQL';
mktg.message m JOIN mktg.campaign c USING (tenant_id, campaign_id)
  JOIN mktg.sender s USING (tenant_id, sender_id)
  LEFT JOIN mktg.outbox o USING (tenant_id, campaign_id, contact_id, ref)
SQL

# What has become of a sender's messages: lines of "N STATUS, waiting|leased|ended,
# ATTEMPTS: REASON", of which those in the queue have those of the queue.
sub sender_queue
{
	my ($node, $sender, $db) = @_;
	return $node->safe_psql($db // 'postgres', <<"SQL");
SELECT format('%s %s, %s, %s: %s', count(*), status, place, attempts, reason)
  FROM (SELECT m.status, CASE WHEN o.lease IS NOT NULL THEN 'leased' WHEN o.due IS NOT NULL THEN 'waiting' ELSE 'ended' END AS place,
               coalesce(o.attempt, m.attempts) AS attempts, coalesce(m.failure_reason, '-') AS reason
          FROM $sender_messages WHERE s.name = '$sender') x
 GROUP BY status, place, attempts, reason ORDER BY status, place, attempts, reason
SQL
}

sub is_sender_queue
{
	my ($node, $sender, $pattern, $what, $db) = @_;
	return like(sender_queue($node, $sender, $db), $pattern, $what);
}

# Waits until a condition holds of all of a sender's messages (m, and o in the queue).
sub wait_sender
{
	my ($node, $sender, $condition, $db, $seconds) = @_;
	wait_sql($node, $db // 'postgres',
		"SELECT count(*) > 0 AND coalesce(bool_and($condition), false) FROM $sender_messages WHERE s.name = '$sender'", $seconds);
}

# What waits may go now: nobody wants to wait for a backoff.
sub hurry
{
	my ($node, $db) = @_;
	$node->safe_psql($db // 'postgres', 'UPDATE mktg.outbox SET due = mktg.clock() WHERE lease IS NULL');
}

# ---- the worker's process ----

sub worker_pid
{
	my ($node, $db) = @_;
	$db //= 'postgres';
	return try_sql($node, $db, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'mktg worker' AND datname = '$db'") // '';
}

# Its own memory in MB, without what is shared.
sub worker_memory
{
	my ($node, $db) = @_;
	my $status = slurp_file('/proc/' . worker_pid($node, $db) . '/status');
	my ($kb) = $status =~ /^RssAnon:\s*(\d+) kB/m or die 'the kernel does not tell';
	return $kb / 1024;
}

# ---- crashes ----

# Kills the postmaster and starts the server again; true if that worked.
sub crash_restart
{
	my ($node) = @_;
	my $pid = $node->{_pid};

	$node->kill9;
	# the new one is refused until the old one's shared memory is let go
	for (1 .. 600)
	{
		last if !kill 0, $pid;
		usleep(20_000);
	}
	for (1 .. 300)
	{
		return 1 if $node->start(fail_ok => 1);
		usleep(100_000);
	}
	return 0;
}

# ---- the stub provider ----

# Held here: a test that dies would wait for a stub that nobody has told to quit.
my %stubs;
my $stub_number = 0;

END
{
	kill 'TERM', keys %stubs;
}

# start_stub(seed => N, full => 1, modes => '...'): a hash with port, url, log
sub start_stub
{
	my (%opt) = @_;
	my $number = $stub_number++;
	my $stub = { log => "$PostgreSQL::Test::Utils::tmp_check/" . basename($0, '.pl') . "_stub_$number.log" };
	unlink $stub->{log};
	$stub->{pid} = open($stub->{out}, '-|', $^X, "$FindBin::RealBin/lib/stub_provider.pl",
		$stub->{log}, $opt{seed} // 1, $opt{full} ? 1 : 0)
	  or die "could not start the stub provider: $!";
	$stubs{ $stub->{pid} } = $stub;
	readline($stub->{out}) =~ /^(\d+) (\d+)$/ or die 'the stub provider did not start';
	($stub->{port}, $stub->{control_port}) = ($1, $2);
	$stub->{url} = "http://127.0.0.1:$stub->{port}/hook";
	!$opt{modes} || stub_mode($stub, $opt{modes}) or die "the stub provider has no modes $opt{modes}";
	return $stub;
}

sub stop_stub
{
	my ($stub) = @_;
	tell_stub($stub, 'quit');
	close $stub->{out};		# waits for it
	delete $stubs{ $stub->{pid} };
}

sub tell_stub
{
	my ($stub, $line) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $stub->{control_port})
	  or die "no control connection to the stub provider: $!";
	print $socket "$line\n";
	return scalar <$socket>;
}

# stub_mode($stub, 'ok=9 reset=1'); true once it holds
sub stub_mode
{
	my ($stub, $modes) = @_;
	return (tell_stub($stub, $modes) // '') eq "ok\n";
}

# Requests so far, as hashes in the order they came.
sub stub_log
{
	my ($stub) = @_;
	open(my $file, '<', $stub->{log}) or return ();
	my $json = JSON::PP->new->latin1;
	return map { $json->decode($_) } grep { /\n$/ } <$file>;
}

# How often each message was taken, by its id.
sub stub_counts
{
	my ($stub) = @_;
	my %count;
	$_->{taken} and $count{ $_->{id} }++ for stub_log($stub);
	return \%count;
}

# A provider "hook" that posts to the stub, and its senders by name with the
# arguments of set_sender that follow: add_webhook_provider($node, $stub,
# senders => { name => 'on_doubt => ''hold''' }, options => "timeout_ms '2000'")
sub add_webhook_provider
{
	my ($node, $stub, %opt) = @_;
	my $db = $opt{db} // 'postgres';
	my $name = $opt{name} // 'hook';
	my $senders = $opt{senders} // { $name => '' };
	my $options = join ', ', grep { length } "driver 'webhook'", "url '$stub->{url}'", "allow_http 'true'",
	  "allow_networks '127.0.0.0/8'", $opt{options} // '';

	$node->safe_psql($db, <<"SQL");
CREATE SERVER $name FOREIGN DATA WRAPPER mktg_provider OPTIONS ($options);
SELECT mktg.set_credential('$name', 'secret', '$SECRET');
SQL
	for my $sender (sort keys %$senders)
	{
		my $arguments = $senders->{$sender} ? ", $senders->{$sender}" : '';
		$node->safe_psql($db, "SELECT mktg.set_sender('$sender', '$name'$arguments)");
	}
}

1;
