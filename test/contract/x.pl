# The driver of X's audiences: what it sends, held against the request that X
# publishes, which has the names and shapes of its members.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use Digest::SHA qw(sha256_hex);
use JSON::PP;
use Recorder;
use Test::More;

my $specs = $ENV{MKTG_SPECS} // '../shared/specs';
my $file = "$specs/requests/x-custom-audience-users.json";
plan skip_all => "$file is not there" unless -r $file;
my $published = decode_json(slurp($file));

# The shape of a value: for each path within it, what stands there.  Places of
# arrays are one; a hash is told from other texts.
sub shape
{
	my ($value, $path, $shape) = @_;
	$path //= '';
	$shape //= {};
	if (ref $value eq 'HASH') { $shape->{$path}{object} = 1; shape($value->{$_}, "$path.$_", $shape) for keys %$value }
	elsif (ref $value eq 'ARRAY') { $shape->{$path}{array} = 1; shape($_, "$path\[]", $shape) for @$value }
	else { $shape->{$path}{ $value =~ /^[0-9a-f]{64}$/ ? 'hash' : $path =~ /operation_type$/ ? $value : 'text' } = 1 }
	return $shape;
}

# What of a request has no place in the published one.  It shows e-mail addresses and
# handles; the text beside it says that phone numbers are given alike.
sub violations
{
	my ($request) = @_;
	my $known = shape($published->{request});
	my $users = '[].params.users[]';
	$known->{"$users.phone_number"} = $known->{"$users.email"};
	$known->{"$users.phone_number[]"} = $known->{"$users.email[]"};
	my $shape = shape($request);
	return map { my $path = $_; map { "$path: $_" } grep { !($known->{$path} // {})->{$_} } sort keys %{ $shape->{$path} } } sort keys %$shape;
}

is_deeply([ violations([ { operation_type => 'Add', params => { users => [ { email => 'a@b.c', mail => ['x'] } ] } } ]) ],
	[ '[].operation_type: Add', '[].params.users[].email: text', '[].params.users[].mail: array', '[].params.users[].mail[]: text' ],
	'what is wrong is found');

my $url = start_recorder();
my @x = ('x_audience', "base_url=$url", 'account=18ce54d4x5t', 'consumer_key=ck', 'consumer_secret=cs', 'access_token=at', 'access_token_secret=as');
my $hash = sha256_hex('x');
my %upload = map { my $operation = $_;
	$_ => qq({"audience":"1nmth","operation":"$operation","email":"$hash","phone":"$hash","phone_e164":"$hash"}) } qw(add remove);

# the published reply, with our number of people
my %reply = %{ $published->{response} };
$reply{data} = { success_count => 90, total_count => 90 };
reply(200, encode_json(\%reply));
for my $operation (qw(add remove))
{
	my $result = send_messages('-n', 90, '-r', '-c', 1, '-d', $upload{$operation}, @x);
	is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 90, "90 people to $operation");
	my @requests = requests();
	is(scalar @requests, 1, 'in one request');
	is("$requests[0]{method} $requests[0]{path}", 'POST /12/accounts/18ce54d4x5t/custom_audiences/1nmth/users', 'where to');
	is_deeply([ violations(decode_json($requests[0]{body})) ], [], 'as published');
	my %oauth = $requests[0]{headers}{authorization} =~ /(\w+)="([^"]*)"/g;
	is_deeply([ sort keys %oauth ], [qw(oauth_consumer_key oauth_nonce oauth_signature oauth_signature_method oauth_timestamp oauth_token oauth_version)],
		'the parameters of OAuth');
	cmp_ok(abs($oauth{oauth_timestamp} - time), '<', 60, 'at this time');
	cmp_ok(length $requests[0]{body}, '<', 5_000_000, 'within the size');
}
$reply{data} = { success_count => 1, total_count => 2 };
reply(200, encode_json(\%reply));
is(send_messages('-n', 2, '-r', '-d', $upload{add}, @x)->{m2}{kind}, 'retry', 'not all were taken');
reply(429, '{"errors":[{"code":"TOO_MANY_REQUESTS","message":"Too many requests."}]}', 'x-rate-limit-reset: ' . (time + 30));
my $result = send_messages('-r', '-d', $upload{add}, @x);
is($result->{m1}{kind}, 'retry', 'too many requests');
cmp_ok(abs($result->{m1}{retry_after} - 30_000), '<=', 3000, 'until the window ends');
reply(401, '{"errors":[{"code":"UNAUTHORIZED_ACCESS","message":"This request is not properly authenticated"}]}');
is(send_messages('-r', '-d', $upload{add}, @x)->{m1}{kind}, 'config', 'keys that are refused');

done_testing();
