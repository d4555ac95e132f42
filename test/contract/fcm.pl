# The fcm driver against Prism serving the fields of FCM's own client library,
# and against nginx: many messages over one connection.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use Prism;
use JSON::PP;
use IO::Socket::INET;
use MIME::Base64;
use Test::More;

my $document = 'fcm-v1.json';
my $missing = missing_prism($document);
plan skip_all => $missing if $missing;
my $openssl = find_tool('openssl');
plan skip_all => 'openssl is not installed' unless $openssl;

my $directory = directory();
my $pem = `$openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null`;
(my $key = $pem) =~ s/\n/\\n/g;
my @account = ('project_id=demo-project', "private_key=$key", 'private_key_id=key-1',
	'client_email=sender@demo-project.iam.gserviceaccount.com');
my $url = start_prism($document);
my @fcm = ('fcm', "base_url=$url", "token_uri=$url/token", @account);
my @message = ('-a', 'dGVzdA:APA91b-_', '-s', 'Hi "you"', '-t', "Gr\xc3\xbc\xc3\x9fe");

# ---- what Prism says of the requests ----
my $data = '{"image":"https://example.com/a.png","data":{"order":"4711","screen":"sale"},'
  . '"android":{"priority":"HIGH","ttl":"3600s","collapseKey":"sale","notification":{"channelId":"news"}},'
  . '"apns":{"headers":{"apns-priority":"5"},"payload":{"aps":{"badge":3}}},'
  . '"webpush":{"headers":{"TTL":"60"},"fcmOptions":{"link":"https://example.com/"}},'
  . '"fcm_options":{"analyticsLabel":"sale"},"order":17}';
my $result = send_messages(@message, '-d', $data, @fcm);
is($result->{m1}{kind}, 'sent', 'a message');
is($result->{m1}{provider_id}, '0:1500415314455276%31bd1c9631bd1c96', 'its id');
my @exchanges = exchanges();
is(scalar @exchanges, 2, 'a token and a message');
my ($token, $sent) = @exchanges;
is("$token->{method} $token->{path}", 'POST /token', 'first the token');
is_deeply($token->{violations}, [], 'which is asked for as documented');
is("$sent->{method} $sent->{path}", 'POST /v1/projects/demo-project/messages:send', 'then the message');
is_deeply($sent->{violations}, [], 'which is as documented') or diag $sent->{body};
is($sent->{headers}{authorization}, 'Bearer ya29.c.example', 'with the token');
is($sent->{headers}{'content-type'}, 'application/json', 'as JSON');
is_deeply(JSON::PP->new->decode($sent->{body})->{message}{notification},
	{ title => 'Hi "you"', body => "Gr\xc3\xbc\xc3\x9fe", image => 'https://example.com/a.png' }, 'the notification');

# the assertion is signed by the account's key
my ($head, $claims, $signature) = $token->{body} =~ /&assertion=([\w-]+)\.([\w-]+)\.([\w-]+)$/;
my ($text, $mac) = map { tr/-_/+\//r } $claims, $signature;
for (['signed', "$head.$claims"], ['signature', decode_base64("$mac==")], ['key.pem', $pem])
{
	open my $out, '>:raw', "$directory/$_->[0]" or die $!;
	print $out $_->[1];
	close $out;
}
is(system("$openssl rsa -in $directory/key.pem -pubout -out $directory/public.pem 2>/dev/null")
	|| system("$openssl dgst -sha256 -verify $directory/public.pem -signature $directory/signature $directory/signed >/dev/null"),
	0, 'the assertion is signed, as OpenSSL verifies');
$claims = JSON::PP->new->decode(decode_base64("$text=="));
is_deeply([ @$claims{qw(iss scope aud)} ], [ 'sender@demo-project.iam.gserviceaccount.com',
	'https://www.googleapis.com/auth/firebase.messaging', "$url/token" ], 'it says who asks for what and whom');
is($claims->{exp} - $claims->{iat}, 3600, 'and ends in an hour');

# ---- one token for many, and only validating ----
$result = send_messages('-n', 20, '-c', 5, @message, '-d', '{}', @fcm, 'validate_only=true');
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 20, 'twenty messages');
@exchanges = exchanges();
is(scalar(grep { $_->{path} eq '/token' } @exchanges), 1, 'with one token');
is(scalar(grep { @{ $_->{violations} } } @exchanges), 0, 'all as documented');
is(scalar(grep { $_->{body} =~ /^\{"validateOnly":true,/ } @exchanges), 20, 'only to be validated');

# ---- what Prism finds when a value is not as it should be ----
send_messages(@message, '-d', '{"android":{"colapseKey":"x"}}', @fcm);
isnt(scalar(map { @{ $_->{violations} } } exchanges()), 0, 'a field FCM does not have is seen by Prism');

# ---- a token that is refused ----
answer(400, '{"error":"invalid_grant","error_description":"Invalid JWT Signature."}');
$result = send_messages(@message, '-d', '{}', @fcm);
is($result->{m1}{kind}, 'config', 'no token: the sender stops');
like($result->{m1}{reason}, qr/^no access token: HTTP 400: .*Invalid JWT Signature/, 'and why');
is(scalar(exchanges()), 1, 'nothing was sent');
answer();

# ---- the errors of FCM; tokens come from elsewhere, as the recorder answers all alike ----
my $tokens = free_port();
start_process($tokens, 'tokens', sub {
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $tokens, Listen => 16, ReuseAddr => 1) or die;
	while (1)
	{
		my $client = $listener->accept or next;
		my $length = 0;
		while (my $line = <$client>)
		{
			$length = $1 if $line =~ /^Content-Length: (\d+)/i;
			last if $line eq "\r\n";
		}
		read($client, my $body, $length);
		my $reply = '{"access_token":"ya29.other","expires_in":3599}';
		print $client "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " . length($reply) . "\r\n\r\n$reply";
	}
});
@fcm = ('fcm', "base_url=$url", "token_uri=http://127.0.0.1:$tokens/token", @account);

my %documented = (400 => 'permanent', 401 => 'config', 403 => 'config', 404 => 'suppress',
	429 => 'retry', 500 => 'retry', 503 => 'retry');
for my $status (sort keys %documented)
{
	prefer("code=$status");
	$result = send_messages(@message, '-d', '{}', @fcm);
	is($result->{m1}{kind}, $documented{$status}, "status $status: $result->{m1}{reason}");
	is($result->{m1}{retry_after}, 60_000, 'not before Retry-After') if $status == 429 || $status == 503;
}
prefer();
is(scalar(grep { $_->{status} == 401 } exchanges()), 2, 'after status 401 once more, with another token');

my %expected = (drop_token => 'suppress', permanent => 'permanent', permanent_keep_token => 'permanent');
for my $error (recorded_errors('fcm'))
{
	answer($error->{http_status}, $error->{body}, map { "$_: $error->{headers}{$_}" } keys %{ $error->{headers} });
	$result = send_messages(@message, '-d', '{}', @fcm);
	is($result->{m1}{kind}, $expected{ $error->{expect} }, "$error->{name}: $result->{m1}{reason}");
}
answer();

# ---- many at once over HTTP/2 ----
SKIP:
{
	my $nginx = find_tool('nginx');
	skip 'nginx is not installed', 3 unless $nginx;
	my $port = free_port();
	system("$openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
		. " -keyout $directory/tls.key -out $directory/tls.pem 2>/dev/null") == 0 or die "no certificate\n";
	open my $conf, '>', "$directory/nginx.conf" or die $!;
	print $conf <<"END";
daemon off;
master_process off;
pid $directory/nginx.pid;
error_log $directory/error.log;
events { worker_connections 256; }
http {
	log_format lines '\$server_protocol \$connection \$http_authorization';
	access_log off;
	client_body_temp_path $directory/body;
	proxy_temp_path $directory/proxy;
	fastcgi_temp_path $directory/fastcgi;
	uwsgi_temp_path $directory/uwsgi;
	scgi_temp_path $directory/scgi;
	server {
		listen 127.0.0.1:$port ssl http2;
		ssl_certificate $directory/tls.pem;
		ssl_certificate_key $directory/tls.key;
		location /token { return 200 '{"access_token":"ya29.nginx","expires_in":3599}'; }
		location / { return 200 '{"name":"projects/demo-project/messages/7"}'; access_log $directory/access.log lines; }
	}
}
END
	close $conf;
	start($port, $nginx, '-p', $directory, '-c', "$directory/nginx.conf", '-e', "$directory/error.log");
	$result = send_messages('-n', 500, '-c', 50, @message, '-d', '{}', 'fcm', @account, "ca_file=$directory/tls.pem",
		"base_url=https://localhost:$port", "token_uri=https://localhost:$port/token");
	is(scalar(grep { $_->{kind} eq 'sent' && $_->{provider_id} eq '7' } values %$result), 500, 'five hundred messages');
	my @lines;
	for (1 .. 500)
	{
		@lines = split /\n/, slurp("$directory/access.log");
		last if @lines >= 500;
		select(undef, undef, undef, 0.01);
	}
	is(scalar(grep { /^HTTP\/2\.0 \d+ Bearer ya29\.nginx$/ } @lines), 500, 'by HTTP/2, with the token');
	my %connections = map { (split)[1] => 1 } @lines;
	is(scalar(keys %connections), 1, 'over one connection');
}

done_testing();
