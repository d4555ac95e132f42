# The webhook driver against nginx: headers, signature, connections, HTTP/2 and
# certificates.
use strict;
use warnings;
use lib 'test/contract';
use Contract;
use Digest::SHA qw(hmac_sha256_base64);
use MIME::Base64;
use Test::More;

my $nginx = find_tool('nginx');
plan skip_all => 'nginx is not installed' unless $nginx;

my @secrets = ('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD');
my ($http, $https, $recycled, $backend) = (free_port(), free_port(), free_port(), free_port());
my $directory = directory();
my $openssl = find_tool('openssl');
my $tls = $openssl && system("$openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
	. " -addext subjectAltName=DNS:localhost -keyout $directory/key.pem -out $directory/cert.pem"
	. " 2>$directory/openssl.log") == 0;
my $tls_server = $tls ? <<"END" : '';
	server {
		listen 127.0.0.1:$https ssl http2;
		server_name localhost;
		ssl_certificate $directory/cert.pem;
		ssl_certificate_key $directory/key.pem;
		location / { proxy_pass http://127.0.0.1:$backend; access_log $directory/access.log lines; }
	}
	# ends each connection with GOAWAY after fifty requests
	server {
		listen 127.0.0.1:$recycled ssl http2;
		server_name localhost;
		keepalive_requests 50;
		ssl_certificate $directory/cert.pem;
		ssl_certificate_key $directory/key.pem;
		location / { proxy_pass http://127.0.0.1:$backend; access_log $directory/access.log lines; }
	}
END

open my $conf, '>', "$directory/nginx.conf" or die $!;
print $conf <<"END";
daemon off;
master_process off;
pid $directory/nginx.pid;
error_log $directory/error.log;
events { worker_connections 256; }
http {
	log_format lines escape=json '\$server_protocol|\$connection|\$content_type|\$content_length|\$http_expect|'
		'\$http_transfer_encoding|\$http_webhook_id|\$http_webhook_timestamp|\$http_webhook_signature|\$http_user_agent|\$request_body';
	access_log off;
	client_body_buffer_size 1m;
	client_body_temp_path $directory/body;
	proxy_temp_path $directory/proxy;
	fastcgi_temp_path $directory/fastcgi;
	uwsgi_temp_path $directory/uwsgi;
	scgi_temp_path $directory/scgi;
	server {
		listen 127.0.0.1:$http;
		location / { proxy_pass http://127.0.0.1:$backend; access_log $directory/access.log lines; }
		location /limited { add_header Retry-After 7 always; return 429 "slow down"; }
		location /gone { return 410; }
		location /moved { return 301 http://127.0.0.1:$http/; }
		location /large { client_max_body_size 100; proxy_pass http://127.0.0.1:$backend; }
	}
$tls_server
	server { listen 127.0.0.1:$backend; location / { return 202 "taken"; } }
}
END
close $conf;
start($http, $nginx, '-p', $directory, '-c', "$directory/nginx.conf", '-e', "$directory/error.log");

my @webhook = ('webhook', 'secret=' . join(',', @secrets), 'allow_networks=127.0.0.0/8,::1');
my @message = ('-a', 'someone', '-s', "Hi \"you\"\n", '-t', "Gr\xc3\xbc\xc3\x9fe \\ \x01", '-H', '<p>x</p>');

# What nginx has logged since the last call, a list for each request.  It logs
# after it has answered, so the lines expected are waited for.
sub logged
{
	my ($expected) = @_;
	my @lines;
	for (1 .. 500)
	{
		@lines = split /\n/, slurp("$directory/access.log");
		last if @lines >= ($expected // 0);
		select(undef, undef, undef, 0.01);
	}
	truncate "$directory/access.log", 0;
	return map { [ split /\|/, $_, 11 ] } @lines;
}

# ---- one message ----
my $result = send_messages(@message, @webhook, "url=http://127.0.0.1:$http/hook");
is($result->{m1}{kind}, 'sent', 'a message');
my ($line) = logged(1);
my ($protocol, undef, $type, $length, $expect, $encoding, $id, $timestamp, $signature, $agent, $body) = @$line;
$body =~ s/\\(u[0-9A-F]{4}|.)/length $1 > 1 ? chr hex substr($1, 1) : $1/ige;		# nginx's escapes
is($protocol, 'HTTP/1.1', 'HTTP/1.1');
is($type, 'application/json', 'Content-Type');
is($length, length $body, 'Content-Length');
is("$expect$encoding", '', 'neither Expect nor chunks');
is($id, 'm1', 'webhook-id');
cmp_ok(abs($timestamp - time), '<', 5, 'webhook-timestamp');
like($agent, qr/^mktg\//, 'User-Agent');
is($body, '{"id":"m1","tenant":1,"campaign":7,"contact":1,"channel":"email","to":"someone",'
	. '"subject":"Hi \"you\"\n","body":"' . "Gr\xc3\xbc\xc3\x9fe" . ' \\\\ \u0001","html":"<p>x</p>","sent_at":1735689600}',
	'the body');
is($signature, join(' ', map { (my $key = $_) =~ s/^whsec_//;
	my $mac = hmac_sha256_base64("m1.$timestamp.$body", decode_base64($key)); "v1,$mac=" } @secrets),
	'a signature for each secret, as computed apart');

# ---- many ----
$result = send_messages('-n', 300, '-c', 8, @message, @webhook, "url=http://127.0.0.1:$http/hook");
is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 300, 'three hundred messages');
my @lines = logged(300);
is(scalar @lines, 300, 'arrive once each');
my %connections = map { $_->[1] => 1 } @lines;
cmp_ok(scalar(keys %connections), '<=', 8, 'over eight connections');

# ---- the address as URL ----
$result = send_messages('-a', "http://127.0.0.1:$http/x", '-t', 'hi', @webhook);
is($result->{m1}{kind}, 'sent', 'the address is the URL');
$result = send_messages('-a', "http://127.0.0.1:$http/gone", '-t', 'hi', @webhook);
is($result->{m1}{kind}, 'suppress', 'an address that is gone');
$result = send_messages('-a', "http://127.0.0.1:$http/x", '-t', 'hi', 'webhook', "secret=$secrets[0]", 'allow_http=true');
is($result->{m1}{kind}, 'permanent', 'loopback is refused unless allowed');

# ---- replies ----
$result = send_messages(@message, @webhook, "url=http://127.0.0.1:$http/limited");
is($result->{m1}{kind}, 'retry', 'status 429');
like($result->{m1}{reason}, qr/^HTTP 429: slow down/, 'its reason');
$result = send_messages(@message, @webhook, "url=http://127.0.0.1:$http/gone");
is($result->{m1}{kind}, 'config', 'status 410');
$result = send_messages(@message, @webhook, "url=http://127.0.0.1:$http/moved");
is($result->{m1}{kind}, 'permanent', 'redirects are not followed');
$result = send_messages(@message, @webhook, "url=http://127.0.0.1:$http/large");
is($result->{m1}{kind}, 'permanent', 'a body that is refused before it has arrived');

# ---- TLS ----
SKIP:
{
	skip 'openssl is not installed', 11 unless $tls;
	my @ca = ("ca_file=$directory/cert.pem");
	logged();
	$result = send_messages('-n', 50, '-c', 5, @message, @webhook, @ca, "url=https://localhost:$https/");
	is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 50, 'https');
	is($_->[0], 'HTTP/1.1', 'over HTTP/1.1') for (logged(50))[0];
	$result = send_messages('-n', 50, '-c', 20, @message, @webhook, @ca, "url=https://localhost:$https/", 'http_version=2');
	is(scalar(grep { $_->{kind} eq 'sent' } values %$result), 50, 'https with http_version 2');
	@lines = logged(50);
	is($lines[0][0], 'HTTP/2.0', 'over HTTP/2');

	# on_doubt is hold: what GOAWAY refused goes again, and nothing goes twice
	$result = send_messages('-n', 1000, '-c', 40, @message, @webhook, @ca, "url=https://localhost:$recycled/", 'http_version=2');
	my @sent = grep { $result->{$_}{kind} eq 'sent' } keys %$result;
	cmp_ok(scalar @sent, '>', 900, 'a server that recycles connections gets messages');
	is(scalar(grep { $_->{kind} ne 'sent' && $_->{kind} ne 'retry' } values %$result), 0, 'none is in doubt');
	my %times;
	$times{$_->[6]}++ for logged(scalar @sent);
	is(join(' ', sort keys %times), join(' ', sort @sent), 'those that are said to be sent, and no other');
	is(scalar(grep { $_ > 1 } values %times), 0, 'and none twice');
	$result = send_messages(@message, @webhook, "url=https://localhost:$https/");
	is($result->{m1}{kind}, 'config', 'a certificate nobody vouches for');
	$result = send_messages(@message, @webhook, @ca, "url=https://127.0.0.1:$https/");
	is($result->{m1}{kind}, 'config', 'a certificate of another name');
	is(scalar(logged()), 0, 'gets nothing');
}

done_testing();
