# The kill loop: under load the worker, a backend or the postmaster is killed
# with SIGKILL, the worker told to end or the server stopped at once, again and
# again, at random moments.  A stub provider in a process of its own writes down
# each message it takes, with fsync, before it answers; some of its answers are
# none, or refusals.  In the end its book and mktg.message are held against each
# other: nothing is lost, "hold" is never doubled, "retry" no more than what a
# kill caught in flight or a reply that never came explains.
#
# A server built with a planted bug (messages are recorded as sent before they
# leave) goes through the same first, and has to be found guilty.
#
#	MKTG_KILLS		how many kills (50); make torture asks for 1000
#	MKTG_SEED		of the choices; when exactly a kill hits is up to the machine
#
# The random waits before the kills are the experiment, not a way to be in time:
# everything else is waited for by its condition.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";

use IPC::Run;
use List::Util qw(max min shuffle);
use POSIX qw(strftime);
use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $kills = $ENV{MKTG_KILLS} || 50;
my $planted_kills = 6;
my $seed = $ENV{MKTG_SEED} || 1 + int(rand(1_000_000));
my $in_flight = 16;			# mktg.max_in_flight
my $batch = $in_flight;			# a batch is never larger
my $contacts = 1000;
my $longest_wait = 1.0;			# seconds from the worker's start to the kill
my @kinds = ('worker', 'backend, sending', 'backend, updating', 'postmaster', 'worker, told to end', 'immediate stop');

# the provider takes half of its messages at once and half only before it
# answers; one in ten it refuses for now, or takes and does not say so
my $modes = 'lag=45 late=45 503=3 drop=2 reset=2 garbage=2 drip=1';
my %silent = map { $_ => 1 } qw(reset garbage);

diag("seed $seed, $kills kills (MKTG_SEED and MKTG_KILLS choose others)");
srand($seed);

# ---- load ----

# A server with a stub provider, contacts, and two senders: one for each word
# of on_doubt.
sub new_victim
{
	my ($name, %opt) = @_;
	my $node = new_node($name, fsync => 1, config => <<"CONF", %opt);
mktg.max_in_flight = $in_flight
log_min_messages = fatal
CONF
	my $v = { node => $node, stub => start_stub(seed => $seed), waves => 0, kills => [], faults => [], clients => {} };

	stub_mode($v->{stub}, $modes) or die 'the stub provider has no such modes';
	add_webhook_provider($node, $v->{stub},
		senders => { hold => "on_doubt => 'hold'", retry => "on_doubt => 'retry'" });
	add_contacts($node, $contacts, channel => 'webhook');
	add_template($node, 'note', 'webhook');
	return $v;
}

# Two campaigns more, when the queue runs low.
sub keep_busy
{
	my ($v) = @_;
	my $node = $v->{node};

	return if $node->safe_psql('postgres', 'SELECT count(*) FROM mktg.outbox') >= 400;
	$v->{waves}++;
	for my $sender ('hold', 'retry')
	{
		my $id = add_campaign($node, name => "$sender $v->{waves}", channel => 'webhook', sender => $sender);
		launch($node, $id);
	}
}

# The clients: psql with a script of transactions, begun anew for each kill.
# They tell in a file what has committed, as they were told.  A transaction is
# held open for a moment, so that most kills hit one in its midst.
sub client_script
{
	my ($v, $kind) = @_;
	my $run = @{ $v->{kills} };
	my $sql = "SET application_name = '$kind';\n";

	for my $i (1 .. 400)
	{
		my $contact = 1 + int(rand($contacts));
		if ($kind eq 'sending')
		{
			my $sender = $i % 2 ? 'hold' : 'retry';
			$sql .= <<"SQL";
BEGIN;
SELECT mktg.send($contact, 'note', '{}', 'webhook', 'r$run-$i', '$sender') AS id \\gset
SELECT pg_sleep(0.02) \\gset ignored_
COMMIT;
\\echo :id
SQL
		}
		else
		{
			# none of these is one that the worker still writes to
			$sql .= <<"SQL";
BEGIN;
UPDATE mktg.contact SET city = 'City $i' WHERE contact_id = $contact;
UPDATE mktg.message SET opened_at = mktg.clock()
 WHERE contact_id = $contact AND campaign_id > 0 AND tenant_id = 1 AND status = 'sent' AND opened_at IS NULL;
SELECT pg_sleep(0.02) \\gset ignored_
COMMIT;
SQL
		}
	}
	return $sql;
}

sub start_client
{
	my ($v, $kind) = @_;
	my $base = "$PostgreSQL::Test::Utils::tmp_check/" . $v->{node}->name . "_$kind";
	my $run = @{ $v->{kills} };
	my ($script, $out) = ("$base.sql", "$base.$run.out");

	open(my $file, '>', $script) or die "$script: $!";
	print $file client_script($v, $kind);
	close $file;
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open(STDOUT, '>', $out) && open(STDERR, '>', "$base.err") or POSIX::_exit(1);
		exec($v->{node}->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1',
			'-d', $v->{node}->connstr('postgres'), '-f', $script) or POSIX::_exit(1);
	}
	$v->{clients}{$kind} = $pid;
	push @{ $v->{outputs} }, $out if $kind eq 'sending';
}

# Their servers are gone, or told to go, and so will they be.
sub end_clients
{
	my ($v) = @_;
	waitpid($_, 0) for values %{ $v->{clients} };
	$v->{clients} = {};
}

# Messages whose enqueueing transaction was reported as committed.
sub acknowledged
{
	my ($v) = @_;
	my @ids;
	for my $out (@{ $v->{outputs} })
	{
		push @ids, grep { /^1-\d+-\d+-/ } split /\n/, slurp_file($out);
		unlink $out;
	}
	return @ids;
}

# ---- kills ----

# Asks a server that may be about to come back; undef if it does not answer.
# The query is no input of psql, which may be gone before it reads.
sub ask
{
	my ($v, $sql) = @_;
	my $ok = IPC::Run::run([ $v->{node}->installed_command('psql'), '-XAtq', '-d', $v->{node}->connstr('postgres'), '-c', $sql ],
		'<', '/dev/null', '>', \my $out, '2>', \my $err);
	chomp $out;
	return $ok && length $out ? $out : undef;
}

# The pid that a query gives in the end.
sub wait_pid
{
	my ($v, $where, $not) = @_;
	my $end = time + 180;

	while (time < $end)
	{
		my $pid = ask($v, "SELECT pid FROM pg_stat_activity WHERE $where AND pid <> $not LIMIT 1");
		return $pid if $pid;
		usleep(20_000);
	}
	die "no process after kill " . @{ $v->{kills} } . ": $where";
}

sub wait_worker
{
	my ($v, $not) = @_;
	return wait_pid($v, "backend_type = 'mktg worker'", $not);
}

# One kill, and what holds after it.
sub kill_once
{
	my ($v, $kind) = @_;
	my $node = $v->{node};
	my $worker = wait_worker($v, 0);
	my $victim = $worker;

	keep_busy($v);
	start_client($v, $_) for 'sending', 'updating';
	if ($kind =~ /^backend, (\w+)/)
	{
		$victim = wait_pid($v, "backend_type = 'client backend' AND application_name = '$1'", 0);
	}
	usleep(1_000_000 * rand($longest_wait));

	my %kill = (kind => $kind, from => time);
	if ($kind eq 'postmaster')
	{
		crash_restart($node) or die 'the server does not start again';
	}
	elsif ($kind eq 'immediate stop')
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		kill($kind eq 'worker, told to end' ? 'TERM' : 'KILL', $victim) == 1 or die "could not kill the $kind";
	}
	# a worker that is another: the old one can send nothing from here on
	wait_worker($v, $worker);
	$kill{to} = time;
	push @{ $v->{kills} }, \%kill;
	# where the servers of the clients are alive, they have to be told
	ask($v, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name IN ('sending', 'updating')");
	end_clients($v);

	my $faults = conservation_faults($node);
	push @{ $v->{faults} }, 'after kill ' . @{ $v->{kills} } . " ($kind): $faults" if $faults ne '';
}

sub kill_many
{
	my ($v, $n) = @_;
	my @order = shuffle map { $kinds[$_ % @kinds] } 1 .. $n;

	kill_once($v, $_) for @order;
	wait_drained($v->{node}, 'postgres', 600);
	my $faults = conservation_faults($v->{node});
	push @{ $v->{faults} }, "when drained: $faults" if $faults ne '';
}

# ---- the verdict ----

# The kill that a message taken at one time fell victim to, if any.
sub kill_after
{
	my ($v, $at) = @_;
	my $list = $v->{kills};
	my ($low, $high) = (0, scalar @$list);

	while ($low < $high)
	{
		my $middle = int(($low + $high) / 2);
		if ($list->[$middle]{to} > $at) { $high = $middle }
		else { $low = $middle + 1 }
	}
	return $low;
}

# Holds the stub's book against the database: counts, and lists of offenders.
sub judge
{
	my ($v) = @_;
	my %taken;
	my %r = map { $_ => [] } qw(lost unknown hold_doubled no_end unexplained forgotten);

	push @{ $taken{ $_->{id} } }, $_ for grep { $_->{taken} } stub_log($v->{stub});
	my %message = map { my ($id, @rest) = split /\|/, $_, -1; $id => \@rest } split /\n/, $v->{node}->safe_psql('postgres', <<'SQL');
SELECT concat_ws('-', m.tenant_id, m.campaign_id, m.contact_id, nullif(m.ref, '')), m.status, s.on_doubt, coalesce(m.failure_reason, '')
  FROM mktg.message m
  JOIN mktg.campaign c ON c.tenant_id = m.tenant_id AND c.campaign_id = m.campaign_id
  JOIN mktg.sender s ON s.tenant_id = c.tenant_id AND s.sender_id = c.sender_id
SQL

	@r{qw(messages sent in_doubt quarantined doubles unanswered)} = (scalar keys %message, 0, 0, 0, 0, 0);
	my @per_kill;
	for my $id (sort keys %message)
	{
		my ($status, $on_doubt, $reason) = @{ $message{$id} };
		my @taken = @{ $taken{$id} // [] };

		if ($status eq 'sent')
		{
			$r{sent}++;
			push @{ $r{lost} }, $id if !@taken;
		}
		elsif ($status eq 'in_doubt' && $on_doubt eq 'hold') { $r{in_doubt}++ }
		elsif ($status eq 'failed' && $on_doubt eq 'retry' && $reason =~ /^quarantined/) { $r{quarantined}++ }
		else { push @{ $r{no_end} }, "$id ($status: $reason)" }

		next if @taken < 2;
		push @{ $r{hold_doubled} }, $id if $on_doubt eq 'hold';
		for my $i (0 .. $#taken - 1)
		{
			my $k = kill_after($v, $taken[$i]{at});
			if ($silent{ $taken[$i]{mode} }) { $r{unanswered}++; next }
			$r{doubles}++;
			if ($k < @{ $v->{kills} } && $v->{kills}[$k]{from} < $taken[ $i + 1 ]{at}) { $per_kill[$k]++ }
			else { push @{ $r{unexplained} }, $id }
		}
	}
	$r{most_doubles} = max(0, map { $_ // 0 } @per_kill);
	$r{unknown} = [ grep { !$message{$_} } sort keys %taken ];
	my @acknowledged = acknowledged($v);
	$r{acknowledged} = @acknowledged;
	$r{forgotten} = [ grep { !$message{$_} } @acknowledged ];
	return \%r;
}

sub none
{
	my ($list, $what) = @_;
	is(scalar @$list, 0, $what) or diag(join "\n", map { "  $_" } @$list[0 .. min($#$list, 19)]);
}

# The lines of the table in doc/reliability.md.
sub report
{
	my ($v, $r) = @_;
	my %kinds;
	$kinds{ $_->{kind} }++ for @{ $v->{kills} };
	my @rows = (
		[ 'Date, seed', strftime('%Y-%m-%d', gmtime) . ", $seed" ],
		[ 'Kills', scalar @{ $v->{kills} } ],
		(map { [ "of them: $_", $kinds{$_} // 0 ] } @kinds),
		[ 'Messages', $r->{messages} ],
		[ 'of them enqueued by `mktg.send()` and acknowledged to the client', $r->{acknowledged} ],
		[ 'sent', $r->{sent} ],
		[ 'in doubt (`hold`)', $r->{in_doubt} ],
		[ 'failed, quarantined after two deaths (`retry`)', $r->{quarantined} ],
		[ 'Lost', scalar @{ $r->{lost} } + @{ $r->{no_end} } + @{ $r->{forgotten} } ],
		[ 'Doubled, `hold`', scalar @{ $r->{hold_doubled} } ],
		[ 'Doubled, `retry`, after a reply that never came', $r->{unanswered} ],
		[ 'Doubled, `retry`, over a kill', $r->{doubles} ],
		[ 'most by one kill (`mktg.max_in_flight` = ' . "$in_flight)", $r->{most_doubles} ]);
	diag(join "\n", map { "| $_->[0] | $_->[1] |" } @rows);
}

# ---- a build with the planted bug is found guilty ----

my $planted = new_victim('planted', install_path => other_build('planted', objects => ['worker/claim'], make => ['COPT=-DMKTG_PLANT_RECORD_FIRST']));
kill_many($planted, $planted_kills);
my $guilty = judge($planted);
cmp_ok(scalar @{ $guilty->{lost} }, '>', 0, 'messages recorded before they leave are found lost');
diag(sprintf '%d lost by the planted bug in %d kills', scalar @{ $guilty->{lost} }, $planted_kills);
$planted->{node}->stop('immediate');
stop_stub($planted->{stub});

# ---- what ships ----

my $victim = new_victim('victim');
my $begin = time;
kill_many($victim, $kills);
my $r = judge($victim);

report($victim, $r);
diag(sprintf '%d kills in %.0f s', $kills, time - $begin);
is(scalar @{ $victim->{kills} }, $kills, "the server came back after each of $kills kills");
none($victim->{faults}, 'enqueued = waiting + leased + ended after every kill');
none($r->{forgotten}, 'what was acknowledged as committed is there');
none($r->{lost}, 'every message recorded as sent has reached the provider');
none($r->{unknown}, 'the provider has no message that was never committed');
none($r->{no_end}, 'every message is sent, in doubt (hold) or quarantined (retry)');
none($r->{hold_doubled}, 'hold: none arrived twice');
none($r->{unexplained}, 'retry: none arrived twice but over a kill, or for want of a reply');
cmp_ok($r->{most_doubles}, '<=', $in_flight + $batch, 'retry: doubles by one kill are at most what was in flight and a batch');
cmp_ok($r->{sent}, '>', 10 * $kills, 'there was load');
are_counters_right($victim->{node}, 'in the end');

$victim->{node}->stop('fast');
stop_stub($victim->{stub});
done_testing();
