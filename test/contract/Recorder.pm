# A server that keeps the requests it gets and answers with what it is told, for
# providers that publish no document Prism could serve.
#
#	my $url = start_recorder();
#	reply(200, '{"ok":true}', 'Name: value');	# to the requests from now on
#	my @requests = requests();					# since the last call: { method, path, headers, body }
package Recorder;

use strict;
use warnings;
use lib 'test/contract';
use Contract;
use Exporter 'import';
use Fcntl qw(:flock);
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Prism ();

our @EXPORT = qw(start_recorder reply requests);

my $json = JSON::PP->new->latin1->canonical;

sub start_recorder
{
	my $port = free_port();
	reply(200, '{}');
	start_process($port, 'recorder', sub { serve($port) });
	requests();
	return "http://127.0.0.1:$port";
}

sub reply
{
	my ($status, $body, @headers) = @_;
	my $path = directory() . '/reply';
	open my $out, '>:raw', "$path.new" or die "$path: $!";
	print $out join "\r\n", "HTTP/1.1 $status Recorded", @headers, 'Content-Length: ' . length $body,
		'Connection: close', '', $body;
	close $out;
	rename "$path.new", $path or die "$path: $!";
	return;
}

sub requests
{
	my $path = directory() . '/requests';
	my @requests = map { $json->decode($_) } split /\n/, slurp($path);
	unlink $path;
	return @requests;
}

# One request a connection; each in a process of its own.
sub serve
{
	my ($port) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
		Listen => 128, ReuseAddr => 1) or die "listen: $!";
	local $SIG{CHLD} = 'IGNORE';
	while (1)
	{
		my $client = $listener->accept or next;
		my $pid = fork // die "fork: $!";
		next if $pid;
		close $listener;
		take($client);
		POSIX::_exit(0);
	}
	return;
}

sub take
{
	my ($client) = @_;
	my ($first, $headers, $body) = Prism::read_message($client) or return;
	my ($method, $path) = split / /, $first;
	open my $log, '>>', directory() . '/requests' or die "requests: $!";
	flock $log, LOCK_EX;
	print $log $json->encode({ method => $method, path => $path, headers => $headers, body => $body }), "\n";
	close $log;
	print $client slurp(directory() . '/reply');
	$client->flush;
	return;
}

1;
