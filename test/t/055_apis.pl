# The worker and the APIs of providers: what one bad message of a request, bad
# credentials, missing options and bad texts do to the queue.  The APIs are
# functions here; what the real ones take is for test/contract.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Fcntl qw(:flock);
use IO::Socket::INET;
use JSON::PP;
use POSIX ();

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $directory = PostgreSQL::Test::Utils::tempdir;
my $parent = $$;
my $api;

# ---- an API: what a function answers to a path and a body, each request logged ----

sub serve
{
	my ($listener, $answer) = @_;
	local $SIG{CHLD} = 'IGNORE';
	while (1)
	{
		my $client = $listener->accept or next;
		next if fork;
		my ($path, $length, $body) = ('', 0, '');
		while (defined(my $line = <$client>))
		{
			$path = $1 if $line =~ /^POST (\S+)/;
			$length = $1 if $line =~ /^content-length: (\d+)/i;
			last if $line eq "\r\n";
		}
		read $client, $body, $length;
		my ($status, $reply) = $answer->($path, $body);
		open my $log, '>>', "$directory/requests";
		flock $log, LOCK_EX;
		print $log JSON::PP->new->latin1->encode([ $path, $body, $status ]), "\n";
		close $log;
		print $client "HTTP/1.1 $status X\r\nX-Message-Id: id-of-the-request\r\nContent-Length: ", length $reply,
			"\r\nConnection: close\r\n\r\n$reply";
		close $client;
		POSIX::_exit(0);
	}
}

# [ path, body, status ] of each request to a path, so far.
sub requests
{
	my ($path) = @_;
	return grep { $_->[0] =~ /$path/ } map { JSON::PP->new->latin1->decode($_) }
		split /\n/, -e "$directory/requests" ? slurp_file("$directory/requests") : '';
}

# How often SendGrid has taken each address.
sub taken
{
	my %taken;
	$taken{$_}++ for map { $_->{to}[0]{email} } map { @{ decode_json($_->[1])->{personalizations} } }
		grep { $_->[2] == 202 } requests('mail/send');
	return \%taken;
}

# SendGrid: c3 is no address, and it says so; c5 is none, and it does not.
sub sendgrid
{
	my ($body) = @_;
	return (401, '{"errors":[{"message":"The provided authorization grant is invalid, expired, or revoked"}]}')
		if -e "$directory/revoked";
	my @to = map { $_->{to}[0]{email} } @{ decode_json($body)->{personalizations} };
	for (0 .. $#to)
	{
		return (400, qq({"errors":[{"message":"Does not contain a valid address.","field":"personalizations.$_.to.0.email"}]}))
			if $to[$_] eq 'c3@example.com';
		return (400, '{"errors":[{"message":"Bad Request","field":null}]}') if $to[$_] eq 'c5@example.com';
	}
	return (202, '');
}

# Twilio: the number of c3 has opted out.
sub twilio
{
	my ($body) = @_;
	return (400, '{"code":21610,"message":"Attempt to send to unsubscribed recipient","status":400}')
		if $body =~ /To=%2B12020000003/;
	return (201, '{"sid":"SM0123456789abcdef0123456789abcdef","status":"queued"}');
}

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128) or die "listen: $!";
my $url = 'http://127.0.0.1:' . $listener->sockport;
$api = fork // die "fork: $!";
serve($listener, sub { $_[0] =~ /mail/ ? sendgrid($_[1]) : twilio($_[1]) }) if $api == 0;
close $listener;

END
{
	kill 'KILL', $api if $api && $$ == $parent;
}

my $node = new_node('apis');

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# Statuses of a campaign's messages: "failed:1 sent:29".
sub outcome
{
	my ($campaign) = @_;
	return sql("SELECT string_agg(status || ':' || n, ' ' ORDER BY status) FROM
		(SELECT status, count(*) AS n FROM mktg.message WHERE campaign_id = $campaign GROUP BY 1) x");
}

# "status|reason" of a contact's message.
sub fate
{
	my ($campaign, $contact) = @_;
	return sql("SELECT status, failure_reason FROM mktg.message JOIN mktg.contact USING (tenant_id, contact_id)
		WHERE campaign_id = $campaign AND external_id = 'c$contact'");
}

add_contacts($node, 40, channel => 'email');
sql("INSERT INTO mktg.consent (contact_id, channel, source) SELECT contact_id, 'sms', 'test' FROM mktg.contact");

# ---- a credential that is missing: the provider does not open, and messages wait ----

sql("CREATE SERVER sg FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'sendgrid', base_url '$url');
	SELECT mktg.set_sender('mail', 'sg', 'email', 'shop\@example.com')");
my $named = add_campaign($node, name => 'named', sender => 'mail', channel => 'email', subject => 'Hello {{name}}',
	body => 'Dear {{name}}', where => "contact_id <= 30 AND external_id <> 'c5'");
launch($node, $named);
wait_for_status($node, 'provider failures in the last hour', 'f', 'mail config: .*credential "api_key" is missing');
is(sql("SELECT count(*), sum(attempt) FROM mktg.outbox WHERE campaign_id = $named"), '29|0', 'without a key messages wait');
is(scalar(requests('.')), 0, 'and nothing is sent');

# ---- one bad message of a request, which the provider names ----

sql("SELECT mktg.set_credential('sg', 'api_key', 'SG.key')");
wait_drained($node);
is(outcome($named), 'failed:1 sent:28', 'with a key they go');
is(fate($named, 3), 'failed|HTTP 400: Does not contain a valid address. (to.0.email)', 'the one that is named has failed');
my $taken = taken();
is(join(' ', grep { ($taken->{"c$_\@example.com"} // 0) != 1 } grep { $_ != 3 && $_ != 5 } 1 .. 30), '', 'the others were taken, once each');
is(sql("SELECT max(attempts) FROM mktg.message WHERE campaign_id = $named AND status = 'sent'"), '1', 'and for them it was no attempt');
is(sql("SELECT DISTINCT provider_message_id FROM mktg.message WHERE campaign_id = $named AND status = 'sent'"),
	'id-of-the-request', 'with the provider\'s id');
my ($first) = requests('mail/send');
cmp_ok(scalar @{ decode_json($first->[1])->{personalizations} }, '>', 1, 'they went together');
is_conserved($node, 'after a message that was named');

# ---- one that is not named ----

my $unnamed = add_campaign($node, name => 'unnamed', sender => 'mail', channel => 'email', subject => 'Hi {{name}}',
	body => 'Dear {{name}}', where => "contact_id <= 40 AND external_id <> 'c3'");
launch($node, $unnamed);
wait_sql($node, 'postgres', "WITH u AS (UPDATE mktg.outbox SET due = now() WHERE lease IS NULL AND due > now() RETURNING 1)
	SELECT NOT EXISTS (SELECT FROM mktg.outbox)");
is(outcome($unnamed), 'failed:1 sent:38', 'one message that is not named fails alone');
is(fate($unnamed, 5), 'failed|HTTP 400: Bad Request', 'with what the provider says');
is(sql("SELECT attempts FROM mktg.message JOIN mktg.contact USING (tenant_id, contact_id)
	WHERE campaign_id = $unnamed AND external_id = 'c5'"), '4', 'when it went alone');
is_conserved($node, 'after a message that was not');

# ---- a key that is revoked: the sender stops, and nobody else ----

sql("CREATE SERVER tw FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'twilio', base_url '$url',
		account_sid 'AC0123456789abcdef0123456789abcdef', max_segments '2');
	SELECT mktg.set_credential('tw', 'auth_token', 't');
	SELECT mktg.set_sender('texts', 'tw', 'sms', '+14155552345'), mktg.set_sender('nobody', 'tw', 'sms')");
append_to_file("$directory/revoked", '');
my $revoked = add_campaign($node, name => 'revoked', sender => 'mail', channel => 'email', subject => 'S', where => 'contact_id IN (1, 2)');
launch($node, $revoked);
wait_for_status($node, 'provider failures in the last hour', 'f', 'mail config: .*HTTP 401: The provided authorization grant is invalid');

sql("UPDATE mktg.contact SET attributes = jsonb_build_object('long', repeat('x', CASE external_id WHEN 'c7' THEN 400 WHEN 'c8' THEN 1700 ELSE 10 END))");
my $texts = add_campaign($node, name => 'texts', sender => 'texts', channel => 'sms', body => 'Hi {{name}}: {{long}}');
launch($node, $texts);
wait_sql($node, 'postgres', "SELECT NOT EXISTS (SELECT FROM mktg.outbox WHERE campaign_id = $texts)");
is(outcome($texts), 'failed:3 sent:37', 'texts go while mail rests');
is(fate($texts, 7), 'failed|the text takes 3 segments (414 of the GSM alphabet), and max_segments is 2', 'too many segments');
is(fate($texts, 8), 'failed|the text has 1714 characters, and Twilio takes 1600', 'too long');
is(fate($texts, 3), 'failed|Twilio error 21610: Attempt to send to unsubscribed recipient', 'opted out at the provider');
is(sql("SELECT reason FROM mktg.suppression WHERE channel = 'sms'"), 'stop', 'who is suppressed as such');
is(scalar(requests('Messages')), 38, 'a text that is too long is not even sent');

is(sql("SELECT count(*), sum(attempt) FROM mktg.outbox WHERE campaign_id = $revoked"), '2|0', 'mail waits, no attempt burnt');
unlink "$directory/revoked";
sql("SELECT mktg.set_credential('sg', 'api_key', 'SG.other')");
wait_drained($node);
is(outcome($revoked), 'sent:2', 'with another key it goes');

# ---- a sender that is none: it stops, others flow ----

my $nobody = add_campaign($node, name => 'nobody', sender => 'nobody', channel => 'sms', where => "external_id = 'c1'");
launch($node, $nobody);
wait_for_status($node, 'provider failures in the last hour', 'f', "nobody config: .*the sender''s from_address is neither");
add_template($node, 'media', 'sms', body => 'Look');
my $media = sql(q{SELECT mktg.create_campaign('media', 'sms', 'media', 'texts', template_data => '{"media_url": "https://example.com/{{name}}.png"}')});
sql("SELECT mktg.add_recipients($media, array_agg(contact_id)) FROM mktg.contact WHERE external_id = 'c1'");
launch($node, $media);
wait_sql($node, 'postgres', "SELECT NOT EXISTS (SELECT FROM mktg.outbox WHERE campaign_id = $media)");
is(outcome($media), 'sent:1', 'another sender of the same provider goes on');
like((requests('Messages'))[-1][1], qr{&MediaUrl=https%3A%2F%2Fexample.com%2FContact%201.png&}, 'media from the campaign\'s template_data');
is(outcome($nobody), 'queued:1', 'the first one\'s message waits');
is_conserved($node, 'in the end');

$node->stop;
done_testing();
