# What the contract tests share: the harness send.c, and foreign servers on
# free ports of 127.0.0.1 that end with the test.
package Contract;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Path qw(make_path remove_tree);
use IO::Socket::INET;
use Time::HiRes qw(usleep);

our @EXPORT = qw(directory find_tool free_port start stop send_messages slurp);

make_path($ENV{TESTDIR} // 'tmp/contract');
my $directory = abs_path($ENV{TESTDIR} // 'tmp/contract') . "/$$";
my $program;
my %running;

# A directory of the test's own, emptied at its end.
sub directory
{
	make_path($directory);
	return $directory;
}

# Path of a tool that deps.sh may have unpacked, or undef.
sub find_tool
{
	my ($name) = @_;
	for my $bin (split(/:/, $ENV{PATH}), '/usr/sbin', 'tmp/tools/bin')
	{
		return "$bin/$name" if -x "$bin/$name";
	}
	return;
}

sub free_port
{
	return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)->sockport;
}

# Starts a server in the foreground of its own process; waits for its port.
sub start
{
	my ($port, @command) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>', directory() . "/server.log";
		open STDERR, '>&', \*STDOUT;
		exec @command or exit 127;
	}
	$running{$pid} = 1;
	for (1 .. 200)
	{
		return $pid if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
		die "$command[0] did not start: " . slurp(directory() . '/server.log') if waitpid($pid, 1) == $pid;
		usleep(25_000);
	}
	die "$command[0] does not listen\n";
}

sub stop
{
	my ($pid) = @_;
	kill 'TERM', $pid;
	waitpid($pid, 0);
	delete $running{$pid};
	return;
}

# Runs send.c with these arguments: id => { kind, provider_id, reason } of each message.
sub send_messages
{
	my (@arguments) = @_;
	my %result;
	if (!$program)
	{
		$program = directory() . '/send';
		my @sources = grep { !m{/options\.c$} } glob 'src/core/*.c src/provider/*.c';
		system($ENV{CC} // 'gcc', '-std=gnu11', '-D_GNU_SOURCE', '-O1', '-g', '-Wall', '-Isrc',
			'-o', $program, 'test/contract/send.c', @sources, '-lcurl', '-lcrypto', '-ljson-c', '-lpthread') == 0
			or die "send.c does not compile\n";
	}
	open my $out, '-|', $program, @arguments or die "send: $!";
	while (my $line = <$out>)
	{
		$line =~ /^(\S+) (\w+) (\S+) \[(.*)\]/ or next;
		$result{$1} = { kind => $2, provider_id => $3, reason => $4 };
	}
	close $out or die "send failed\n";
	return \%result;
}

sub slurp
{
	my ($path) = @_;
	open my $in, '<:raw', $path or return '';
	local $/;
	return scalar <$in>;
}

END
{
	my $status = $?;
	stop($_) for keys %running;
	remove_tree($directory);
	$? = $status;
}

1;
