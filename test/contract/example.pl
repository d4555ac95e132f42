# The example of the manual, doc/providers.md: one file and one line make a driver.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use File::Path qw(make_path);
use IO::Socket::INET;
use JSON::PP;
use Test::More;

my ($section) = slurp('doc/providers.md') =~ /^## Adding a driver\n(.*?)^## /ms;
my ($code) = ($section // '') =~ /^```c\n(.*?)^```/ms;
ok($code, 'the manual has an example');

# ---- one file and one line ----
my $sources = directory() . '/src';
make_path($sources);
system('cp', '-r', 'src/core', 'src/provider', $sources) == 0 or die 'cp failed';
write_file("$sources/provider/acme.c", $code);
my $list = slurp("$sources/provider/drivers.h");
$list =~ s/(DRIVER\(sandbox\) \\\n)/$1\tDRIVER(acme) \\\n/ or die 'drivers.h has no list';
write_file("$sources/provider/drivers.h", $list);
use_sources($sources);

sub write_file
{
	my ($path, $text) = @_;
	open my $out, '>:raw', $path or die "$path: $!";
	print $out $text;
	close $out;
	return;
}

# ---- Acme, which knows no number that ends in 9 ----
my $port = free_port();
my $log = directory() . '/requests';
start_process($port, 'acme', sub {
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 64, ReuseAddr => 1) or die $!;
	while (my $client = $listener->accept)
	{
		my ($head, $body) = ('', '');
		while (defined(my $line = <$client>))
		{
			$head .= $line;
			last if $line eq "\r\n";
		}
		read $client, $body, $1 if $head =~ /^content-length: (\d+)/mi;
		next if $head eq '';			# somebody looks whether we listen
		open my $out, '>>', $log;
		print $out JSON::PP->new->latin1->encode([ $head, $body ]), "\n";
		close $out;
		print $client 'HTTP/1.1 ', $body =~ /9","text"/ ? '422 No' : '200 Yes', "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
		close $client;
	}
});

my @acme = ('acme', 'api_key=k', "base_url=http://127.0.0.1:$port/v1");
my $result = send_messages('-n', 10, '-a', '+1415555010%', '-t', "Hi \"you\"\n", @acme);
is(join(' ', map { $result->{"m$_"}{kind} } 1 .. 10), 'sent ' x 8 . 'suppress sent', 'messages go through it');
my ($first) = map { JSON::PP->new->latin1->decode($_) } split /\n/, slurp($log);
like($first->[0], qr{^POST /v1/messages HTTP/1.1\r$}m, 'where it says');
like($first->[0], qr{^X-Api-Key: k\r$}m, 'with its credential');
is_deeply([ sort keys %{ decode_json($first->[1]) } ], [ 'id', 'text', 'to' ], 'and its body');
$result = send_messages(@acme);
is("$result->{m1}{kind} $result->{m1}{reason}", 'permanent the message has no text', 'what it refuses has its reason');

done_testing();
