# Segments kept in step with audiences, and conversions, by the real worker: what
# a provider holds in the end, after whatever has happened, is who may be there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::SHA qw(hmac_sha1_base64 hmac_sha256_hex sha256_hex);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use MktgTest;

my $node = new_node('ads', config => "mktg.databases = 'postgres'\nmktg.max_in_flight = 1000\n");
my $stub = start_stub(full => 1, seed => 7);
my $seen = 0;					# bytes of the stub's log already looked at
my $base = "http://127.0.0.1:$stub->{port}";
my %audience;					# by its id: hash of an address => 1, as the provider has it
my %bad;						# what must not be

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

sub unescape
{
	return $_[0] =~ s/%(..)/chr hex $1/ger;
}

# ---- the provider's side, apart from ours ----

sub take_meta
{
	my ($method, $id, $body) = @_;
	my %form = map { my ($name, $value) = split /=/; $name => unescape($value) } split /&/, $body;
	my $payload = decode_json($form{payload});
	my ($mail) = grep { $payload->{schema}[$_] eq 'EMAIL' } 0 .. $#{ $payload->{schema} };
	$bad{'a proof that is none'}++ if ($form{appsecret_proof} // '') ne hmac_sha256_hex('meta token', 'meta secret');
	$bad{'more than a removal needs'}++ if $method eq 'DELETE' && "@{ $payload->{schema} }" ne 'EMAIL PHONE';
	for my $row (@{ $payload->{data} })
	{
		$bad{'rows of another length'}++ if @$row != @{ $payload->{schema} };
		$bad{"no hash: $_"}++ for grep { $_ ne '' && !/^[0-9a-f]{64}$/ } @$row;
		if ($method eq 'DELETE') { delete $audience{$id}{ $row->[$mail] } }
		else { $audience{$id}{ $row->[$mail] } = 1 }
	}
	return scalar @{ $payload->{data} };
}

# OAuth 1.0a, worked out from RFC 5849.
sub check_oauth
{
	my ($path, $headers) = @_;
	my ($line) = $headers =~ /^Authorization: OAuth (.*?)\r?$/m;
	my %p = map { /^(\w+)="(.*)"$/ ? ($1 => unescape($2)) : () } split /, /, $line // '';
	my $signature = delete $p{oauth_signature};
	my $escape = sub { $_[0] =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ger };
	my $text = join '&', 'POST', $escape->("$base$path"),
	  $escape->(join '&', map { $escape->($_) . '=' . $escape->($p{$_}) } sort keys %p);
	$bad{'a signature that is none'}++ if ($signature // '') ne hmac_sha1_base64($text, 'cs&as') . '=';
	$bad{'a nonce that was there before'}++ if $p{oauth_nonce} && $bad{nonces}{ $p{oauth_nonce} }++;
}

sub take_x
{
	my ($id, $body) = @_;
	for my $operation (@{ decode_json($body) })
	{
		for my $user (@{ $operation->{params}{users} })
		{
			$bad{"no hash: $_"}++ for grep { !/^[0-9a-f]{64}$/ } map { @$_ } values %$user;
			if ($operation->{operation_type} eq 'Delete') { delete $audience{$id}{ $user->{email}[0] } }
			else { $audience{$id}{ $user->{email}[0] } = 1 }
		}
	}
}

my @events;
my @sizes;

# Takes what was sent since the last call, in its order.
sub catch_up
{
	my $json = JSON::PP->new->latin1;
	open(my $log, '<', $stub->{log}) or return;
	seek $log, $seen, 0;
	while (defined(my $line = <$log>))
	{
		last if $line !~ /\n\z/;
		$seen = tell $log;
		my $request = $json->decode($line);
		my ($method, $path) = $request->{headers} =~ /^(\S+) (\S+)/;
		$bad{'an address that can be read'}++ if $request->{body} =~ /example\.com|%40/;
		next unless $request->{taken};
		if ($path =~ m{^/v25\.0/(\d+)/users$}) { push @sizes, [ $method, take_meta($method, $1, $request->{body}) ] }
		elsif ($path =~ m{^/12/accounts/acc1/custom_audiences/(\w+)/users$})
		{
			check_oauth($path, $request->{headers});
			take_x($1, $request->{body});
		}
		elsif ($path eq '/v25.0/777/events') { push @events, @{ decode_json($request->{body})->{data} } }
		else { $bad{"$method $path"}++ }
	}
}

# Who may be there, asked from the tables alone.
sub who_may
{
	return { map { sha256_hex($_) => 1 } split /\n/, sql(<<'END') };
SELECT c.email FROM mktg.contact c WHERE c.city = 'Pune' AND c.is_active AND c.email IS NOT NULL
   AND EXISTS (SELECT FROM mktg.consent k WHERE k.contact_id = c.contact_id AND k.channel = 'ads' AND k.state = 'subscribed')
END
}

# What has been uploaded of those who are there and may not be, or the other way round.
sub tell_odd
{
	my ($want, @ids) = @_;
	for my $id (@ids)
	{
		my @odd = grep { !$audience{$id}{$_} != !$want->{$_} } keys %{ { %$want, %{ $audience{$id} } } };
		diag "audience $id: " . ($want->{$_} ? 'missing' : 'too many') . ":\n" . sql(qq{SELECT m.contact_id, ref, m.variables ->> 'operation', m.status,
			m.attempts, m.failure_reason, m.queued_at, m.sent_at FROM mktg.message m JOIN mktg.campaign c USING (tenant_id, campaign_id)
			WHERE m.variables ->> 'email' = '$_' AND c.template_data ->> 'audience' = '$id' ORDER BY ref}) for @odd;
	}
}

# Waits until the worker has done all there is to do, and compares.
sub in_step
{
	my ($what, @ids) = @_;
	my $want = who_may();
	my $end = time + 60;
	my $odd;
	do
	{
		usleep(50_000);
		# nobody wants to wait for a backoff
		sql('UPDATE mktg.outbox SET due = clock_timestamp() WHERE lease IS NULL AND attempt > 0');
		catch_up();
		$odd = 0;
		for my $id (@ids)
		{
			$odd += grep { !$audience{$id}{$_} } keys %$want;
			$odd += grep { !$want->{$_} } keys %{ $audience{$id} };
		}
	} while (time < $end && ($odd > 0 || sql(q{SELECT (SELECT count(*) FROM mktg.outbox) + (SELECT count(*) FROM mktg.segment_change)
		+ (SELECT count(*) FROM mktg.segment_due WHERE due = '-infinity')}) > 0));
	is($odd, 0, "$what: " . keys(%$want) . ' people') or tell_odd($want, @ids);
	is(join(', ', grep { $_ ne 'nonces' } sort keys %bad), '', "$what: nothing that must not be");
}

# ---- the first feed ----

add_contacts($node, 1200, channel => 'ads');
sql(q{UPDATE mktg.contact SET city = CASE WHEN contact_id <= 1000 THEN 'Pune' ELSE 'Delhi' END, birth_date = '1990-02-05', gender = 'female', country = 'IN'});
sql(q{UPDATE mktg.consent SET state = 'unsubscribed' WHERE contact_id % 10 = 0});
sql(<<"END");
CREATE SERVER meta FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'meta_audience', base_url '$base', timeout_ms '2000');
SELECT mktg.set_credential('meta', 'access_token', 'meta token'), mktg.set_credential('meta', 'app_secret', 'meta secret');
CREATE SERVER x FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'x_audience', base_url '$base', account 'acc1', timeout_ms '2000');
SELECT mktg.set_credential('x', 'consumer_key', 'ck'), mktg.set_credential('x', 'consumer_secret', 'cs'),
       mktg.set_credential('x', 'access_token', 'at'), mktg.set_credential('x', 'access_token_secret', 'as');
CREATE SERVER pixel FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'meta_conversions', base_url '$base', pixel '777', timeout_ms '2000');
SELECT mktg.set_credential('pixel', 'access_token', 'meta token');
SELECT mktg.set_sender('meta', 'meta', 'ads', max_attempts => 100), mktg.set_sender('x', 'x', 'ads', max_attempts => 100), mktg.set_sender('pixel', 'pixel', 'ads');
SELECT mktg.create_segment('Pune', '{"city": "Pune"}');
SELECT mktg.sync_segment(1, 'meta', '238');
END
in_step('the first feed', '238');
cmp_ok(scalar @sizes, '<', 20, 'in few requests: ' . join(' ', map { $_->[1] } @sizes));
is(sql(q{SELECT string_agg(DISTINCT status, ' ') FROM mktg.message}), 'sent', 'all are sent');

# ---- changes ----

sql(q{UPDATE mktg.contact SET city = 'Delhi' WHERE contact_id BETWEEN 1 AND 50; UPDATE mktg.contact SET city = 'Pune' WHERE contact_id BETWEEN 1001 AND 1050;
	SELECT mktg.unsubscribe(contact_id, 'ads') FROM mktg.contact WHERE contact_id BETWEEN 51 AND 100;
	UPDATE mktg.contact SET is_active = false WHERE contact_id BETWEEN 101 AND 150;
	DELETE FROM mktg.contact WHERE contact_id BETWEEN 151 AND 200;
	SELECT mktg.subscribe(contact_id, 'ads') FROM mktg.contact WHERE contact_id IN (210, 220, 230)});
@sizes = ();
in_step('who leaves, unsubscribes, is switched off or deleted', '238');
my ($deletes, $posts) = map { my $method = $_; scalar grep { $_->[0] eq $method } @sizes } qw(DELETE POST);
cmp_ok($deletes, '>=', 1, 'removals, apart from additions');
cmp_ok($deletes + $posts, '<=', 20, 'in few requests: ' . join(' ', map { "@$_" } @sizes));
sql(q{SELECT mktg.sync_segment(1, 'x', 'tw1', 'to X')});
in_step('a second advertiser', '238', 'tw1');

# ---- the provider fails, the server dies, and people come and go ----

srand(11);
for my $round (1 .. 12)
{
	stub_mode($stub, $round % 3 == 0 ? 'reset=1' : 'ok=3 reset=1 503=1 stall=1 garbage=1');
	my ($a, $b, $c) = map { 201 + int rand 950 } 1 .. 3;
	sql(qq{UPDATE mktg.contact SET city = CASE city WHEN 'Pune' THEN 'Delhi' ELSE 'Pune' END WHERE contact_id BETWEEN $a AND $a + 30;
		UPDATE mktg.consent SET state = CASE state WHEN 'subscribed' THEN 'unsubscribed' ELSE 'subscribed' END WHERE contact_id BETWEEN $b AND $b + 20;
		DELETE FROM mktg.contact WHERE contact_id BETWEEN $c AND $c + 2});
	usleep(int rand 900_000);
	sql('UPDATE mktg.outbox SET due = clock_timestamp() WHERE lease IS NULL AND attempt > 0');
	if ($round == 6)
	{
		ok(crash_restart($node), 'the server dies') or BAIL_OUT('the server does not come back');
	}
}
stub_mode($stub, 'ok=1');
wait_delivering($node);
in_step('after twelve rounds and a crash', '238', 'tw1');
is(sql(q{SELECT string_agg(DISTINCT status || coalesce(' ' || failure_reason, ''), ', ' ORDER BY status || coalesce(' ' || failure_reason, '')) FROM mktg.message
	WHERE status <> 'sent' AND failure_reason NOT IN ('superseded', 'unsubscribed', 'inactive')}), '', 'nothing failed, nothing is in doubt');
is_conserved($node, 'in the end');
are_counters_right($node, 'in the end');

# ---- credentials that are refused ----

stub_mode($stub, '401=1');
sql(q{UPDATE mktg.contact SET city = 'Pune' WHERE contact_id = 1});
wait_for_status($node, 'provider failures in the last hour', 'f', 'meta config: [0-9]+ .HTTP 401', 'postgres');
is(sql(q{SELECT count(*) > 0 FROM mktg.outbox}), 't', 'messages wait while a token is refused');
stub_mode($stub, 'ok=1');
sql(q{ALTER SERVER meta OPTIONS (SET timeout_ms '2100'); ALTER SERVER x OPTIONS (SET timeout_ms '2100')});
in_step('once it is not', '238', 'tw1');

# ---- paused, and over ----

sql('SELECT mktg.pause_campaign(1)');
my $before = join ' ', sort keys %{ $audience{238} };
sql(q{UPDATE mktg.contact SET city = 'Delhi' WHERE contact_id BETWEEN 250 AND 260});
in_step_x_alone();
is(join(' ', sort keys %{ $audience{238} }), $before, 'a paused sync stays as it is');
sql('SELECT mktg.resume_campaign(1)');
in_step('and goes on', '238', 'tw1');
sql(q{SELECT mktg.cancel_campaign(campaign_id) FROM mktg.campaign WHERE type = 'audience_sync'});
wait_sql($node, 'postgres', "SELECT count(*) = 0 FROM mktg.audience_sync");
is(sql(q{SELECT string_agg(name, ' ') FROM mktg.segment}), 'Pune', 'what syncs leave behind goes');

sub in_step_x_alone
{
	my $want = who_may();
	for (1 .. 600)
	{
		catch_up();
		last if !grep({ !$audience{tw1}{$_} } keys %$want) && !grep({ !$want->{$_} } keys %{ $audience{tw1} });
		usleep(50_000);
	}
}

# ---- conversions ----

sql(q{SELECT mktg.subscribe(contact_id, 'ads') FROM mktg.contact WHERE contact_id = 1; SELECT mktg.unsubscribe(2, 'ads')});
sql(q{BEGIN; SELECT mktg.send_conversion(1, 'Purchase', 'pixel', value => 500, event_id => 'undone'); ROLLBACK});
sql(q{BEGIN; INSERT INTO mktg.purchase (contact_id, external_id, amount) VALUES (1, 'o-1', 1999);
	SELECT mktg.send_conversion(1, 'Purchase', 'pixel', value => 1999, currency => 'EUR', event_id => 'o-1'); COMMIT});
sql(q{SELECT mktg.send_conversion(1, 'Purchase', 'pixel', value => 1999, currency => 'EUR', event_id => 'o-1'), mktg.send_conversion(2, 'Lead', 'pixel'),
	mktg.send_conversion(1, 'Lead', 'pixel', clock_timestamp() - interval '8 days', event_id => 'old'), mktg.send_conversion(1, 'Lead', 'pixel', event_id => 'lead')});
wait_drained($node);
catch_up();
is(join(' ', sort map { "$_->{event_name} $_->{event_id}" } @events), 'Lead lead Purchase o-1', 'conversions are reported once, in their transaction');
my ($purchase) = grep { $_->{event_id} eq 'o-1' } @events;
is_deeply($purchase->{custom_data}, { value => 19.99, currency => 'EUR' }, 'their value');
is_deeply([ @{ $purchase->{user_data} }{qw(em ge country)} ], [ [ sha256_hex('c1@example.com') ], [ sha256_hex('f') ], [ sha256_hex('in') ] ], 'and of whom');
is(sql(q{SELECT string_agg(ref || ' ' || m.status || ' ' || failure_reason, ', ' ORDER BY ref) FROM mktg.message m JOIN mktg.campaign USING (tenant_id, campaign_id)
	WHERE type = 'conversion' AND m.status <> 'sent' AND ref = 'old'}), 'old failed the event is older than the 7 days Meta takes', 'one that is too old fails alone');
is(sql(q{SELECT string_agg(m.status || ' ' || failure_reason, ', ') FROM mktg.message m JOIN mktg.campaign USING (tenant_id, campaign_id)
	WHERE type = 'conversion' AND contact_id = 2}), 'skipped unsubscribed', 'nothing without consent');
is(join(', ', grep { $_ ne 'nonces' } sort keys %bad), '', 'nothing that must not be');

stop_stub($stub);
$node->stop('fast');
done_testing();
