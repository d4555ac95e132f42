# What the contract tests share: the harness send.c, and foreign servers on
# free ports of 127.0.0.1 that end with the test.
package Contract;

use strict;
use warnings;
use Cwd qw(abs_path);
use POSIX ();
use Exporter 'import';
use File::Path qw(make_path remove_tree);
use IO::Socket::INET;
use Time::HiRes qw(usleep);

our @EXPORT = qw(directory find_tool free_port start start_process stop use_sources send_messages slurp);

make_path($ENV{TESTDIR} // 'tmp/contract');
my $directory = abs_path($ENV{TESTDIR} // 'tmp/contract') . "/$$";
my $program;
my $sources = 'src';
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
	return start_process($port, $command[0], sub { exec @command });
}

# The same with a server that is a function.
sub start_process
{
	my ($port, $name, $serve) = @_;
	my $log = directory() . "/server.$port.log";
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>', $log;
		open STDERR, '>&', \*STDOUT;
		$serve->();
		POSIX::_exit(127);			# without the END block: the servers are the parent's
	}
	$running{$pid} = 1;
	for (1 .. 2400)
	{
		return $pid if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
		if (waitpid($pid, POSIX::WNOHANG) == $pid)
		{
			delete $running{$pid};
			die "$name did not start: " . slurp($log);
		}
		usleep(25_000);
	}
	die "$name does not listen\n";
}

sub stop
{
	my ($pid) = @_;
	kill 'TERM', $pid;
	waitpid($pid, 0);
	delete $running{$pid};
	return;
}

# Compiles send.c with the sources of another directory from here on.
sub use_sources
{
	($sources) = @_;
	undef $program;
	return;
}

# Runs send.c with these arguments: id => { kind, provider_id, reason, retry_after } of each message.
sub send_messages
{
	my (@arguments) = @_;
	my %result;
	if (!$program)
	{
		$program = directory() . '/send';
		my @sources = grep { !m{/options\.c$} } glob "$sources/core/*.c $sources/provider/*.c";
		system($ENV{CC} // 'gcc', '-std=gnu11', '-D_GNU_SOURCE', '-O1', '-g', '-Wall', "-I$sources",
			'-o', $program, 'test/contract/send.c', @sources, '-lcurl', '-lcrypto', '-ljson-c', '-lpthread') == 0
			or die "send.c does not compile\n";
	}
	open my $out, '-|', $program, @arguments or die "send: $!";
	while (my $line = <$out>)
	{
		$line =~ /^(\S+) (\w+) (\S+) \[(.*)\] retry_after=(\d+)/ or next;
		$result{$1} = { kind => $2, provider_id => $3, reason => $4, retry_after => $5 };
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
