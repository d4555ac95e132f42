# The drivers of Meta's audiences and conversions: what they send, held against
# Meta's own specification of the edges (facebook-business-sdk-codegen), which has
# their methods and the names and types of their parameters.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use Digest::SHA qw(hmac_sha256_hex sha256_hex);
use JSON::PP;
use Recorder;
use Test::More;

my $specs = $ENV{MKTG_SPECS} // '../shared/specs';
my $file = "$specs/requests/meta-custom-audience-and-events.api_specs.json";
plan skip_all => "$file is not there" unless -r $file;
my $spec = decode_json(slurp($file));

# Of every edge of the Graph API, and so in no edge's list.
my %everywhere = (access_token => 'string', appsecret_proof => 'string');

my $url = start_recorder();
my @account = ("base_url=$url", 'access_token=EAAB', 'app_secret=shhh');
my $hash = sha256_hex('x');

# What of a request is not as its edge has it: method, parameters and their types.
sub violations
{
	my ($object, $request, %given) = @_;
	my ($id, $endpoint) = $request->{path} =~ m{^/v\d+\.0/(\w+)/(\w+)$} or return "path $request->{path}";
	my ($edge) = grep { $_->{method} eq $request->{method} && $_->{endpoint} eq $endpoint } @{ $spec->{$object} };
	return "$object has no $request->{method} $endpoint" unless $edge;
	my %param = map { $_->{name} => $_ } @{ $edge->{params} };
	my @wrong = map { "$_ is missing" } grep { $param{$_}{required} && !exists $given{$_} } sort keys %param;
	for my $name (sort keys %given)
	{
		my $type = $everywhere{$name} // ($param{$name} // {})->{type};
		my $is = ref $given{$name} eq 'HASH' ? 'Object' : ref $given{$name} eq 'ARRAY' ? 'list' : 'string';
		push @wrong, !$type ? "$name is no parameter" : () unless $type && $type =~ /^\Q$is\E\b/;
		push @wrong, "$name is a $is, and a $type is wanted" if $type && $type !~ /^\Q$is\E\b/;
	}
	return @wrong;
}

sub form
{
	my ($body) = @_;
	my %form = map { my ($name, $value) = split /=/, $_, 2; $name => $value =~ s/%(..)/chr hex $1/ger } split /&/, $body;
	$form{payload} = decode_json($form{payload}) if exists $form{payload};
	return %form;
}

# the check itself finds what is wrong
is_deeply([ violations('CustomAudience', { method => 'PUT', path => '/v25.0/1/users' }) ], ['CustomAudience has no PUT users'], 'another method is found');
is_deeply([ violations('CustomAudience', { method => 'POST', path => '/v25.0/1/users' }, payload => [], rows => 1) ],
	[ 'payload is a list, and a Object is wanted', 'rows is no parameter' ], 'so are other parameters');
is_deeply([ violations('AdsPixel', { method => 'POST', path => '/v25.0/1/events' }) ], ['data is missing'], 'and one that is missing');

# ---- audiences ----
my @audience = ('meta_audience', @account);
my $contact = '{"email":"ann@example.com","name":"Ann Lee","birth_date":"1990-02-05","gender":"female","city":"New York","country":"US","external_id":"c-1"}';
my %upload = map { my $operation = $_;
	$_ => qq({"audience":"2385","operation":"$operation","email":"$hash","phone":"$hash","phone_e164":"$hash"}) } qw(add remove);
reply(200, '{"audience_id":"2385","session_id":"4711","num_received":120,"num_invalid_entries":0,"invalid_entry_samples":{}}');
for my $operation (qw(add remove))
{
	my $result = send_messages('-n', 120, '-r', '-c', 1, '-d', $upload{$operation}, '-C', $contact, @audience);
	is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 120, "120 people to $operation");
	is($result->{m1}{provider_id}, '4711', 'the session');
	my @requests = requests();
	is(scalar @requests, 1, 'in one request');
	my %form = form($requests[0]{body});
	is_deeply([ violations('CustomAudience', $requests[0], %form) ], [], 'as the edge has it');
	is("$requests[0]{method} $requests[0]{path}", ($operation eq 'add' ? 'POST' : 'DELETE') . ' /v25.0/2385/users', 'where to');
	is($requests[0]{headers}{authorization}, 'Bearer EAAB', 'the token');
	is($form{appsecret_proof}, hmac_sha256_hex('EAAB', 'shhh'), 'its proof');
	is_deeply([ sort keys %{ $form{payload} } ], [qw(data schema)], 'the payload');
	is_deeply([ sort { $a <=> $b } keys %{ { map { scalar @$_ => 1 } @{ $form{payload}{data} } } } ], [ scalar @{ $form{payload}{schema} } ],
		'rows as long as the schema');
	is(scalar(grep { $_ ne '' && !/^[0-9a-f]{64}$/ } map { @$_ } @{ $form{payload}{data} }), 0, 'hashes and nothing else');
}
reply(200, '{"audience_id":"2385","session_id":4711,"num_received":1,"num_invalid_entries":1}');
is(send_messages('-r', '-d', $upload{add}, '-C', $contact, @audience)->{m1}{provider_id}, '4711;invalid=1/1', 'a row Meta can make nothing of');
reply(200, '{}');
is(send_messages('-r', '-d', $upload{add}, '-C', $contact, @audience)->{m1}{kind}, 'retry', 'a reply that says nothing');
reply(403, '{"error":{"message":"(#80003) There have been too many calls","type":"OAuthException","code":80003}}',
	'X-Business-Use-Case-Usage: {"112":[{"type":"custom_audience","call_count":100,"estimated_time_to_regain_access":0},{"type":"ads_management","estimated_time_to_regain_access":7}]}');
my $result = send_messages('-r', '-d', $upload{add}, '-C', $contact, @audience);
is("$result->{m1}{kind} $result->{m1}{retry_after}", 'retry 420000', 'a throttle, until the account regains access');
reply(400, '{"error":{"message":"Error validating access token","type":"OAuthException","code":190,"fbtrace_id":"A"}}');
is(send_messages('-r', '-d', $upload{add}, '-C', $contact, @audience)->{m1}{kind}, 'config', 'a token that has ended');
requests();

# ---- conversions ----
my @pixel = ('meta_conversions', @account, 'pixel=777', 'test_event_code=TEST1');
my $event = '{"event":"Purchase","occurred_at":1735600000,"value":19.99,"currency":"EUR","event_id":"o-1",'
  . '"properties":{"action_source":"website","event_source_url":"https://shop.example/","client_user_agent":"UA","order_id":"o-1"}}';
reply(200, '{"events_received":70,"messages":[],"fbtrace_id":"AbC"}');
$result = send_messages('-n', 70, '-r', '-c', 1, '-d', $event, '-C', $contact, @pixel);
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 70, 'seventy events');
is($result->{m1}{provider_id}, 'AbC', 'the trace is their id');
my @requests = requests();
is(scalar @requests, 1, 'in one request');
my %body = %{ decode_json($requests[0]{body}) };
is_deeply([ violations('AdsPixel', $requests[0], %body) ], [], 'as the edge has it');
is_deeply([ sort keys %{ $body{data}[0] } ], [qw(action_source custom_data event_id event_name event_source_url event_time user_data)], 'the event');
reply(400, '{"error":{"message":"Invalid parameter","type":"OAuthException","code":100,"error_subcode":2804003,"error_user_title":"Event Timestamp Too Old"}}');
$result = send_messages('-n', 3, '-r', '-d', $event, '-C', $contact, @pixel);
is(join(' ', map { $result->{"m$_"}{kind} } 1 .. 3), 'retry retry retry', 'a refusal of several: they go again');
requests();
$result = send_messages('-n', 3, '-r', '-A', 4, '-d', $event, '-C', $contact, @pixel);
is(scalar(requests()), 3, 'in the end each alone');
is(join(' ', map { $result->{"m$_"}{kind} } 1 .. 3), 'permanent permanent permanent', 'and fails alone');

done_testing();
