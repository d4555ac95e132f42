#!/usr/bin/perl
# A provider for tests: an HTTP/1.1 server in a process of its own that writes
# down every message it takes, with fsync, before it answers.  One process, one
# select loop, connections kept alive.
#
#	stub_provider.pl LOG SEED FULL
#
# Prints "PORT CONTROL-PORT" and runs until it is told "quit" or the test that
# started it is gone.  A line on the control port, "MODE=WEIGHT ...", says how
# requests are treated from now on; each draws its mode.  Answered with "ok".
#
#	ok		taken, 200
#	slow		taken at once, 200 after a second
#	lag		taken at once, 200 after 60 ms
#	late		taken after 60 ms if the client is still there, 200
#	stall		taken at once, 200 after half a minute
#	drip		taken, 200 byte by byte
#	trickle	taken, 200 with a byte every 100 ms
#	half		taken, the head of a 200 and no more
#	flood		taken, 200 with a body of 1 GB
#	heads		taken, 200 with headers that do not end
#	reset		taken, then the connection is reset
#	garbage	taken, answered with no HTTP
#	drop		not taken, the connection is reset
#	429		not taken, Retry-After: 1
#	503, 401, 410 ...	not taken, that status
#	429/TEXT	the same with Retry-After: TEXT; "date" is a date in 30 s,
#			nothing no such header
#	mute		alone: connections stand, and nothing is read from them
#	refuse		alone: nobody listens
#
# "if:TEXT=MODE" before them is the mode of requests whose body has the text.
#
# The log has a line of JSON a request: id, mode, taken, at (seconds), and with
# FULL also headers and body.
use strict;
use warnings;
use Errno qw(EAGAIN EWOULDBLOCK EINTR);
use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use POSIX qw(strftime);
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

my ($log_name, $seed, $full) = @ARGV;
my %delay = (slow => 1, stall => 30, lag => 0.06, late => 0.06);
my %taken = map { $_ => 1 } qw(ok slow lag late stall drip trickle half flood heads reset garbage);
my $gigabyte = 1 << 30;
my @modes = (['ok', 1]);
my @special;			# text and mode
my $mute = 0;
my $total = 1;
my $refusing = 0;
my %connections;		# by descriptor: socket, in, out, drip, reply_at
my $json = JSON::PP->new->canonical->latin1;

open(my $log, '>>', $log_name) or die "could not open $log_name: $!";
srand($seed);
$SIG{PIPE} = 'IGNORE';

sub listen_on
{
	my ($port) = @_;
	my $socket = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 256, ReuseAddr => 1, Blocking => 0)
	  or die "could not listen: $!";
	return $socket;
}

my $listener = listen_on(0);
my $control = listen_on(0);
my $port = $listener->sockport;
my $select = IO::Select->new($listener, $control);
my $parent = getppid;
STDOUT->autoflush(1);
print "$port ", $control->sockport, "\n";

sub hang_up
{
	my ($c, $reset) = @_;
	# lingering for no time makes the close a reset
	setsockopt($c->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)) if $reset;
	$select->remove($c->{socket});
	delete $connections{ fileno $c->{socket} };
	close $c->{socket};
}

sub set_modes
{
	my ($line) = @_;
	exit 0 if $line eq 'quit';
	@modes = map { [ split /=/ ] } split ' ', $line;
	@special = map { [ substr($_->[0], 3), $_->[1] ] } grep { $_->[0] =~ /^if:/ } @modes;
	@modes = grep { $_->[0] !~ /^if:/ } @modes;
	$mute = $modes[0][0] eq 'mute';
	$total = 0;
	$total += $_->[1] for @modes;
	my $refuse = $modes[0][0] eq 'refuse';
	if ($refuse && !$refusing)
	{
		$select->remove($listener);
		close $listener;
		hang_up($_, 1) for grep { !$_->{control} } values %connections;
	}
	elsif (!$refuse && $refusing)
	{
		$listener = listen_on($port);
		$select->add($listener);
	}
	$refusing = $refuse;
}

sub draw_mode
{
	my ($body) = @_;
	my $left = rand($total);
	for my $case (@special)
	{
		return $case->[1] if index($body, $case->[0]) >= 0;
	}
	for my $mode (@modes)
	{
		return $mode->[0] if ($left -= $mode->[1]) < 0;
	}
	return $modes[-1][0];
}

# How many things there were in a request, as advertisers answer.
sub success_text
{
	my ($head, $body) = @_;
	if ($head =~ m{^\S+ /v[\d.]+/\w+/users } && $body =~ /^payload=([^&]*)/)
	{
		my $payload = $1 =~ s/%(..)/chr hex $1/ger;
		my $n = @{ $json->decode($payload)->{data} };
		return qq({"audience_id":"1","session_id":"$n","num_received":$n,"num_invalid_entries":0});
	}
	if ($head =~ m{^POST /v[\d.]+/\d+/events })
	{
		my $n = @{ $json->decode($body)->{data} };
		return qq({"events_received":$n,"messages":[],"fbtrace_id":"trace"});
	}
	if ($head =~ m{^POST /12/accounts/})
	{
		my $n = 0;
		$n += @{ $_->{params}{users} } for @{ $json->decode($body) };
		return qq({"data":{"success_count":$n,"total_count":$n}});
	}
	return '{"ok":true}';
}

sub reply_ok
{
	my ($c) = @_;
	return reply(200, undef, $c->{text});
}

sub reply
{
	my ($status, $header, $text) = @_;
	my @headers = defined $header ? $header : ();
	$text //= "stub says $status";
	return join("\r\n", "HTTP/1.1 $status Stub", @headers, 'Content-Length: ' . length($text), '', $text);
}

sub retry_after
{
	my ($text) = @_;
	$text = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 30)) if $text eq 'date';
	return length $text ? ("Retry-After: $text") : ();
}

sub write_down
{
	my ($entry) = @_;
	$entry->{at} = time;
	print $log $json->encode($entry), "\n";
	$log->flush;
	$log->sync or die "could not fsync: $!";
}

# What is to be done with one whole request.
sub handle
{
	my ($c, $head, $body) = @_;
	my ($id) = $head =~ /^webhook-id:\s*(\S+)/mi;
	my $mode = draw_mode($body);
	$c->{text} = success_text($head, $body);
	my %entry = (id => $id, mode => $mode, taken => $taken{$mode} ? 1 : 0);

	@entry{qw(headers body)} = ($head, $body) if $full;
	if ($mode eq 'late') { $c->{late} = \%entry }
	else { write_down(\%entry) }

	if ($mode eq 'ok') { $c->{out} .= reply_ok($c) }
	elsif ($mode eq 'drip') { $c->{drip} = reply_ok($c) }
	elsif ($mode eq 'trickle') { @$c{qw(drip pace)} = (reply_ok($c), 0.1) }
	elsif ($mode eq 'half') { $c->{out} .= reply_ok($c) =~ s/\{.*//sr }
	elsif ($mode eq 'flood') { $c->{out} .= "HTTP/1.1 200 Stub\r\nContent-Length: $gigabyte\r\n\r\n"; $c->{flood} = 'x' x 65536; $c->{left} = $gigabyte }
	elsif ($mode eq 'heads') { $c->{out} .= "HTTP/1.1 200 Stub\r\n"; $c->{flood} = 'X-Head: ' . 'x' x 500 . "\r\n"; $c->{left} = $gigabyte }
	elsif ($mode eq 'reset' || $mode eq 'drop') { hang_up($c, 1) }
	elsif ($mode eq 'garbage') { $c->{out} .= "\0\1\2 this is no HTTP\r\n\r\n" }
	elsif ($delay{$mode}) { $c->{reply_at} = time + $delay{$mode} }
	elsif ($mode eq '429') { $c->{out} .= reply(429, 'Retry-After: 1') }
	elsif ($mode =~ m{^(\d+)/(.*)}) { $c->{out} .= reply($1, retry_after($2)) }
	else { $c->{out} .= reply($mode) }
}

sub read_from
{
	my ($c) = @_;
	my $n = sysread($c->{socket}, $c->{in}, 65536, length $c->{in});

	if (!defined $n) { return if $!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR} }
	return hang_up($c) if !$n;
	if ($c->{control})
	{
		while ($c->{in} =~ s/^(.*)\n//)
		{
			set_modes($1);
			$c->{out} .= "ok\n";
		}
	}
	elsif ($c->{in} =~ /^(.*?)\r\n\r\n/s)
	{
		my $head = $1;
		my $start = length($head) + 4;
		my ($length) = $head =~ /^content-length:\s*(\d+)/mi;

		return if length($c->{in}) < $start + ($length // 0);
		my $body = substr($c->{in}, $start, $length // 0);
		$c->{in} = substr($c->{in}, $start + ($length // 0));
		handle($c, $head, $body);
	}
}

sub write_to
{
	my ($c, $now) = @_;

	if ($c->{reply_at} && $now >= $c->{reply_at})
	{
		delete $c->{reply_at};
		write_down(delete $c->{late}) if $c->{late};
		$c->{out} .= reply_ok($c);
	}
	if (length($c->{drip} // '') && $now >= ($c->{next} // 0))
	{
		$c->{out} .= substr($c->{drip}, 0, 1, '');
		$c->{next} = $now + ($c->{pace} // 0);
	}
	if ($c->{flood} && $c->{left} > 0 && length($c->{out}) < 65536)
	{
		$c->{out} .= $c->{flood};
		$c->{left} -= length $c->{flood};
	}
	return if !length $c->{out};
	my $n = syswrite($c->{socket}, $c->{out});
	if (defined $n) { substr($c->{out}, 0, $n, '') }
	elsif (!$!{EAGAIN} && !$!{EINTR}) { hang_up($c) }		# a flood has met its limit
}

while (1)
{
	my $busy = grep { length $_->{out} || length($_->{drip} // '') || $_->{reply_at} || $_->{flood} } values %connections;
	my @ready = $select->can_read($busy ? 0.002 : 1);

	exit 0 if getppid != $parent;
	for my $socket (@ready)
	{
		if ($socket == $listener || $socket == $control)
		{
			my $is_control = $socket == $control;
			while (my $new = $socket->accept)
			{
				$new->blocking(0);
				setsockopt($new, IPPROTO_TCP, TCP_NODELAY, 1);
				$connections{ fileno $new } = { socket => $new, in => '', out => '', control => $is_control };
				# what is not read is neither seen: its end, too
				$select->add($new) if $is_control || !$mute;
			}
		}
		elsif (my $c = defined fileno $socket ? $connections{ fileno $socket } : undef)
		{
			read_from($c);
		}
	}
	my $now = time;
	write_to($_, $now) for values %connections;
}
