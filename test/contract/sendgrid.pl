# The SendGrid driver against Prism serving SendGrid's own document: what is
# sent is what it takes, and what it answers is understood.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use HTTP::Tiny;
use JSON::PP;
use Prism;
use Test::More;

my $document = 'sendgrid-mail-v3.json';
my $missing = missing_prism($document);
plan skip_all => $missing if $missing;

my $url = start_prism($document);
my @sendgrid = ('sendgrid', 'api_key=SG.key', "base_url=$url");
my @message = ('-f', 'shop@example.com', '-N', "The \"Sh\xc3\xb6p\"", '-R', 'help@example.com',
	'-s', "Hi \"%\" \xe2\x9c\x93", '-t', "Hello %\n", '-H', '<p class="x">Hello %</p>', '-p');

# ---- Prism judges ----
HTTP::Tiny->new->post("$url/v3/mail/send", {
	headers => { authorization => 'Bearer x', 'content-type' => 'application/json' },
	content => '{"personalizations":[{"to":[{"email":"nobody"}],"custom_args":{"n":1}}],"from":{},"nonsense":1}' });
my ($exchange) = exchanges();
cmp_ok(scalar @{ $exchange->{violations} }, '>=', 3, 'Prism finds what is wrong with a request');

# ---- one message ----
my $result = send_messages(@message, @sendgrid);
is($result->{m1}{kind}, 'sent', 'a message');
is($result->{m1}{provider_id}, '14c5d75ce93.dfd.64b469', 'X-Message-Id is its id');
($exchange) = exchanges();
is_deeply($exchange->{violations}, [], 'as documented');
is("$exchange->{method} $exchange->{path}", 'POST /v3/mail/send', 'where to');
is($exchange->{headers}{authorization}, 'Bearer SG.key', 'the key');
my $body = decode_json($exchange->{body});
is_deeply($body->{content}, [
	{ type => 'text/plain', value => "Hello 1\n" }, { type => 'text/html', value => '<p class="x">Hello 1</p>' } ],
	'its texts are the content');
is($body->{personalizations}[0]{subject}, "Hi \"1\" \x{2713}", 'its subject');
is_deeply($body->{from}, { email => 'shop@example.com', name => "The \"Sh\x{f6}p\"" }, 'its sender');

# ---- a thousand and a half, with every option ----
my @full = (@sendgrid, 'categories=spring,vip', 'asm_group_id=12', 'asm_groups_to_display=12,13', 'ip_pool_name=mass',
	'click_tracking=false', 'open_tracking=true', 'subscription_tracking=false', 'sandbox_mode=true');
$result = send_messages('-n', 1500, @message, @full);
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 1500, 'one thousand five hundred messages');
my @exchanges = sort { length $b->{body} <=> length $a->{body} } exchanges();
is(scalar @exchanges, 2, 'two requests');
is_deeply([ map { $_->{violations} } @exchanges ], [ [], [] ], 'as documented');
my @bodies = map { decode_json($_->{body}) } @exchanges;
is(scalar @{ $bodies[0]{personalizations} }, 1000, 'a thousand in the first');
my %seen = map { my $p = $_; $p->{to}[0]{email} => $p } map { @{ $_->{personalizations} } } @bodies;
is(scalar keys %seen, 1500, 'everybody once');
my $wrong = grep {
	my $p = $seen{"to$_\@example.com"};
	my @texts = map { $_->{value} =~ s/(-mktg\d+-)/$p->{substitutions}{$1}/gr } @{ $bodies[0]{content} };
	"@texts" ne "Hello $_\n <p class=\"x\">Hello $_</p>" || $p->{subject} ne "Hi \"$_\" \x{2713}"
		|| $p->{custom_args}{mktg_id} ne "m$_" || grep { ref || /^-?\d+$/ && !/^[17]$/ } values %{ $p->{custom_args} };
} 1 .. 1500;
is($wrong, 0, 'each with his own subject, text, html and id');

# ---- a newsletter of 40 KB, and messages that have nothing in common ----
my $rows = join '', map { "<tr><td class=\"product\">Product $_</td><td>only now</td></tr>\n" } 1 .. 700;
$result = send_messages('-n', 500, '-f', 'shop@example.com', '-s', 'S',
	'-H', "<html><body><h1>Dear customer %,</h1>\n$rows</body></html>\n", '-p', @sendgrid);
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 500, 'five hundred newsletters of 40 KB');
@exchanges = exchanges();
is_deeply([ map { $_->{violations} } @exchanges ], [ [] ], 'in one request');
cmp_ok(length $exchanges[0]{body}, '<', 500 * 1000, 'of less than 1 KB for each');
$body = decode_json($exchanges[0]{body});
is(scalar(grep { my $p = $_; my ($n) = $p->{to}[0]{email} =~ /(\d+)/;
	$body->{content}[0]{value} =~ s/(-mktg\d+-)/$p->{substitutions}{$1}/gr ne "<html><body><h1>Dear customer $n,</h1>\n$rows</body></html>\n" }
	@{ $body->{personalizations} }), 0, 'each comes out whole');
$result = send_messages('-n', 3, '-f', 'shop@example.com', '-s', 'S', '-H', '%' . 'x' x 9001, '-p', @sendgrid);
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 3, 'messages with more of their own than substitutions hold');
is_deeply([ map { $_->{violations} } @exchanges = exchanges() ], [ [], [], [] ], 'each in a request of its own');

# ---- replies of the document ----
my %documented = (400 => 'permanent', 401 => 'config', 403 => 'config', 404 => 'config', 405 => 'config', 413 => 'permanent',
	429 => 'retry', 500 => 'retry');
for my $code (sort keys %documented)
{
	prefer("code=$code");
	$result = send_messages(@message, @sendgrid);
	is($result->{m1}{kind}, $documented{$code}, "reply $code: $result->{m1}{reason}");
}
prefer('code=400');
$result = send_messages('-n', 5, @message, @sendgrid);
is(scalar(grep { $_->{kind} eq 'retry' } values %$result), 5, 'a refusal that names nobody: five go again');
exchanges();
$result = send_messages('-n', 5, '-A', 4, @message, @sendgrid);
is(scalar(grep { $_->{kind} eq 'permanent' } values %$result), 5, 'in the end each stands for itself');
is(scalar(exchanges()), 5, 'in a request of its own');
prefer();

# ---- recorded replies ----
for my $error (recorded_errors('sendgrid'))
{
	answer($error->{http_status}, $error->{body}, map { "$_: $error->{headers}{$_}" } sort keys %{ $error->{headers} });
	$result = send_messages(@message, @sendgrid);
	is($result->{m1}{kind}, $error->{expect}, "recorded: $error->{name}");
}
# send.c's clock stands at 1735689600
answer(429, '{"errors":[{"field":null,"message":"too many requests"}]}', 'X-RateLimit-Remaining: 0', 'X-RateLimit-Reset: 1735689637');
$result = send_messages('-n', 3, @message, @sendgrid);
is($result->{m2}{retry_after}, 37_000, 'X-RateLimit-Reset is obeyed');
answer(429, '', 'Retry-After: 5', 'X-RateLimit-Reset: 1735689637');
$result = send_messages(@message, @sendgrid);
is($result->{m1}{retry_after}, 5000, 'after Retry-After');
answer(400, '{"errors":[{"message":"Does not contain a valid address.","field":"personalizations.1.to.0.email","help":null}]}');
$result = send_messages('-n', 3, @message, @sendgrid);
is(join(' ', map { $result->{"m$_"}{kind} } 1 .. 3), 'again permanent again', 'who is named fails, the others go again');
is($result->{m2}{reason}, 'HTTP 400: Does not contain a valid address. (to.0.email)', 'with a reason');
answer(202, '', 'X-Message-Id: ' . 'x' x 500);
$result = send_messages(@message, @sendgrid);
is($result->{m1}{kind}, 'sent', 'an id that is too long');
answer();

# ---- addresses that are none ----
exchanges();
$result = send_messages('-a', "a b\@example.com", @message, @sendgrid);
is($result->{m1}{kind}, 'permanent', 'an address that is none');
is(scalar(exchanges()), 0, 'is sent to nobody');

done_testing();
