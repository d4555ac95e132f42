# Drivers whose messages are filled in from a campaign's template_data: whatsapp
# and fcm, against a double of their providers.  What is wrong with a campaign
# stops the campaign, what is wrong with a message ends the message, and nothing
# stops the queue.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";

use IO::Socket::INET;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $json = JSON::PP->new->canonical;
my $log = "$PostgreSQL::Test::Utils::tmp_check/053_requests.log";
my ($double, $url) = start_double();
END { kill 'TERM', $double if $double }

# A provider in a process of its own: one request a connection, an answer as
# answer_to() says, a line in the log for each.
sub start_double
{
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 256) or die "listen: $!";
	my $test = $$;
	unlink $log;
	my $pid = fork // die "fork: $!";
	return ($pid, 'http://127.0.0.1:' . $listener->sockport) if $pid;
	$SIG{PIPE} = 'IGNORE';
	while (getppid == $test)
	{
		my $client = $listener->accept or next;
		my ($path) = (<$client> // '') =~ /^POST (\S+) / or next;
		my $length = 0;
		while (my $line = <$client>)
		{
			$length = $1 if $line =~ /^Content-Length: (\d+)/i;
			last if $line eq "\r\n";
		}
		read($client, my $body, $length);
		open my $out, '>>', $log or die $!;
		print $out "$path $body\n";
		close $out;
		my ($status, $reply) = answer_to($path, $body);
		my $text = $json->encode($reply);
		print $client "HTTP/1.1 $status Double\r\nConnection: close\r\nContent-Length: " . length($text) . "\r\n\r\n$text";
	}
	POSIX::_exit(0);
}

sub answer_to
{
	my ($path, $body) = @_;
	return -e "$log.refuse" ? (400, { error => 'invalid_grant', error_description => 'Invalid JWT Signature.' })
	  : (200, { access_token => 'ya29.x', expires_in => 3599 }) if $path eq '/token';
	my $message = $json->decode($body);
	if ($path =~ /messages:send$/)
	{
		return (404, { error => { message => 'Requested entity was not found.', details => [ {
			'@type' => 'type.googleapis.com/google.firebase.fcm.v1.FcmError', errorCode => 'UNREGISTERED' } ] } })
		  if $message->{message}{token} eq 'gone';
		return (200, { name => 'projects/demo/messages/7' });
	}
	return (404, { error => { code => 132001, message => 'x', error_data => {
		details => 'template name (gone) does not exist in en_US' } } }) if ($message->{template}{name} // '') eq 'gone';
	return (400, { error => { code => 131056, message => 'pair rate limit hit' } })
	  if $message->{to} eq '12020000003' && ($message->{template}{name} // '') eq 'promo';
	# of one contact only the values are wrong, which shows once others have been taken
	our $taken;
	if (($message->{template}{name} // '') eq 'values')
	{
		return $taken ? (400, { error => { code => 132012, message => 'Parameter format does not match' } })
		  : (500, { error => { code => 131016, message => 'Service unavailable' } }) if $message->{to} eq '12020000020';
		$taken = 1;
	}
	return (200, { messages => [ { id => "wamid.$message->{biz_opaque_callback_data}" } ] });
}

sub requests
{
	my ($pattern) = @_;
	return grep { /$pattern/ } split /\n/, slurp_file($log);
}

my $node = new_node('templates');
add_contacts($node, 20);
$node->safe_psql('postgres', <<"SQL");
CREATE SERVER wa FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'whatsapp', base_url '$url', phone_number_id '1065');
SELECT mktg.set_credential('wa', 'access_token', 'EAAB');
SELECT mktg.set_sender('wa', 'wa', 'whatsapp');
SQL

sub set_data
{
	my ($id, $data) = @_;
	$node->safe_psql('postgres', "UPDATE mktg.campaign SET template_data = '$data' WHERE campaign_id = $id");
}

sub counts
{
	my ($id) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(format('%s %s', status, n), ', ' ORDER BY status)
		FROM (SELECT status, count(*) AS n FROM mktg.message WHERE campaign_id = $id GROUP BY status) s");
}

sub campaign_is
{
	my ($id, $status, $reason, $name) = @_;
	wait_sql($node, 'postgres', "SELECT status = '$status' FROM mktg.campaign WHERE campaign_id = $id");
	is($node->safe_psql('postgres', "SELECT pause_reason FROM mktg.campaign WHERE campaign_id = $id"), $reason, $name);
}

# ---- a template WhatsApp does not have ----

my $gone = add_campaign($node, name => 'gone', sender => 'wa', priority => 9);
my $good = add_campaign($node, name => 'good', sender => 'wa');
set_data($gone, '{"template": "gone", "language": "en_US"}');
set_data($good, '{"template": "sale", "language": "{{lang}}", "lang": "de", "components": [
	{"type": "body", "parameters": [{"type": "text", "text": "{{name}}, \"{{lang}}\""}]}]}');
launch($node, $gone);
launch($node, $good);
campaign_is($gone, 'paused', 'template "gone" (en_US): WhatsApp 132001: template name (gone) does not exist in en_US',
	'a campaign whose template is missing stops, and says which');
is(counts($gone), 'queued 20', 'its messages wait');
campaign_is($good, 'completed', '', 'another campaign of the sender goes on');
is(counts($good), 'sent 20', 'and is sent');
is($node->safe_psql('postgres', "SELECT min(provider_message_id) FROM mktg.message WHERE campaign_id = $good AND contact_id = 1"),
	"wamid.1-$good-1", 'the id that is echoed is ours');
my ($first) = requests("\"1-$good-1\"");
is_deeply($json->decode(($first =~ / (.*)/)[0])->{template}, { name => 'sale', language => { policy => 'deterministic', code => 'de' },
	components => [ { type => 'body', parameters => [ { type => 'text', text => 'Contact 1, "de"' } ] } ] },
	'the template is filled in for each');
is($node->safe_psql('postgres', "SELECT max(attempt) FROM mktg.outbox WHERE campaign_id = $gone"), '0', 'no attempt is burnt');
is($node->safe_psql('postgres', "SELECT state FROM mktg.sender_status WHERE name = 'wa'"), 'ready', 'the sender does not rest');
is_status($node, 'provider failures in the last hour', qr/^f\|wa campaign: \d+ \(template "gone"/, 'status says why');
is_conserved($node, 'with a campaign stopped');

my $requests = requests('gone');
cmp_ok($requests, '<=', 20, 'each message was tried at most once');
set_data($gone, '{"template": "sale", "language": "en_US"}');
$node->safe_psql('postgres', "SELECT mktg.resume_campaign($gone); UPDATE mktg.outbox SET due = now() - interval '1 minute'");
campaign_is($gone, 'completed', '', 'mended and resumed it is sent');
is(counts($gone), 'sent 20', 'every message of it');

# ---- template_data that is no template ----

my $bad = add_campaign($node, name => 'bad', sender => 'wa');
set_data($bad, '{"template": "sale", "language": "en_US", "components": [{"text": "{{#if}}"}]}');
$requests = () = requests('.');
launch($node, $bad);
wait_sql($node, 'postgres', "SELECT status = 'paused' FROM mktg.campaign WHERE campaign_id = $bad");
like($node->safe_psql('postgres', "SELECT pause_reason FROM mktg.campaign WHERE campaign_id = $bad"), qr/^template_data: /,
	'a string that is no template stops the campaign');
is(scalar(() = requests('.')), $requests, 'before anything is sent');
$node->safe_psql('postgres', "SELECT mktg.cancel_campaign($bad)");

# ---- too often to one person ----

my $promo = add_campaign($node, name => 'promo', sender => 'wa');
set_data($promo, '{"template": "promo", "language": "en_US"}');
launch($node, $promo);
wait_sql($node, 'postgres', "SELECT count(*) = 19 FROM mktg.message WHERE campaign_id = $promo AND status = 'sent'");
wait_sql($node, 'postgres', "SELECT count(*) = 1 FROM mktg.outbox WHERE campaign_id = $promo AND lease IS NULL AND attempt = 1");
is($node->safe_psql('postgres', "SELECT contact_id, due > mktg.clock() + interval '3 seconds' FROM mktg.outbox WHERE campaign_id = $promo"),
	'3|t', 'one who was written to too often waits');
is($node->safe_psql('postgres', "SELECT state FROM mktg.sender_status WHERE name = 'wa'"), 'ready', 'and nobody else does');
$node->safe_psql('postgres', "SELECT mktg.cancel_campaign($promo)");

# ---- values that do not fit, of one contact ----

my $values = add_campaign($node, name => 'values', sender => 'wa');
set_data($values, '{"template": "values", "language": "en_US"}');
launch($node, $values);
campaign_is($values, 'completed', '', 'a campaign that went well for others does not stop for one');
is(counts($values), 'failed 1, sent 19', 'whose message fails');
is($node->safe_psql('postgres', "SELECT failure_reason FROM mktg.message WHERE campaign_id = $values AND status = 'failed'"),
	'template "values" (en_US): WhatsApp 132012: Parameter format does not match', 'for that');

# ---- push: what is wrong with one message ends that message ----

my $pem = do { local $/; open my $in, '-|', 'openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null' or die; <$in> };
SKIP:
{
	skip 'openssl is not installed', 13 unless $pem;
	$node->safe_psql('postgres', <<"SQL");
CREATE SERVER push FOREIGN DATA WRAPPER mktg_provider
	OPTIONS (driver 'fcm', project_id 'demo', base_url '$url', token_uri '$url/token');
SELECT mktg.set_credential('push', 'client_email', 'a\@b'), mktg.set_credential('push', 'private_key', '$pem');
SELECT mktg.set_sender('app', 'push', 'push');
UPDATE mktg.contact SET attributes = jsonb_build_object('push_token', CASE contact_id WHEN 4 THEN 'gone'
	WHEN 5 THEN 'no token, a sentence' ELSE 'token-' || contact_id END,
	'note', CASE contact_id WHEN 6 THEN repeat('x', 5000) ELSE '' END);
INSERT INTO mktg.consent (contact_id, channel, source) SELECT contact_id, 'push', 'test' FROM mktg.contact;
SQL
	my $push = add_campaign($node, name => 'push', channel => 'push', sender => 'app', subject => 'Hi {{name}}');
	set_data($push, '{"data": {"screen": "sale", "note": "{{note}}"}}');

	# a key that is not good: nothing leaves, and status() says why
	append_to_file("$log.refuse", '');
	launch($node, $push);
	wait_sql($node, 'postgres', "SELECT state = 'resting' FROM mktg.sender_status WHERE name = 'app'");
	wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM mktg.outbox WHERE lease IS NOT NULL");
	is(counts($push), 'queued 20', 'without an access token messages wait');
	is_status($node, 'provider failures in the last hour', qr/app config: \d+ \(no access token: HTTP 400: .*Invalid JWT Signature/, 'and status says why');
	is(scalar(() = requests('messages:send')), 0, 'nothing was sent');
	is($node->safe_psql('postgres', "SELECT max(attempt) FROM mktg.outbox WHERE campaign_id = $push"), '0', 'no attempt is burnt');
	unlink "$log.refuse";
	truncate $log, 0;
	$node->safe_psql('postgres', "SELECT mktg.set_credential('push', 'private_key', '$pem')");
	campaign_is($push, 'completed', '', 'a campaign of notifications');
	is(counts($push), 'bounced 1, failed 2, sent 17', 'all but three are sent');
	is($node->safe_psql('postgres', "SELECT failure_reason FROM mktg.message WHERE campaign_id = $push AND contact_id = 4"),
		'FCM UNREGISTERED (HTTP 404): Requested entity was not found.', 'an app that is gone');
	is($node->safe_psql('postgres', "SELECT count(*) FROM mktg.suppression WHERE channel = 'push' AND address_hash = mktg.address_hash('gone')"),
		'1', 'is not written to again');
	is($node->safe_psql('postgres', "SELECT failure_reason FROM mktg.message WHERE campaign_id = $push AND contact_id = 5"),
		'the address is no registration token of FCM', 'a token that is none');
	like($node->safe_psql('postgres', "SELECT failure_reason FROM mktg.message WHERE campaign_id = $push AND contact_id = 6"),
		qr/^the message has 5\d{3} bytes, and FCM takes 4096$/, 'a message that is too long');
	is(scalar(() = requests('^/token ')), 1, 'one token for all');
	is(scalar(() = requests('messages:send .*"token-')), 17, 'each was sent once');
	is_conserved($node, 'after notifications');
}
are_counters_right($node, 'at the end');
$node->stop;
done_testing();
