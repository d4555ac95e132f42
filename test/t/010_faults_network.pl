# Faults of the network: what each does to messages, to their sender, to what
# mktg.status() says, and that messages of others go on meanwhile.  All faults
# are there at once, each with a provider and senders of its own: one for each
# word of on_doubt.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use MktgNamespace (names => 1);

use Time::HiRes qw(time usleep);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $timeout = 5;				# seconds a request may take
my $each = 2;					# messages a sender
my $directory = PostgreSQL::Test::Utils::tempdir;
my $node = new_node('network', config => "mktg.max_in_flight = 200\n");
my $healthy = start_stub();
my $refuse = 'not sent: .*([Rr]efused|connect to)';
my $late = 'no reply: .*(timed out|time-out)';

# What messages come to at their first attempt: "retry" is "waits, certainly not
# sent", "doubt" is in_doubt with hold and waits without, "config" stops the
# sender, "sent" is sent.  Providers are stubs in a mode, or an URL.
my %faults = (
	refused => { modes => 'refuse=1', class => 'retry', reason => $refuse },
	mute => { modes => 'mute=1', class => 'doubt', reason => $late },
	silent => { modes => 'stall=1', class => 'doubt', reason => $late },
	reset => { modes => 'reset=1', class => 'doubt', reason => 'no reply: ' },
	garbage => { modes => 'garbage=1', class => 'doubt', reason => 'no reply: ' },
	trickle => { modes => 'trickle=1', class => 'doubt', reason => $late, options => "timeout_ms '1200'" },
	dropped => { modes => 'drop=1', class => 'doubt', reason => 'no reply: ' },
	half => { modes => 'half=1', class => 'sent' },
	drip => { modes => 'drip=1', class => 'sent' },
	flood => { modes => 'flood=1', class => 'sent' },
	heads => { modes => 'heads=1', class => 'sent' },
	plain => { modes => 'ok=1', class => 'retry', tls => 1, reason => 'not sent: .*(SSL|TLS|ssl|tls)' },
	handshake => { modes => 'mute=1', class => 'retry', tls => 1, reason => 'not sent: .*(timed out|time-out)',
		options => "connect_timeout_ms '1500'" },
	noname => { url => 'http://no-answer.example/hook', class => 'retry', reason => 'not sent: .*([Rr]esolv|timed out)',
		options => "connect_timeout_ms '1500'", skip => $MktgNamespace::names ? '' : $MktgNamespace::why },
);

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# ---- certificates, and a server that shows them ----

# nginx with a port for each certificate, or why there is none
sub start_tls
{
	my ($nginx) = grep { -x } map { "$_/nginx" } split(/:/, $ENV{PATH}), '/usr/sbin';
	my ($openssl) = grep { -x } map { "$_/openssl" } split(/:/, $ENV{PATH});
	return 'no nginx or no openssl here' if !$nginx || !$openssl;

	my $servers = '';
	make_certificates($openssl) or return 'openssl makes no certificates';
	for my $name (qw(trusted misnamed expired selfsigned))
	{
		my $port = PostgreSQL::Test::Cluster::get_free_port();
		$servers .= "server { listen 127.0.0.1:$port ssl; ssl_certificate $name.crt; ssl_certificate_key $name.key;
			access_log $directory/$name.log ids; location / { return 200; } }\n";
		$faults{$name} = { url => "https://127.0.0.1:$port/hook", class => $name eq 'trusted' ? 'sent' : 'config',
			reason => 'not sent: .*(certificate|SSL)', log => "$directory/$name.log", tls => 1 };
	}
	open(my $file, '>', "$directory/nginx.conf") or die $!;
	print $file <<"CONF";
daemon off;
master_process off;
pid $directory/nginx.pid;
error_log $directory/error.log;
events { worker_connections 64; }
http {
	log_format ids '\$http_webhook_id';
	client_body_temp_path $directory/body;
	proxy_temp_path $directory/proxy;
	fastcgi_temp_path $directory/fastcgi;
	uwsgi_temp_path $directory/uwsgi;
	scgi_temp_path $directory/scgi;
	$servers
}
CONF
	close $file;
	my $pid = fork // die "fork: $!";
	if (!$pid)
	{
		open(STDOUT, '>', "$directory/nginx.out");
		open(STDERR, '>&', \*STDOUT);
		exec($nginx, '-p', $directory, '-c', "$directory/nginx.conf", '-e', "$directory/error.log") or POSIX::_exit(1);
	}
	return $pid;
}

sub make_certificates
{
	my ($openssl) = @_;
	my $new = "$openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=shop";
	my $sign = "$openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial";
	my $script = <<"SH";
set -e
cd $directory
echo subjectAltName=IP:127.0.0.1 > right
echo subjectAltName=IP:127.0.0.2,DNS:other.example > wrong
$new -x509 -days 2 -keyout ca.key -out ca.crt
$new -x509 -days 2 -addext subjectAltName=IP:127.0.0.1 -keyout selfsigned.key -out selfsigned.crt
for name in trusted misnamed expired; do $new -keyout \$name.key -out \$name.csr; done
$sign -days 2 -extfile right -in trusted.csr -out trusted.crt
$sign -days 2 -extfile wrong -in misnamed.csr -out misnamed.crt
$sign -days -1 -extfile right -in expired.csr -out expired.crt
SH
	return system("{ $script } > $directory/openssl.log 2>&1") == 0;
}

my $tls = start_tls();
my $nginx = $tls =~ /^\d+$/ ? $tls : 0;
END { kill 'TERM', $nginx if $nginx }

# ---- the faults ----

add_contacts($node, 300, channel => 'webhook');
add_template($node, 'note', 'webhook');
add_webhook_provider($node, $healthy, name => 'healthy', senders => { healthy => '' });
$faults{$_}{name} = $_ for keys %faults;
my @faults = grep { !$_->{skip} } map { $faults{$_} } sort keys %faults;

for my $f (@faults)
{
	my $options = $f->{options} // '';
	$options .= ($options ? ', ' : '') . "timeout_ms '" . 1000 * $timeout . "'" if $options !~ /\btimeout_ms/;
	$options .= ", ca_file '$directory/ca.crt'" if $f->{tls} && $nginx;
	$f->{stub} = start_stub(modes => $f->{modes}) if $f->{modes};
	my $url = $f->{url} // $f->{stub}{url};
	$url =~ s/^http:/https:/ if $f->{tls};
	add_webhook_provider($node, { url => $url }, name => $f->{name}, options => $options,
		senders => { map { ("$f->{name}_$_" => "on_doubt => '$_'") } qw(hold retry) });
}

# mail is carried by threads that wait, so a name that is not answered is tried there, too
if ($MktgNamespace::names)
{
	add_template($node, 'note', 'email', subject => 'Hello');
	sql("CREATE SERVER mailname FOREIGN DATA WRAPPER mktg_provider
		OPTIONS (driver 'smtp', host 'no-answer.example', tls 'none', connect_timeout_ms '1500', timeout_ms '${timeout}000')");
	sql("SELECT mktg.set_sender('mailname', 'mailname', 'email', 'shop\@shop.example', on_doubt => 'hold')");
}

my $memory = worker_memory($node);
my $start = sql('SELECT clock_timestamp()');
for my $f (@faults)
{
	send_some($node, "$f->{name}_$_", $each) for qw(hold retry);
}

send_some($node, 'mailname', $each, channel => 'email') if $MktgNamespace::names;

# what stalls for seconds holds up nobody
wait_sql($node, 'postgres', 'SELECT count(*) >= ' . 4 * $each . ' FROM mktg.outbox WHERE lease IS NOT NULL');
my $before = time;
send_some($node, 'healthy', 20);
wait_sender($node, 'healthy', "m.status = 'sent'");
my $took = time - $before;
is(sql("SELECT count(*) FROM mktg.outbox o JOIN mktg.campaign c USING (tenant_id, campaign_id) JOIN mktg.sender s USING (tenant_id, sender_id)
	WHERE o.lease IS NOT NULL AND s.name IN ('mute_hold', 'mute_retry', 'silent_hold', 'silent_retry')"), 4 * $each,
	sprintf('another sender\'s messages take %.2f s while four senders stall', $took));

for my $f (@faults)
{
	for my $doubt (qw(hold retry))
	{
		my ($name, $class, $reason) = ("$f->{name}_$doubt", $f->{class}, $f->{reason} // '-');
		if ($class eq 'sent' || ($class eq 'doubt' && $doubt eq 'hold'))
		{
			my $status = $class eq 'sent' ? 'sent' : 'in_doubt';
			wait_sender($node, $name, "m.status <> 'queued'");
			is_sender_queue($node, $name, qr/^(\d $status, ended, 1: (-|$reason.*)\n?)+$/, "$name: $status, not sent again");
		}
		elsif ($class eq 'config')
		{
			wait_for_status($node, 'provider failures in the last hour', 'f', "$name config: ");
			is_sender_queue($node, $name, qr/^$each queued, waiting, 0: -$/, "$name: messages wait, and no attempt is burnt");
		}
		else
		{
			wait_sender($node, $name, 'o.attempt > 0 AND o.lease IS NULL');
			# between 2 s and 5/4 of it after the first failure; longer after a second one
			is(sql("SELECT count(*) FROM mktg.outbox o JOIN mktg.campaign c USING (tenant_id, campaign_id)
				JOIN mktg.sender s USING (tenant_id, sender_id) WHERE s.name = '$name' AND o.lease IS NULL
				AND o.due NOT BETWEEN timestamptz '$start' + interval '2 s' AND clock_timestamp() + interval '1.25 s' * (1 << o.attempt)"),
				'0', "$name: they wait, and are due when the backoff ends");
		}
		# of each of its failures the status has one
		next if $class eq 'sent';
		like(status_of($node, 'provider failures in the last hour'), qr/\b$name $class: \d+ \($reason/, "$name: status() says why");
	}
}
is_conserved($node, 'with all faults there');
cmp_ok(worker_memory($node) - $memory, '<', 16, 'the worker\'s memory has not grown with what was replied');

SKIP:
{
	skip $MktgNamespace::why, 1 if $faults{noname}{skip};
	is(sql("SELECT count(*) FROM mktg.message m JOIN mktg.campaign c USING (tenant_id, campaign_id) JOIN mktg.sender s USING (tenant_id, sender_id)
		WHERE s.name = 'noname_hold' AND m.status = 'queued'"), $each, 'a name server that never answers: surely not sent, so even what is held waits');
}
SKIP:
{
	skip $MktgNamespace::why, 2 if !$MktgNamespace::names;
	wait_sender($node, 'mailname', 'o.attempt > 0 AND o.lease IS NULL');
	is_sender_queue($node, 'mailname', qr/^($each queued, waiting, \d: -\n?)+$/, 'by SMTP as well');
	like(status_of($node, 'provider failures in the last hour'), qr/\bmailname retry: \d+ \(not sent: .*([Rr]esolv|timed out)/, 'and status() says why');
}
SKIP:
{
	skip $tls, 1 if !$nginx;
	is(join(',', map { -s $faults{$_}{log} || 0 } qw(misnamed expired selfsigned)), '0,0,0', 'nothing went to a server with a bad certificate');
}
for my $f (grep { $_->{stub} } @faults)
{
	my $counts = stub_counts($f->{stub});
	my $most = (sort { $b <=> $a } map { $counts->{$_} } grep { sender_of($_) eq "$f->{name}_hold" } keys %$counts)[0] // 0;
	cmp_ok($most, '<=', 1, "$f->{name}_hold: none arrived twice");
}

# ---- healed ----

for my $f (@faults)
{
	stub_mode($f->{stub}, 'ok=1') if $f->{stub};
	next if $f->{class} eq 'sent' || ($f->{stub} && !$f->{tls});
	sql("ALTER SERVER $f->{name} OPTIONS (SET url '$healthy->{url}')");
}
# nobody takes that mail here
sql("SELECT mktg.cancel_campaign(campaign_id) FROM mktg.campaign WHERE channel = 'email'");
wait_sql($node, 'postgres', 'WITH u AS (UPDATE mktg.outbox SET due = mktg.clock() WHERE lease IS NULL AND due > mktg.clock() RETURNING 1)
	SELECT count(*) = 0 FROM mktg.outbox');
for my $f (grep { $_->{class} ne 'sent' } @faults)
{
	is_sender_queue($node, "$f->{name}_$_", qr/^(\d sent, ended, \d: -\n?)+$/, "$f->{name}_$_: healed, all go")
	  for $f->{class} eq 'doubt' ? 'retry' : qw(hold retry);
}
is_conserved($node, 'healed');
are_counters_right($node, 'healed');

# ---- one that stalls with a long queue ----

my $deep = start_stub(modes => 'mute=1');
set_config($node, 'mktg.max_in_flight' => 40);
add_webhook_provider($node, $deep, name => 'deep', options => "timeout_ms '3000'", senders => { deep => "on_doubt => 'hold'" });
send_some($node, 'deep', 300, key => 'deep');
wait_sql($node, 'postgres', 'SELECT count(*) >= 30 FROM mktg.outbox WHERE lease IS NOT NULL');
send_some($node, 'healthy', 20, key => 'more');
wait_sender($node, 'healthy', "m.status = 'sent'");
is(sql("SELECT count(*) FILTER (WHERE lease IS NOT NULL), count(*) FILTER (WHERE lease IS NULL AND attempt = 0), count(*) FROM mktg.outbox"),
	'30|270|300', 'a long queue of one that stalls leaves a quarter of what there is room for to others');
wait_for_status($node, 'provider failures in the last hour', 'f', 'deep doubt: ');
wait_sql($node, 'postgres', 'SELECT count(*) < 5 FROM mktg.outbox WHERE lease IS NOT NULL');
my $doubtful = sql("SELECT count(*) FROM mktg.in_doubt d JOIN mktg.message m ON mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref) = d.message
	WHERE m.ref LIKE 'deep%'");
cmp_ok($doubtful, '<=', 33, "after what was under way ($doubtful) the sender rests, and the rest does not come into doubt");
is_conserved($node, 'with a sender that rests');

# ---- a stop waits for none of it ----

stub_mode($_->{stub}, $_->{modes}) for grep { $_->{stub} } @faults;
sql("ALTER SERVER noname OPTIONS (SET url 'http://no-answer.example/hook')") if !$faults{noname}{skip};
my @slow = grep { !$_->{skip} } @faults{qw(mute silent trickle handshake noname)};
send_some($node, "$_->{name}_retry", $each, key => 'stop') for @slow;
if ($MktgNamespace::names)
{
	add_template($node, 'last', 'email', subject => 'Hello');
	sql("SELECT mktg.send(contact_id, 'last', sender => 'mailname') FROM mktg.contact WHERE contact_id < 5");
}
wait_sql($node, 'postgres', "SELECT count(*) >= 4 FROM mktg.outbox WHERE lease IS NOT NULL");
$before = time;
$node->stop('fast');
$took = time - $before;
cmp_ok($took, '<', 5, sprintf 'a stop with requests in every state takes %.2f s', $took);
ok(slurp_file($node->logfile) !~ /(PANIC.*|ERROR.*|.*was terminated by signal.*)/, 'nobody had to be killed, and no transaction failed') or diag($1);
$node->start;
is(sql('SELECT coalesce(max(deaths), 0) FROM mktg.outbox'), '0', 'and no message counts a death');
is_conserved($node, 'stopped and started');
are_counters_right($node, 'stopped and started');

$node->stop('immediate');
stop_stub($_) for $healthy, $deep, map { $_->{stub} // () } @faults;
done_testing();

# The sender of a message id.
sub sender_of
{
	my ($id) = @_;
	our %sender;
	my ($campaign) = $id =~ /^1-(\d+)-/;
	return $sender{$campaign} //= sql("SELECT s.name FROM mktg.campaign c JOIN mktg.sender s USING (tenant_id, sender_id) WHERE campaign_id = $campaign");
}
