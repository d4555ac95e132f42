# The smtp driver against smtp-sink of Postfix: what arrives, and what is made
# of its refusals.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use Encode qw(decode encode);
use MIME::Base64;
use MIME::QuotedPrint;
use Test::More;

my $sink = find_tool('smtp-sink');
plan skip_all => 'smtp-sink is not installed' unless $sink;

# to root it refuses to listen as root
my @sink = ($sink, $> == 0 ? ('-u', 'nobody') : ());
chmod 0777, directory();
my $port = free_port();
my @from = ('-f', 'shop@shop.example', '-s', 'Hello');
my @provider = ('smtp', 'host=127.0.0.1', "port=$port", 'tls=none', 'helo=me.example', 'timeout_ms=3000');

# Sends one message to a sink with these arguments.
sub send_one
{
	my ($sink_arguments, @message) = @_;
	my $pid = start($port, @sink, @$sink_arguments, "127.0.0.1:$port", 20);
	my $result = send_messages(@message, @provider);
	stop($pid);
	return $result->{m1} // { kind => 'nothing', reason => '' };
}

# The one mail a sink has stored: envelope, header, body with LF lines.
sub stored
{
	my ($file) = glob directory() . '/mail.*';
	my $text = slurp($file);
	unlink $file;
	$text =~ s/\r\n/\n/g;
	$text =~ s/\n\z//;				# smtp-sink's own
	my ($header, $body) = split /\n\n/, $text, 2;
	$header =~ s/\n[ \t]+/ /g;
	my %header = $header =~ /^([\w-]+): *(.*)$/mg;
	return (\%header, $body);
}

# Text of a MIME part, or of a message of one.
sub decoded
{
	my ($encoding, $body) = @_;
	$body = decode_base64($body) if $encoding eq 'base64';
	$body = decode_qp($body) if $encoding eq 'quoted-printable';
	$body =~ s/\r\n/\n/g;
	return decode('UTF-8', $body);
}

my @dump = ('-d', directory() . '/mail.');

# ---- a message of one text ----
my $text = "Hello,\n.\n..two dots\n.one\nFrom here\n" . ('x' x 900) . "\nbye\n";
my $outcome = send_one(\@dump, @from, '-t', $text);
is($outcome->{kind}, 'sent', 'a message of one text');
my ($header, $body) = stored();
is($header->{'X-Mail-Args'}, '<shop@shop.example>', 'MAIL FROM');
is($header->{'X-Rcpt-Args'}, '<to1@example.com>', 'RCPT TO');
is($header->{'X-Helo-Args'}, 'me.example', 'the name it greets with');
is($header->{From}, '<shop@shop.example>', 'From');
is($header->{To}, '<to1@example.com>', 'To');
is($header->{Subject}, 'Hello', 'Subject');
is($header->{Date}, 'Wed, 01 Jan 2025 00:00:00 +0000', 'Date');
is($header->{'Message-ID'}, '<m1@shop.example>', 'Message-ID');
is($header->{'MIME-Version'}, '1.0', 'MIME-Version');
is($header->{'Content-Type'}, 'text/plain; charset=utf-8', 'Content-Type');
is($body, "$text", 'the text arrives as it was, dots included');

$outcome = send_one(\@dump, @from, '-t', "no line end");
($header, $body) = stored();
is($body, "no line end\n", 'a text without a line end gets one');

my $hindi = "\x{928}\x{92e}\x{938}\x{94d}\x{924}\x{947}\n" x 40;
$outcome = send_one(\@dump, @from, '-H', encode('UTF-8', $hindi));
($header, $body) = stored();
is($header->{'Content-Type'}, 'text/html; charset=utf-8', 'a message of html alone');
is(decoded($header->{'Content-Transfer-Encoding'}, $body), $hindi, 'in another script');
unlike($body, qr/[^\n]{77}/, 'in short lines');

# ---- a message of two texts ----
my $plain = "Gr\x{fc}\x{df}e\n.\nbye\n" . ("a long line " x 100) . "\n";
my $html = "<p>Gr\x{fc}\x{df}e</p>\n" . ("<b>x</b>" x 300) . "\n";
$outcome = send_one(\@dump, '-f', 'shop@shop.example', '-N', "M\xc3\xbcller \"& Co\"", '-R', 'answers@shop.example',
	'-s', "Gr\xc3\xbc\xc3\x9fe aus M\xc3\xbcnchen " . ("\xe2\x82\xac 100 " x 20),
	'-t', encode('UTF-8', $plain), '-H', encode('UTF-8', $html));
is($outcome->{kind}, 'sent', 'a message of two texts');
($header, $body) = stored();
is(decode('MIME-Header', $header->{Subject}), "Gr\x{fc}\x{df}e aus M\x{fc}nchen " . ("\x{20ac} 100 " x 20),
	'a long subject that is not ASCII');
is(decode('MIME-Header', $header->{From}), "M\x{fc}ller \"& Co\" <shop\@shop.example>", 'a display name');
is($header->{'Reply-To'}, '<answers@shop.example>', 'Reply-To');
is(join(' ', sort map { lc } grep { /^mime-version|^content-type/i } keys %$header), 'content-type mime-version',
	'one Content-Type');
my ($boundary) = $header->{'Content-Type'} =~ /^multipart\/alternative; boundary="?([^"]+)"?$/;
ok($boundary, 'multipart/alternative');
my @parts = split /\n?--\Q$boundary\E(?:--)?\n/, $body;
shift @parts;
pop @parts while @parts && $parts[-1] !~ /\S/;
is(scalar @parts, 2, 'two parts');
my @want = (['text/plain; charset=utf-8', $plain], ['text/html; charset=utf-8', $html]);
for my $i (0, 1)
{
	my ($part_header, $part_body) = split /\n\n/, $parts[$i], 2;
	my ($type) = $part_header =~ /^Content-Type: (.*)$/m;
	my ($encoding) = $part_header =~ /^Content-Transfer-Encoding: (.*)$/m;
	is($type, $want[$i][0], "type of part $i");
	is(decoded($encoding, $part_body), $want[$i][1], "text of part $i ($encoding)");
	unlike($part_body, qr/[^\n]{77}/, "in short lines");
}

# ---- refusals ----
my @cases = (
	['RCPT 450', ['-r', 'RCPT'], 'retry', qr/^SMTP 450 4\.3\.0/],
	['RCPT 500', ['-f', 'RCPT'], 'permanent', qr/^SMTP 500 5\.3\.0/],
	['RCPT 550 5.1.1', ['-B', '550 5.1.1 <to1@example.com> unknown', '-f', 'RCPT'], 'suppress', qr/^SMTP 550 5\.1\.1 <\[...\]> unknown$/],
	['RCPT 550 without more', ['-B', '550 unknown', '-f', 'RCPT'], 'suppress', qr/^SMTP 550/],
	['RCPT 550 5.7.1', ['-B', '550 5.7.1 policy', '-f', 'RCPT'], 'permanent', qr/^SMTP 550/],
	['hang-up at RCPT', ['-q', 'RCPT'], 'retry', qr/^not sent/],
	['421 at RCPT', ['-Q', 'RCPT'], 'retry', qr/^SMTP 421/],
	['MAIL 450', ['-r', 'MAIL'], 'retry', qr/^SMTP 450/],
	['MAIL 500', ['-f', 'MAIL'], 'config', qr/^SMTP 500/],
	['MAIL 530', ['-B', '530 5.7.0 log in first', '-f', 'MAIL'], 'config', qr/^SMTP 530/],
	['hang-up at MAIL', ['-q', 'MAIL'], 'retry', qr/^not sent/],
	['DATA 450', ['-r', 'DATA'], 'retry', qr/^SMTP 450/],
	['DATA 500', ['-f', 'DATA'], 'permanent', qr/^SMTP 500/],
	['hang-up at DATA', ['-q', 'DATA'], 'retry', qr/^not sent/],
	['final dot 450', ['-r', '.'], 'retry', qr/^SMTP 450/],
	['final dot 500', ['-f', '.'], 'permanent', qr/^SMTP 500/],
	['421 at the final dot', ['-Q', '.'], 'retry', qr/^SMTP 421/],
	['hang-up at the final dot', ['-q', '.'], 'doubt', qr/^no reply after the end/],
	['no answer to the final dot', ['-W', '.:30'], 'doubt', qr/^no reply after the end/],
	['CONNECT 450', ['-r', 'CONNECT'], 'retry', qr/^SMTP 450/],
	['CONNECT 500', ['-f', 'CONNECT'], 'config', qr/^SMTP 500/],
	['hang-up at CONNECT', ['-q', 'CONNECT'], 'retry', qr/^not sent/],
	['EHLO unknown', ['-e'], 'sent', qr/^$/],
	['no pipelining, no 8bit, no enhanced codes', ['-p', '-8', '-E'], 'sent', qr/^$/],
);
for my $case (@cases)
{
	my ($name, $arguments, $kind, $reason) = @$case;
	my $got = send_one($arguments, @from, '-t', 'hello');
	is($got->{kind}, $kind, $name);
	like($got->{reason}, $reason, "$name: reason");
}

# ---- many ----
my $pid = start($port, @sink, "127.0.0.1:$port", 100);
my $result = send_messages('-n', 500, @from, '-t', 'hello', '-H', '<p>hello</p>', @provider);
stop($pid);
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 500, 'five hundred messages over ten connections');

# nobody listens
$result = send_messages(@from, '-t', 'hello', @provider);
is($result->{m1}{kind}, 'retry', 'nobody listens');

done_testing();
