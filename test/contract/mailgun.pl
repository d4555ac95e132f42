# The Mailgun driver against Prism serving Mailgun's own document.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use JSON::PP;
use MIME::Base64;
use Prism;
use Test::More;

my $document = 'mailgun-v3.json';
my $missing = missing_prism($document);
plan skip_all => $missing if $missing;

my $url = start_prism($document);
my @mailgun = ('mailgun', 'api_key=key-1', 'domain=mg.example.com', "base_url=$url");
my @message = ('-f', 'shop@example.com', '-N', "The \"Sh\xc3\xb6p\"", '-R', 'help@example.com',
	'-s', "Hi \"%\" \xe2\x9c\x93", '-t', "Hello %\r\n", '-H', '<p class="x">Hello %</p>', '-p');

# Fields of a multipart form, each a list.
sub form
{
	my ($exchange) = @_;
	my ($boundary) = $exchange->{headers}{'content-type'} =~ m{^multipart/form-data; boundary=(\S+)$};
	my %form;
	for my $part (split /\r\n--\Q$boundary\E/, "\r\n$exchange->{body}")
	{
		my ($name, $value) = $part =~ /^\r\nContent-Disposition: form-data; name="([^"]+)"\r\n\r\n(.*)\z/s or next;
		push @{ $form{$name} }, $value;
	}
	return \%form;
}

# ---- one message ----
my $result = send_messages(@message, @mailgun);
is($result->{m1}{kind}, 'sent', 'a message');
is($result->{m1}{provider_id}, 'message-id', 'its id');
my ($exchange) = exchanges();
is_deeply($exchange->{violations}, [], 'as documented');
is("$exchange->{method} $exchange->{path}", 'POST /v3/mg.example.com/messages', 'where to');
is($exchange->{headers}{authorization}, 'Basic ' . encode_base64('api:key-1', ''), 'the key');
ok(!exists $exchange->{headers}{expect}, 'no waiting for 100 Continue');
my $form = form($exchange);
my $variables = decode_json(delete($form->{'recipient-variables'})->[0]);
is_deeply($form, {
	from => ["\"The \\\"Sh\xc3\xb6p\\\"\" <shop\@example.com>"], to => ['to1@example.com'], 'h:Reply-To' => ['help@example.com'],
	subject => ['%recipient.subject%'], text => ['%recipient.text%'], html => ['%recipient.html%'],
	'v:mktg_id' => ['%recipient.mktg_id%'], 'v:mktg_tenant' => ['1'], 'v:mktg_campaign' => ['7'] }, 'its fields');
is_deeply($variables, { 'to1@example.com' => { mktg_id => 'm1', subject => "Hi \"1\" \x{2713}", text => "Hello 1\r\n",
	html => '<p class="x">Hello 1</p>' } }, 'what is of the recipient');

# ---- a thousand and a half, with every option ----
my @full = (@mailgun, 'tags=spring,vip', 'tracking=true', 'tracking_clicks=htmlonly', 'tracking_opens=true',
	'require_tls=true', 'testmode=true');
$result = send_messages('-n', 1500, @message, @full);
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 1500, 'one thousand five hundred messages');
my @exchanges = sort { length $b->{body} <=> length $a->{body} } exchanges();
is_deeply([ map { $_->{violations} } @exchanges ], [ [], [] ], 'two requests, as documented');
my @forms = map { form($_) } @exchanges;
is(scalar @{ $forms[0]{to} }, 1000, 'a thousand in the first');
is_deeply($forms[0]{'o:tag'}, [ 'spring', 'vip' ], 'tags');
is("@{[ map { @{ $forms[0]{\"o:$_\"} } } qw(tracking tracking-clicks tracking-opens require-tls testmode) ]}",
	'true htmlonly true true yes', 'the other options');
my $strangers = 0;
my %seen;
for my $form (@forms)
{
	my $of = decode_json($form->{'recipient-variables'}[0]);
	$strangers++ if join(' ', sort keys %$of) ne join(' ', sort @{ $form->{to} });
	%seen = (%seen, %$of);
}
is($strangers, 0, 'variables for everybody in To, and nobody else');
is(scalar(grep { my $v = $seen{"to$_\@example.com"}; $v && $v->{mktg_id} eq "m$_" && $v->{text} eq "Hello $_\r\n" } 1 .. 1500),
	1500, 'each with his own');

# ---- the same address twice ----
$result = send_messages('-n', 3, '-a', 'same@example.com', @message, @mailgun);
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 3, 'three messages to one address');
is_deeply([ map { $_->{violations} } exchanges() ], [ [], [], [] ], 'in three requests');

# ---- replies of the document ----
my %documented = (400 => 'permanent', 401 => 'config', 429 => 'retry', 500 => 'retry');
for my $code (sort keys %documented)
{
	prefer("code=$code");
	$result = send_messages(@message, @mailgun);
	is($result->{m1}{kind}, $documented{$code}, "reply $code: $result->{m1}{reason}");
	is($result->{m1}{retry_after}, 120_000, 'not before what its text says') if $code == 429;
}
prefer('code=400');
$result = send_messages('-n', 5, @message, @mailgun);
is(scalar(grep { $_->{kind} eq 'retry' } values %$result), 5, 'a refusal of five: they go again');
$result = send_messages('-n', 5, '-A', 4, @message, @mailgun);
is(scalar(grep { $_->{kind} eq 'permanent' } values %$result), 5, 'in the end each stands for itself');
prefer();

# ---- recorded replies ----
for my $error (recorded_errors('mailgun'))
{
	answer($error->{http_status}, $error->{body});
	$result = send_messages(@message, @mailgun);
	my ($kind, $seconds) = split /_after_/, $error->{expect};
	is($result->{m1}{kind}, $kind, "recorded: $error->{name}");
	is($result->{m1}{retry_after}, $seconds * 1000, 'and when') if $seconds;
}
# send.c's clock stands at 2025-01-01 00:00:00
answer(429, '{"message":"limit exceeded, try again after Wed, 01 Jan 2025 00:00:45 UTC"}');
$result = send_messages(@message, @mailgun);
is($result->{m1}{retry_after}, 45_000, 'a time in the text of a 429');
answer(401, 'Forbidden');
$result = send_messages(@message, @mailgun);
is("$result->{m1}{kind} $result->{m1}{reason}", 'config HTTP 401: Forbidden', 'a 401 that is no JSON');
answer(200, '{"id":"<20250101.1@mg.example.com>","message":"Queued. Thank you."}');
$result = send_messages(@message, @mailgun);
is($result->{m1}{kind}, 'sent', 'an id in brackets');
answer();

# ---- what is not sent ----
exchanges();
$result = send_messages('-a', 'nobody', @message, @mailgun);
is($result->{m1}{kind}, 'permanent', 'an address that is none');
is(scalar(exchanges()), 0, 'is sent to nobody');

done_testing();
