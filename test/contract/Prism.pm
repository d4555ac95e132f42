# Prism serving the official document of a provider, behind a recorder that
# keeps what is sent and what Prism says to it.
#
#	my $missing = missing_prism('sendgrid-mail-v3.json');
#	plan skip_all => $missing if $missing;
#	my $url = start_prism('sendgrid-mail-v3.json');		# a base URL for the driver
#	prefer('code=429');				# the next requests bring this reply of the document
#	answer(400, '{"errors":[]}', 'Retry-After: 7');	# or this one, once Prism has judged the request
#	prefer(); answer();				# what Prism says
#	my @exchanges = exchanges();	# since the last call, in the order of their replies
#
# An exchange is { method, path, headers (small names), body, violations, status,
# reply_headers, reply }; violations are texts, from Prism's header sl-violations.
package Prism;

use strict;
use warnings;
use lib 'test/contract';
use Contract;
use Exporter 'import';
use Fcntl qw(:flock);
use IO::Socket::INET;
use JSON::PP;
use POSIX ();

our @EXPORT = qw(missing_prism start_prism prefer answer exchanges recorded_errors);

my $specs = $ENV{MKTG_SPECS} // '../shared/specs';
my $prism = 'node_modules/.bin/prism';
# bytes as they are
my $json = JSON::PP->new->latin1->canonical;

# Why Prism cannot serve the document, or undef.
sub missing_prism
{
	my ($document) = @_;
	return 'node is not installed' unless find_tool('node');
	return 'Prism is not installed (npm ci)' unless -e $prism;
	return "$specs/openapi/prism/$document is not there" unless -r "$specs/openapi/prism/$document";
	return 'Prism does not run with this node' if system("$prism --version > /dev/null 2>&1") != 0;
	return;
}

sub start_prism
{
	my ($document) = @_;
	my ($port, $recorder) = (free_port(), free_port());
	start($port, find_tool('node'), $prism, 'mock', '--errors', '-h', '127.0.0.1', '-p', $port,
		"$specs/openapi/prism/$document");
	start_process($recorder, 'recorder', sub { record($recorder, $port) });
	exchanges();
	return "http://127.0.0.1:$recorder";
}

sub prefer
{
	my ($preference) = @_;
	write_file('prefer', $preference);
	return;
}

sub answer
{
	my ($status, $body, @headers) = @_;
	my $text;
	if (defined $status)
	{
		$body //= '';
		$text = join "\r\n", "HTTP/1.1 $status Recorded", @headers,
			'Content-Length: ' . length $body, 'Connection: close', '', $body;
	}
	write_file('answer', $text);
	return;
}

sub exchanges
{
	my $path = directory() . '/exchanges';
	my @exchanges = map { $json->decode($_) } split /\n/, slurp($path);
	unlink $path;
	return @exchanges;
}

# The recorded errors of a provider: { name, http_status, headers, body (text), expect }.
sub recorded_errors
{
	my ($provider) = @_;
	my $text = slurp("$specs/errors/provider-errors.json");
	return if $text eq '';
	return map { { %$_, body => ref $_->{body} ? JSON::PP->new->utf8->canonical->encode($_->{body}) : $_->{body} } }
		@{ JSON::PP->new->utf8->decode($text)->{$provider} };
}

# ---- the recorder ----

sub write_file
{
	my ($name, $text) = @_;
	my $path = directory() . "/$name";
	unlink $path;
	return unless defined $text;
	open my $out, '>:raw', "$path.new" or die "$path: $!";
	print $out $text;
	close $out;
	rename "$path.new", $path or die "$path: $!";
	return;
}

# One request a connection; each in a process of its own.
sub record
{
	my ($port, $prism_port) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
		Listen => 128, ReuseAddr => 1) or die "listen: $!";
	local $SIG{CHLD} = 'IGNORE';
	while (1)
	{
		my $client = $listener->accept or next;
		my $pid = fork // die "fork: $!";
		next if $pid;
		close $listener;
		exchange($client, $prism_port);
		POSIX::_exit(0);
	}
	return;
}

# Reads a request or reply: its first line, headers with small names, body.
sub read_message
{
	my ($socket) = @_;
	local $/ = "\n";
	my $first = <$socket> // return;
	my (%headers, $body);
	while (defined(my $line = <$socket>))
	{
		$line =~ s/\r?\n\z//;
		last if $line eq '';
		my ($name, $value) = $line =~ /^([^:]+):\s*(.*)$/ or next;
		$headers{ lc $name } = $value;
	}
	if (($headers{'transfer-encoding'} // '') =~ /chunked/)
	{
		$body = '';
		while (defined(my $size = <$socket>))
		{
			last unless hex $size;
			read $socket, my $chunk, hex $size;
			$body .= $chunk;
			<$socket>;
		}
	}
	elsif (defined $headers{'content-length'})
	{
		read $socket, $body, $headers{'content-length'};
	}
	$first =~ s/\r?\n\z//;
	return ($first, \%headers, $body // '');
}

sub message
{
	my ($first, $headers, $body) = @_;
	my %headers = (%$headers, connection => 'close', 'content-length' => length $body);
	delete $headers{'transfer-encoding'};
	return join("\r\n", $first, (map { "$_: $headers{$_}" } sort keys %headers), '', $body);
}

sub exchange
{
	my ($client, $prism_port) = @_;
	my ($first, $headers, $body) = read_message($client) or return;
	my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $prism_port) or die "connect: $!";
	my $prefer = slurp(directory() . '/prefer');
	print $server message($first, { %$headers, $prefer ne '' ? (prefer => $prefer) : () }, $body);
	$server->flush;
	my ($reply_first, $reply_headers, $reply) = read_message($server);
	my $violations = $reply_headers->{'sl-violations'};
	my ($method, $path) = split / /, $first;
	my %exchange = (
		method => $method, path => $path, headers => $headers, body => $body,
		status => (split / /, $reply_first)[1], reply_headers => $reply_headers, reply => $reply,
		violations => [ map { join('.', @{ $_->{location} }) . ": $_->{message}" }
			$violations ? @{ $json->decode($violations) } : () ]);

	# what a path or a server is not documented for has no such header
	push @{ $exchange{violations} }, $reply
		if !@{ $exchange{violations} } && ($reply_headers->{'content-type'} // '') =~ /problem/;
	open my $log, '>>', directory() . '/exchanges' or die "exchanges: $!";
	flock $log, LOCK_EX;
	print $log $json->encode(\%exchange), "\n";
	close $log;
	my $answer = slurp(directory() . '/answer');
	print $client $answer ne '' ? $answer : message($reply_first, $reply_headers, $reply);
	$client->flush;
	return;
}

1;
