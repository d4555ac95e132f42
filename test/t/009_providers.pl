# The worker and its providers: what replies, and the lack of them, do to
# messages and senders; by webhook to a stub, by SMTP to smtp-sink.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::SHA qw(hmac_sha256_base64);
use File::Path qw(make_path);
use JSON::PP;
use MIME::Base64 qw(decode_base64 encode_base64);
use Time::HiRes qw(time);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $node = new_node('providers', config => "log_min_duration_statement = -1\nlog_parameter_max_length_on_error = 0");
my $stub = start_stub(full => 1);
my $seen = 0;					# lines of the stub's log already looked at

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# Sends one message and gives its id.
sub send_one
{
	my ($contact, $sender, $channel) = @_;
	$channel //= 'email';
	return sql("SELECT mktg.send((SELECT contact_id FROM mktg.contact WHERE external_id = 'c$contact'),
		'single', '{\"n\": $contact}', '$channel', sender => '$sender')");
}

# Fields of a message, by its id.
sub message
{
	my ($id, $fields) = @_;
	return sql("SELECT $fields FROM mktg.message m WHERE mktg._message_id(tenant_id, campaign_id, contact_id, ref) = '$id'");
}

sub wait_message
{
	my ($id, $condition) = @_;
	wait_sql($node, 'postgres', "SELECT $condition FROM mktg.message m LEFT JOIN mktg.outbox o USING (tenant_id, campaign_id, contact_id, ref)
		WHERE mktg._message_id(tenant_id, campaign_id, contact_id, ref) = '$id'");
}

# Requests since the last call.
sub new_requests
{
	my @log = stub_log($stub);
	my @new = @log[ $seen .. $#log ];
	$seen = @log;
	return @new;
}

# Waits until the stub has at least N requests more than were looked at.
sub wait_requests
{
	my ($n, $which) = @_;
	my $log = $which // $stub;
	my $from = $which ? 0 : $seen;
	my $end = time + 60;
	while (stub_log($log) < $from + $n)
	{
		die "no $n requests came" if time > $end;
		Time::HiRes::usleep(20_000);
	}
}

# What waits may go now: nobody wants to wait for a backoff.
sub hurry
{
	sql('UPDATE mktg.outbox SET due = now() WHERE lease IS NULL');
}

# It is noon for the tenant, so no day ends while a daily limit is tested.
sql(sprintf "UPDATE mktg.tenant SET time_zone = 'Etc/GMT%+d'", (gmtime)[2] - 12);
is(sql("SELECT extract(hour FROM now() AT TIME ZONE time_zone) FROM mktg.tenant"), '12', 'it is noon');

add_webhook_provider($node, $stub, options => "timeout_ms '2000'", senders => {
	hook => '', hold => "on_doubt => 'hold'", retry => "on_doubt => 'retry'" });
add_contacts($node, 400);
add_template($node, 'single', 'email', subject => 'Number {{n}}', body => 'Hello {{name}}');

# ---- the request and its signature ----

my $id = send_one(1, 'hook');
wait_message($id, "status = 'sent'");
my ($request) = new_requests();
my ($timestamp) = $request->{headers} =~ /^webhook-timestamp: (\d+)/m;
my ($signature) = $request->{headers} =~ /^webhook-signature: v1,(\S+)/m;
my $key = decode_base64(substr($SECRET, length 'whsec_'));
(my $expected = hmac_sha256_base64("$id.$timestamp.$request->{body}", $key)) .= '=';
is($request->{id}, $id, 'webhook-id is the message\'s id');
is($signature, $expected, 'the signature is that of the secret');
cmp_ok(abs($timestamp - time), '<', 60, 'the timestamp is that of the attempt');
is(decode_json($request->{body})->{subject}, 'Number 1', 'the body is JSON with the rendered texts');

# ---- 429 with Retry-After: nobody of the sender goes before it is over ----

stub_mode($stub, '429=1');
$id = send_one(2, 'hook');
wait_message($id, 'o.attempt = 1 AND o.lease IS NULL');
($request) = new_requests();
is(message($id, 'status'), 'queued', '429: the message waits');
stub_mode($stub, 'ok=1');
hurry();
my $other = send_one(3, 'hook');
wait_message($other, "status = 'sent'");
wait_message($id, "status = 'sent'");
my @new = new_requests();
is(scalar @new, 2, 'both arrive');
cmp_ok((sort map { $_->{at} } @new)[0] - $request->{at}, '>=', 1, 'not before the second the provider asked for');
is(message($id, 'attempts'), '2', 'at the second attempt');
my ($again) = grep { $_->{id} eq $id } @new;
isnt(($again->{headers} =~ /^webhook-signature: (\S+)/m)[0], ($request->{headers} =~ /^webhook-signature: (\S+)/m)[0],
	'signed anew');

# ---- 503: the sender rests, and the rest of a campaign burns no attempts ----

stub_mode($stub, '503=1');
my $campaign = add_campaign($node, name => 'unavailable', sender => 'hook', where => 'contact_id <= 300');
launch($node, $campaign);
wait_for_status($node, 'provider failures in the last hour', 'f', 'hook retry: .*HTTP 503');
wait_requests(67);				# all that was under way at once, and single tries after a rest
is(sql("SELECT count(*) FROM mktg.outbox WHERE campaign_id = $campaign AND attempt = 0 AND lease IS NULL") + 64 + 10 > 300, 1,
	'what waits has burnt no attempt');
is_conserved($node, 'with the provider unavailable');
stub_mode($stub, 'ok=1');
hurry();
wait_drained($node);
is(sql("SELECT sent FROM mktg.campaign_stats($campaign)"), '300', 'when it is back, all go');
cmp_ok(sql("SELECT max(attempts) FROM mktg.message WHERE campaign_id = $campaign"), '<=', 3, 'with few attempts');

# ---- nobody listens: surely not sent, so even held messages go again ----

stub_mode($stub, 'refuse=1');
new_requests();
$id = send_one(4, 'hold');
wait_message($id, 'o.attempt = 1 AND o.lease IS NULL');
stub_mode($stub, 'ok=1');
hurry();
wait_message($id, "status = 'sent'");
is(scalar(new_requests()), 1, 'connection refused: sent once, when somebody listens');

# ---- no reply: on_doubt decides ----

stub_mode($stub, 'reset=1');
my $held = send_one(5, 'hold');
wait_message($held, "status = 'in_doubt'");
is(scalar(new_requests()), 1, 'reset after the body: a held message is not sent again');
is(sql("SELECT message, attempts FROM mktg.in_doubt"), "$held|1", 'mktg.in_doubt lists it by its id');
my $slow = send_one(6, 'hold');
wait_message($slow, "status = 'in_doubt'");
stub_mode($stub, 'garbage=1');
my $garbled = send_one(7, 'hold');
wait_message($garbled, "status = 'in_doubt'");
stub_mode($stub, 'stall=1');
my $stalled = send_one(8, 'hold');
wait_message($stalled, "status = 'in_doubt'");
like(message($stalled, 'failure_reason'), qr/no reply: .*time/i, 'garbage and timeouts leave a doubt too, with a reason');
stub_mode($stub, 'ok=1');
new_requests();
is(sql("SELECT mktg.settle('$held', 'sent')"), 't', 'settled as sent');
is(message($held, 'status'), 'sent', 'it is');
sql("SELECT mktg.settle('$slow', 'queued')");
wait_message($slow, "status = 'sent'");
is(join(',', map { $_->{id} } new_requests()), $slow, 'settled as queued, it alone is sent again');
is(sql("SELECT mktg.record_status('$garbled', 'delivered')"), 't', 'a report settles a doubt');
is(message($garbled, 'status'), 'delivered', 'as what it says');
sql("SELECT mktg.settle('$stalled', 'failed')");

stub_mode($stub, 'reset=1');
$id = send_one(9, 'retry');
wait_message($id, 'o.attempt = 1 AND o.lease IS NULL');
stub_mode($stub, 'ok=1');
hurry();
wait_message($id, "status = 'sent'");
# libcurl too may have repeated it, where a connection in use again was closed
cmp_ok(scalar(grep { $_->{id} eq $id } new_requests()), '>=', 2, 'one that may be repeated is');
is_conserved($node, 'after doubts');

# ---- refused credentials: the sender stops, attempts and the day are not used up ----

sql("SELECT mktg.set_sender('limited', 'hook', daily_limit => 12)");
stub_mode($stub, '401=1');
my $limited = add_campaign($node, name => 'limited', sender => 'limited', where => 'contact_id <= 20');
launch($node, $limited);
wait_for_status($node, 'provider failures in the last hour', 'f', 'limited config: .*HTTP 401');
wait_sql($node, 'postgres', 'SELECT count(lease) = 0 FROM mktg.outbox');
is(sql("SELECT count(*), sum(attempt) FROM mktg.outbox WHERE campaign_id = $limited"), '12|0', 'what was refused waits, no attempt burnt');
my $refused = new_requests();
cmp_ok($refused, '<=', 12, 'nothing more is tried');
stub_mode($stub, '503=1 ok=3');
sql("SELECT mktg.set_credential('hook', 'secret', '$SECRET')");
wait_sql($node, 'postgres', "SELECT count(*) < 12 FROM mktg.outbox WHERE campaign_id = $limited");
pass('new credentials end the rest at once');
wait_sql($node, 'postgres', "WITH u AS (UPDATE mktg.outbox SET due = now() WHERE lease IS NULL RETURNING 1)
	SELECT count(*) = 0 FROM mktg.outbox");
is(sql("SELECT sent, pending, queued FROM mktg.campaign_stats($limited)"), '12|8|0',
	'the day\'s twelve are sent: neither refusals nor retries count against its limit');
is(sql("SELECT used FROM mktg.sender_state JOIN mktg.sender USING (tenant_id, sender_id) WHERE name = 'limited'"), '12', 'which is used up');
stub_mode($stub, 'ok=1');

# ---- the address policy ----

sql("CREATE SERVER strict FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'webhook', url '$stub->{url}', allow_http 'true')");
sql("CREATE SERVER anywhere FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'webhook', allow_http 'true')");
sql("SELECT mktg.set_credential(s, 'secret', '$SECRET'), mktg.set_sender(s, s) FROM unnest(ARRAY['strict', 'anywhere']) s");
add_template($node, 'single', 'webhook');
new_requests();
my $kept = send_one(10, 'strict');
wait_for_status($node, 'provider failures in the last hour', 'f', 'strict config: .*network address is not allowed');
is(message($kept, 'status, attempts'), 'queued|0', 'a provider on a private address: its messages wait');
my @urls = ("127.0.0.1:$stub->{port}", "localhost:$stub->{port}", "2130706433:$stub->{port}", "[::1]:$stub->{port}",
	"0x7f.1:$stub->{port}", '169.254.169.254');
my @private;
for my $i (0 .. $#urls)
{
	my $contact = 20 + $i;
	sql("UPDATE mktg.contact SET attributes = attributes || '{\"webhook_url\": \"http://$urls[$i]/\"}' WHERE external_id = 'c$contact'");
	push @private, send_one($contact, 'anywhere', 'webhook');
}
wait_message($_, "status = 'failed'") for @private;
is(join(',', map { message($_, 'failure_reason') } @private), join(',', ("the target's network address is not allowed") x @urls),
	'no way to write a private address gets there');
is(scalar(new_requests()), 0, 'nothing of them arrived');
sql("ALTER SERVER strict OPTIONS (ADD allow_networks '127.0.0.0/8')");
wait_message($kept, "status = 'sent'");
pass('allowed, it goes');

# ---- a message that workers die with ----

my $trap = start_stub();
stub_mode($trap, 'stall=1');
add_webhook_provider($node, $trap, name => 'trap', senders => { trap => "on_doubt => 'retry'" });

sub worker_pid
{
	return try_sql($node, 'postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'mktg worker'") // '';
}

sub kill_worker
{
	my $pid = worker_pid();
	kill 'KILL', $pid;
	wait_sql($node, 'postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'mktg worker' AND pid <> $pid");
	wait_delivering($node);
}

# stopped in order, a worker has not died with it
my $patient = send_one(11, 'trap');
wait_requests(1, $trap);
$node->restart;
wait_requests(2, $trap);
$node->restart;
wait_message($patient, "status = 'queued' AND o.deaths = 0 AND o.attempt >= 2");
pass('restarts of the server are no deaths');
stub_mode($trap, 'ok=1');
wait_sql($node, 'postgres', "WITH u AS (UPDATE mktg.outbox SET due = now() WHERE lease IS NULL RETURNING 1)
	SELECT count(*) = 0 FROM mktg.outbox");
is(message($patient, 'status'), 'sent', 'it goes when its provider answers');

stub_mode($trap, 'stall=1');
my $from = stub_log($trap);
my $poison = send_one(12, 'trap');
wait_requests($from + 1, $trap);
kill_worker();
wait_requests($from + 2, $trap);
is(sql('SELECT deaths, lease IS NOT NULL FROM mktg.outbox'), '1|t', 'after the first death it is tried once more');
my $innocent = send_one(13, 'hook');
wait_message($innocent, "status = 'sent'");
is(sql('SELECT count(lease) FROM mktg.outbox'), '1', 'a suspect that takes its time does not hold up others');
kill_worker();
wait_message($poison, "status = 'failed'");
like(message($poison, 'failure_reason'), qr/^quarantined/, 'after the second it is quarantined');
is(stub_log($trap) - $from, 2, 'and not sent a third time');
stub_mode($trap, 'ok=1');
$innocent = send_one(14, 'trap');
wait_message($innocent, "status = 'sent'");
pass('others flow');
is_conserved($node, 'after deaths');
stop_stub($trap);

# ---- SMTP ----

SKIP:
{
	my ($sink) = grep { -x } map { "$_/smtp-sink" } split(/:/, $ENV{PATH}), '/usr/sbin';
	skip 'no smtp-sink here', 1 if !$sink;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $bouncing = PostgreSQL::Test::Cluster::get_free_port();
	my $silent = PostgreSQL::Test::Cluster::get_free_port();
	my $box = PostgreSQL::Test::Utils::tempdir;
	my @sinks = map { start_sink($sink, $box, @$_) } [ $port ], [ $bouncing, '-f', 'RCPT', '-B', '550 5.1.1 No such user' ],
	  [ $silent, '-W', '.:30' ];

	for my $server ([ mail => $port ], [ bouncing => $bouncing ], [ silent => $silent ])
	{
		my ($name, $on) = @$server;
		sql("CREATE SERVER $name FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'smtp', host '127.0.0.1', port '$on', tls 'none');
			SELECT mktg.set_sender('$name', '$name', 'email', 'news\@shop.example', 'The Shop', 'help\@shop.example', on_doubt => 'hold')");
	}
	my $letter = add_campaign($node, name => 'letter', sender => 'mail', channel => 'email', type => 'transactional',
		subject => 'Grüße, {{name}}', body => 'Plain {{name}}', html => '<p>Rich {{name}}</p>', where => 'contact_id <= 60');
	launch($node, $letter);
	wait_drained($node);
	is(sql("SELECT sent, failed FROM mktg.campaign_stats($letter)"), '60|0', 'sixty letters are sent');
	my @mails = map { slurp_file($_) } glob "$box/mail.*";
	is(scalar @mails, 60, 'and have arrived, one each');
	my ($mail) = grep { /^X-Rcpt-Args: <c7\@example.com>/m } @mails;
	ok($mail, 'with the contact\'s address');
	like($mail, qr/^X-Mail-Args: <news\@shop.example>/m, 'from the sender');
	like($mail, qr/^To: .*c7\@example\.com/m, 'To');
	like($mail, qr/^From: "The Shop"\s+<news\@shop\.example>$/m, 'From');
	like($mail, qr/^Reply-To: .*help\@shop\.example/m, 'Reply-To');
	like($mail, qr/^Message-ID: <1-$letter-\d+\@shop\.example>/mi, 'Message-ID with our id');
	like(decoded($mail =~ /^Subject: (.*(?:\n[ \t].*)*)/m), qr/^Grüße, Contact 7$/, 'Subject');
	like($mail, qr/^Content-Type: multipart\/alternative/mi, 'both parts');
	like($mail, qr/Plain Contact 7.*<p>Rich Contact 7<\/p>/s, 'plain before rich');

	add_template($node, 'single', 'email', subject => 'Number {{n}}');
	$id = send_one(70, 'bouncing');
	wait_message($id, "status = 'bounced'");
	is(sql("SELECT reason FROM mktg.suppression WHERE channel = 'email' AND address_hash = mktg.address_hash('c70\@example.com')"),
		'hard_bounce', '550: bounced, and the address suppressed');
	is(message(send_one(70, 'mail'), 'status, failure_reason'), 'skipped|suppressed', 'nothing is sent there any more');

	# the final reply does not come: a stop waits neither for it nor for the thread
	$id = send_one(71, 'silent');
	wait_message($id, 'o.lease IS NOT NULL');
	my $started = time;
	$node->restart;
	diag(sprintf 'restart with an SMTP request under way: %.2f s', time - $started);
	cmp_ok(time - $started, '<', 6, 'a stop does not wait for a mail server');
	wait_message($id, "status IN ('in_doubt', 'queued')");
	kill 'TERM', @sinks;
	waitpid($_, 0) for @sinks;
}

# ---- what must not show ----

my $log = slurp_file($node->logfile);
unlike($log, qr/\Q$SECRET\E/, 'no secret in the log');
unlike($log, qr/bWt0Zy10ZXN0/, 'nor a part of it');
unlike($log, qr/c\d+\@example\.com|\+1202\d{7}/, 'nor an address');
are_counters_right($node, 'in the end');

stop_stub($stub);
$node->stop;
done_testing();

# A mail server on a port, whose mails end in files of a directory.
sub start_sink
{
	my ($program, $box, $on, @options) = @_;
	my $pid = fork // die "could not fork: $!";

	if (!$pid)
	{
		chdir $box;
		open(STDOUT, '>', '/dev/null');
		open(STDERR, '>', '/dev/null');
		exec($program, '-d', "$box/mail.", @options, "127.0.0.1:$on", 100) or POSIX::_exit(1);
	}
	my $end = time + 30;
	until (IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $on))
	{
		die 'smtp-sink does not listen' if time > $end;
		Time::HiRes::usleep(20_000);
	}
	return $pid;
}

# The text of an encoded header.
sub decoded
{
	my ($header) = @_;
	$header =~ s/\?=\s+=\?/?==?/g;
	$header =~ s/=\?utf-8\?b\?([^?]*)\?=/decode_base64($1)/gie;
	$header =~ s/=\?utf-8\?q\?([^?]*)\?=/my $t = $1; $t =~ tr|_| |; $t =~ s|=([0-9A-F]{2})|chr hex $1|ge; $t/gie;
	return $header;
}
