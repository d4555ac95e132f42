# The whatsapp driver against Prism serving Meta's own OpenAPI document.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use Prism;
use JSON::PP;
use Test::More;

my $document = 'whatsapp-cloud-v23.json';
my $missing = missing_prism($document);
plan skip_all => $missing if $missing;

my $url = start_prism($document);
my @whatsapp = ('whatsapp', "base_url=$url", 'access_token=EAABtest', 'phone_number_id=106540352242922');
my @message = ('-a', '+16505551234', '-t', "Gr\xc3\xbc\xc3\x9fe, \"you\"");
my $json = JSON::PP->new->canonical;

# Sends one message of this data; its outcome, and the one exchange there was.
sub send_one
{
	my ($data, @options) = @_;
	my $result = send_messages(@message, '-d', $data, @options);
	my @exchanges = exchanges();
	is(scalar @exchanges, 1, 'one request');
	return ($result->{m1}, $exchanges[0]);
}

# ---- a template ----
my $components = '[{"type":"header","parameters":[{"type":"image","image":{"link":"https://example.com/a.jpg"}}]},'
  . '{"type":"body","parameters":[{"type":"text","text":"Ada"},{"type":"text","text":"20 %"}]},'
  . '{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"sale"}]}]';
my ($outcome, $exchange) = send_one(qq({"template":"promo","language":"en_US","components":$components,"name":"Ada"}), @whatsapp);
is($outcome->{kind}, 'sent', 'a template');
isnt($outcome->{provider_id}, '-', "its id: $outcome->{provider_id}");
is($outcome->{provider_id}, $json->decode($exchange->{reply})->{messages}[0]{id}, 'as the reply says');
is("$exchange->{method} $exchange->{path}", 'POST /v23.0/106540352242922/messages', 'where it goes');
is_deeply($exchange->{violations}, [], 'the request is as documented') or diag $exchange->{body};
is($exchange->{headers}{authorization}, 'Bearer EAABtest', 'with the token');
my $body = $json->decode($exchange->{body});
is($body->{biz_opaque_callback_data}, 'm1', 'our id travels with it');
is_deeply($body->{template}, { name => 'promo', language => { policy => 'deterministic', code => 'en_US' },
	components => $json->decode($components) }, 'the template with its components');

# ---- the same as Meta documents it, and by the marketing endpoint ----
($outcome, $exchange) = send_one(qq({"template":{"name":"promo","language":{"code":"en_US"},"components":$components}}),
	@whatsapp, 'api_version=v22.0', 'marketing_messages=true', 'product_policy=CLOUD_API_FALLBACK', 'message_activity_sharing=true');
is($outcome->{kind}, 'sent', 'a marketing message');
is($exchange->{path}, '/v22.0/106540352242922/marketing_messages', 'where it goes');
is_deeply($exchange->{violations}, [], 'the request is as documented') or diag $exchange->{body};

# ---- free text ----
($outcome, $exchange) = send_one('{}', @whatsapp);
is($outcome->{kind}, 'sent', 'a free text');
is_deeply($exchange->{violations}, [], 'the request is as documented') or diag $exchange->{body};
is($json->decode($exchange->{body})->{text}{body}, "Gr\xc3\xbc\xc3\x9fe, \"you\"", 'the text');

# ---- Prism sees what is wrong ----
(undef, $exchange) = send_one('{"template":"promo","language":"en_US","components":[{"type":"boddy"}]}',
	@whatsapp, 'marketing_messages=true');
isnt(scalar @{ $exchange->{violations} }, 0, 'a component that there is not');

# ---- the recorded errors ----
my %expected = (retry => 'retry', config => 'config');
for my $error (recorded_errors('whatsapp'))
{
	answer($error->{http_status}, $error->{body}, map { "$_: $error->{headers}{$_}" } keys %{ $error->{headers} });
	($outcome) = send_one('{}', @whatsapp);
	is($outcome->{kind}, $expected{ $error->{expect} }, "$error->{name}: $outcome->{reason}");
}
# as Meta's list of error codes has it
answer(404, '{"error":{"message":"(#132001) Template name does not exist in the translation","type":"OAuthException","code":132001,'
	. '"error_data":{"messaging_product":"whatsapp","details":"template name (promo) does not exist in en_US"},"fbtrace_id":"x"}}');
($outcome) = send_one('{"template":"promo","language":"en_US"}', @whatsapp);
is($outcome->{kind}, 'campaign', 'a template that WhatsApp does not have');
is($outcome->{reason}, 'template "promo" (en_US): WhatsApp 132001: template name (promo) does not exist in en_US', 'and which');
answer();

# ---- many ----
my $result = send_messages('-n', 40, '-c', 8, @message, '-d', '{"template":"promo","language":"en_US"}', @whatsapp);
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 40, 'forty messages');
my %ids = map { $json->decode($_->{body})->{biz_opaque_callback_data} => 1 } exchanges();
is(scalar(keys %ids), 40, 'each once');

done_testing();
