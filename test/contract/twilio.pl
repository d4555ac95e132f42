# The Twilio driver against Prism serving Twilio's own document.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use MIME::Base64;
use Prism;
use Test::More;

my $document = 'twilio-messages-v2010.json';
my $missing = missing_prism($document);
plan skip_all => $missing if $missing;

my $url = start_prism($document);
my $account = 'AC0123456789abcdef0123456789abcdef';
my @twilio = ('twilio', "account_sid=$account", "base_url=$url");
my @token = (@twilio, 'auth_token=t k=n');
my @message = ('-a', '+14155550100', '-f', '+14155552345', '-t', "Gr\xc3\xbc\xc3\x9fe & 100%!\n");

# Fields of a form, each a list.
sub form
{
	my %form;
	for (split /&/, $_[0])
	{
		my ($name, $value) = map { s/\+/ /gr =~ s/%(..)/chr hex $1/ger } split /=/, $_, 2;
		push @{ $form{$name} }, $value;
	}
	return \%form;
}

# ---- a text ----
my $result = send_messages(@message, @token);
is($result->{m1}{kind}, 'sent', 'a text');
is($result->{m1}{provider_id}, 'SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'its sid');
my ($exchange) = exchanges();
is_deeply($exchange->{violations}, [], 'as documented');
is("$exchange->{method} $exchange->{path}", "POST /2010-04-01/Accounts/$account/Messages.json", 'where to');
is($exchange->{headers}{authorization}, 'Basic ' . encode_base64("$account:t k=n", ''), 'the account and its token');
is($exchange->{headers}{'content-type'}, 'application/x-www-form-urlencoded', 'a form');
ok(!exists $exchange->{headers}{expect}, 'no waiting for 100 Continue');
is_deeply(form($exchange->{body}), {
	To => ['+14155550100'], From => ['+14155552345'], Body => ["Gr\xc3\xbc\xc3\x9fe & 100%!\n"] }, 'its fields');

# ---- every option, a Messaging Service, media ----
my $service = 'MG0123456789abcdef0123456789abcdef';
$result = send_messages('-a', '+14155550100', '-f', $service, '-t', 'Look', '-i', '1.7.3',
	'-d', '{"media_url":["https://example.com/a.png?x=1&y=2","https://example.com/b.png"]}',
	@twilio, 'api_key=SK1', 'api_secret=s', 'validity_period=600', 'smart_encoded=true', 'max_segments=1',
	'status_callback=https://example.com/twilio?k=v');
is($result->{'1.7.3'}{kind}, 'sent', 'an MMS with every option');
($exchange) = exchanges();
is_deeply($exchange->{violations}, [], 'as documented');
is($exchange->{headers}{authorization}, 'Basic ' . encode_base64('SK1:s', ''), 'a key and its secret');
is_deeply(form($exchange->{body}), {
	To => ['+14155550100'], MessagingServiceSid => [$service], Body => ['Look'],
	MediaUrl => [ 'https://example.com/a.png?x=1&y=2', 'https://example.com/b.png' ],
	StatusCallback => ['https://example.com/twilio?k=v&mktg_id=1.7.3'], ValidityPeriod => ['600'],
	SmartEncoded => ['true'] }, 'its fields');

# ---- a template kept at Twilio ----
my $content = 'HX0123456789abcdef0123456789abcdef';
$result = send_messages('-a', '+14155550100', '-f', 'My Shop',
	'-d', qq({"content_sid":"$content","content_variables":{"1":"Ada & Bob"}}), @token);
is($result->{m1}{kind}, 'sent', 'a template from a sender with a name');
($exchange) = exchanges();
is_deeply($exchange->{violations}, [], 'as documented');
is_deeply(form($exchange->{body}), {
	To => ['+14155550100'], From => ['My Shop'], ContentSid => [$content],
	ContentVariables => ['{"1":"Ada & Bob"}'] }, 'its fields');

# ---- many ----
$result = send_messages('-n', 50, '-a', '+1415555%', '-f', '12345', '-t', 'x', @token);
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 50, 'fifty messages');
is(scalar(grep { @{ $_->{violations} } } exchanges()), 0, 'as documented');

# ---- replies of the document ----
for (['code=400, example=invalidTo', 'suppress', 21211], ['code=400, example=optedOut', 'suppress', 21610], ['code=429', 'retry', 20429])
{
	my ($preference, $kind, $code) = @$_;
	prefer($preference);
	$result = send_messages(@message, @token);
	is($result->{m1}{kind}, $kind, "reply $code");
	like($result->{m1}{reason}, qr/^Twilio error $code: /, 'its reason');
}
prefer();

# ---- recorded replies ----
my %expect = (opt_out => 'suppress');
for my $error (recorded_errors('twilio'))
{
	answer($error->{http_status}, $error->{body});
	$result = send_messages(@message, @token);
	is($result->{m1}{kind}, $expect{ $error->{expect} } // $error->{expect}, "recorded: $error->{name}");
}
answer(401, '{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":401}');
$result = send_messages(@message, @token);
is($result->{m1}{kind}, 'config', 'wrong credentials');
answer(429, '{"code":20429,"message":"Too Many Requests","status":429}', 'Retry-After: 3');
$result = send_messages(@message, @token);
is($result->{m1}{retry_after}, 3000, 'Retry-After is obeyed');
answer();

# ---- what is not sent ----
exchanges();
$result = send_messages(@message, '-a', '4155550100', @token);
is($result->{m1}{kind}, 'permanent', 'a number without a country');
$result = send_messages(@message, '-t', 'x' x 1601, @token);
is($result->{m1}{kind}, 'permanent', 'a text of 1601 characters');
$result = send_messages(@message, '-f', 'a@example.com', @token);
is($result->{m1}{kind}, 'config', 'a sender that is none');
is(scalar(exchanges()), 0, 'goes to nobody');

done_testing();
