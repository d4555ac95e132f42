# The story: 10,000 contacts, a campaign of 250 a day, forty days with the real
# worker and the sandbox, and the counters equal a recount at every step.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $node = new_node('story');

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

sub fails_with
{
	my ($sql, $state, $what) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	return like($err, qr/ERROR:  $state:/, $what);
}

# rebuild_stats() finds nothing, and campaign_stats() is what count(*) says.
sub is_exact
{
	my ($what) = @_;
	are_counters_right($node, $what);
	my $differ = sql(<<'END');
SELECT string_agg(format('campaign %s: %s, counted %s', c.campaign_id, s, n), '; ')
  FROM mktg.campaign c, mktg.campaign_stats(c.campaign_id) s,
       LATERAL (SELECT count(*) AS total_target,
                       count(*) FILTER (WHERE status = 'pending') AS pending,
                       count(*) FILTER (WHERE status = 'queued') AS queued,
                       count(*) FILTER (WHERE status IN ('sent', 'delivered', 'read')) AS sent,
                       count(*) FILTER (WHERE status IN ('delivered', 'read')) AS delivered,
                       count(*) FILTER (WHERE status = 'read') AS read,
                       count(*) FILTER (WHERE status = 'failed') AS failed,
                       count(*) FILTER (WHERE status = 'bounced') AS bounced,
                       count(*) FILTER (WHERE status = 'skipped') AS skipped,
                       count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
                       count(*) FILTER (WHERE status = 'in_doubt') AS in_doubt,
                       count(unsubscribed_at) AS unsubscribed
                  FROM mktg.message m WHERE m.campaign_id = c.campaign_id) n
 WHERE (s.total_target, s.pending, s.queued, s.sent, s.delivered, s.read, s.failed, s.bounced,
        s.skipped, s.cancelled, s.in_doubt, s.unsubscribed) IS DISTINCT FROM n
END
	return is($differ, '', "$what: campaign_stats() equals count(*)");
}

# The worker has sent what may be sent, and the sandbox has reported on it.
sub wait_reported
{
	wait_sql($node, 'postgres', <<'END');
SELECT NOT EXISTS (SELECT FROM mktg.outbox)
   AND NOT EXISTS (SELECT FROM mktg.sandbox_message WHERE report IS NOT NULL AND reported_at IS NULL)
END
}

sub day
{
	my ($n) = @_;		# from 1
	return sql("SELECT date '2025-01-15' + $n - 1");
}

# ---- before ----

set_clock($node, '2025-01-14 10:00+00');
sql(q{ALTER SERVER mktg_sandbox OPTIONS (ADD seed '2025', ADD failed_rate '0.02', ADD bounced_rate '0.01',
                                        ADD delivered_rate '0.95', ADD read_rate '0.6')});
add_contacts($node, 10_000);
add_contacts($node, 300, from => 10_001, subscribed => 0);
sql(<<'END');
INSERT INTO mktg.consent (contact_id, channel, state, source)
SELECT contact_id, 'whatsapp', 'unsubscribed', 'test' FROM mktg.contact WHERE contact_id BETWEEN 10101 AND 10150;
INSERT INTO mktg.consent (contact_id, channel, source)
SELECT contact_id, 'whatsapp', 'test' FROM mktg.contact WHERE contact_id BETWEEN 10151 AND 10200;
SELECT mktg.suppress('whatsapp', phone, 'complaint') FROM mktg.contact WHERE contact_id BETWEEN 10151 AND 10200;
INSERT INTO mktg.contact (external_id, email) SELECT 'mail' || i, 'mail' || i || '@example.com' FROM generate_series(1, 100) i;
END

sql(q{SELECT mktg.create_template('new_year', 'whatsapp', body => 'Happy New Year, {{name}}')});
my $id = sql(q{SELECT mktg.create_campaign('New Year Sale 2025', 'whatsapp', 'new_year', daily_send_limit => 250)});
is(sql("SELECT * FROM mktg.add_all_contacts($id)"), '10000|0|250|50|100|0',
	'those who want it are added, the others are counted');
is_exact('added');

is(sql("SELECT * FROM mktg.activate_campaign($id, '2025-01-15')"), "$id|active|10000|250|40|2025-02-23",
	'forty days, the last batch on 2025-02-23');
is(sql(<<"END"), '40|40|2025-01-15|2025-02-23|250|250|10000|1|10000', 'the plan has 40 rows of 250');
SELECT count(*), count(DISTINCT send_date), min(send_date), max(send_date), min(batch_size), max(batch_size),
       sum(to_position - from_position + 1), min(from_position), max(to_position)
  FROM mktg.send_schedule WHERE campaign_id = $id
END
is(sql("SELECT string_agg(DISTINCT n::text, ',') || ' on ' || count(*) FROM (SELECT count(*) AS n FROM mktg.recipient WHERE campaign_id = $id GROUP BY scheduled_on) x"),
	'250 on 40', 'every recipient has a day');
is(sql('SELECT * FROM mktg.process_daily()'), '2025-01-14|0|0|0', 'nothing goes out before the first day');
fails_with(q{SELECT mktg.process_daily('2025-01-15')}, 'MK035', 'nor can a later day be processed');
is_exact('activated');

# ---- forty days ----

my @gone;					# who unsubscribed
my $side;					# the campaign that is cancelled

# Five recipients of the second day say stop.
sub unsubscribe_five
{
	@gone = split /\n/, sql(<<"END");
SELECT contact_id FROM mktg.recipient WHERE campaign_id = $id AND scheduled_on = '2025-01-16'
 ORDER BY position OFFSET 100 LIMIT 5
END
	is(sql(q{SELECT count(mktg.unsubscribe(c, 'whatsapp', reason => 'replied STOP')) FROM unnest(ARRAY[} . join(',', @gone) . ']) c'),
		'5', 'five unsubscribe before day 2');
	is_exact('unsubscribed');
}

# What waits stays while others pass, and goes out after resuming.
sub pause_and_resume
{
	my ($day) = @_;
	sql(q{SELECT mktg.set_sender('other', 'mktg_sandbox', 'whatsapp')});
	sql(q{UPDATE mktg.sender SET rate_per_second = 20 WHERE name = 'sandbox'});
	is(sql("SELECT * FROM mktg.process_daily('$day')"), "$day|1|250|0", "$day: the batch is queued");
	wait_sql($node, 'postgres', 'SELECT count(*) <= 240 FROM mktg.outbox');
	is(sql("SELECT mktg.pause_campaign($id)"), 'paused', "$day: paused while the batch is on its way");
	sql(q{UPDATE mktg.sender SET rate_per_second = NULL WHERE name = 'sandbox'});
	wait_sql($node, 'postgres', 'SELECT count(lease) = 0 FROM mktg.outbox');
	my $waiting = sql('SELECT count(*) FROM mktg.outbox');
	cmp_ok($waiting, '>', 0, "$day: $waiting messages wait");

	# with the next claims others go out
	for my $n (1 .. 3)
	{
		sql("SELECT mktg.send(1, 'new_year', channel => 'whatsapp', idempotency_key => 'passes-$n', sender => 'other')");
		wait_sql($node, 'postgres', "SELECT EXISTS (SELECT FROM mktg.sandbox_message WHERE ref LIKE '%passes-$n')");
	}
	is(sql("SELECT count(*) FROM mktg.outbox WHERE campaign_id = $id"), $waiting, "$day: they wait while others pass");
	is(sql('SELECT campaigns_processed, messages_queued FROM mktg.process_daily()'), '0|0', "$day: a paused campaign has no batch");
	is_exact("$day, paused");
	is_conserved($node, "$day, paused");
	is(sql("SELECT mktg.resume_campaign($id)"), 'active', "$day: resumed");
	is(sql("SELECT max(send_date) FROM mktg.send_schedule WHERE campaign_id = $id"), '2025-02-23', "$day: the plan stays");
}

# A campaign by e-mail that is cancelled on its second day.
sub start_side_campaign
{
	my ($day) = @_;
	sql(<<'END');
INSERT INTO mktg.consent (contact_id, channel, source)
SELECT contact_id, 'email', 'test' FROM mktg.contact WHERE contact_id BETWEEN 1 AND 300;
SELECT mktg.set_sender('side', 'mktg_sandbox', 'email');
END
	$side = add_campaign($node, name => 'Side', channel => 'email', subject => 'Sale', sender => 'side',
		limit => 100, where => 'contact_id <= 300');
	sql("SELECT mktg.activate_campaign($side, '$day')");
}

sub cancel_side_campaign
{
	my ($day) = @_;
	is(sql("SELECT mktg.cancel_campaign($side)"), 'cancelled', "$day: the side campaign is cancelled");
	wait_sql($node, 'postgres', "SELECT NOT EXISTS (SELECT FROM mktg.outbox WHERE campaign_id = $side)");
	my $sent = sql("SELECT count(*) FROM mktg.sandbox_message WHERE campaign_id = $side");
	cmp_ok($sent, '<', 200, "$day: $sent of 300 had been sent");
	is(sql("SELECT status, pending, queued, sent + failed + bounced, cancelled FROM mktg.campaign_stats($side)"),
		"cancelled|0|0|$sent|" . (300 - $sent), "$day: the rest is cancelled");
	is(sql("SELECT status FROM mktg.send_schedule WHERE campaign_id = $side ORDER BY send_date"),
		"dispatched\ndispatched\ncancelled", "$day: and so is its plan");
	fails_with("SELECT mktg.resume_campaign($side)", 'MK033', "$day: it cannot be resumed");
	fails_with("SELECT mktg.activate_campaign($side)", 'MK033', "$day: nor activated");
	fails_with("UPDATE mktg.campaign SET status = 'active' WHERE campaign_id = $side", 'MK033', "$day: nor updated");
	is_exact("$day, cancelled");
}

for my $n (1 .. 40)
{
	my $day = day($n);
	my $skipped = $n == 2 ? 5 : 0;
	my $queued = 250 - $skipped;

	unsubscribe_five() if $n == 2;
	set_clock($node, "$day 09:00+00");
	start_side_campaign($day) if $n == 4;
	if ($n == 20)
	{
		pause_and_resume($day);
	}
	elsif ($n == 4 || $n == 5)
	{
		sql(q{UPDATE mktg.sender SET rate_per_second = 20 WHERE name = 'side'}) if $n == 5;
		is(sql("SELECT * FROM mktg.process_daily('$day')"), "$day|2|350|0", "$day: the batches of two campaigns are queued");
		cancel_side_campaign($day) if $n == 5;
	}
	else
	{
		is(sql("SELECT * FROM mktg.process_daily('$day')"), "$day|1|$queued|$skipped", "$day: the batch is queued");
	}
	is(sql("SELECT * FROM mktg.process_daily('$day')"), "$day|0|0|0", "$day: once");
	wait_reported();
	is(sql(<<"END"), "250|$queued|$skipped|0|t", "$day: all of the batch has an outcome");
SELECT planned, sent + failed + bounced, skipped, pending, sent > 200
  FROM mktg.campaign_daily d, LATERAL (SELECT d.queued + d.remaining + d.in_doubt + d.cancelled AS pending) p
 WHERE campaign_id = $id AND day = '$day'
END
	is(sql("SELECT count(*), count(*) FILTER (WHERE outcome = 'sent') FROM mktg.sandbox_message WHERE campaign_id = $id"),
		sql("SELECT sent + failed + bounced, sent FROM mktg.campaign_stats($id)"),
		"$day: the provider has seen the same");
	is_conserved($node, $day);
	is_exact($day);
	is(sql("SELECT status FROM mktg.campaign WHERE campaign_id = $id"), 'active', "$day: there is more to come") if $n < 40;
}

# ---- after ----

wait_sql($node, 'postgres', "SELECT status = 'completed' FROM mktg.campaign WHERE campaign_id = $id");
is(sql(<<"END"), 'completed|10000|0|0|9995|5|0|0|100.00|2025-02-23', 'after the last day the campaign is completed');
SELECT status, total_target, pending, queued, sent + failed + bounced, skipped, cancelled, in_doubt,
       progress_percentage, estimated_completion_date FROM mktg.campaign_stats($id)
END
is(sql("SELECT ended_at AT TIME ZONE 'UTC' FROM mktg.campaign WHERE campaign_id = $id"), '2025-02-23 09:00:00', 'on that day');
is(sql("SELECT string_agg(contact_id::text, ' ' ORDER BY position) FROM mktg.recipient WHERE campaign_id = $id AND status = 'skipped'"),
	"@gone", 'who unsubscribed is skipped');
is(sql("SELECT count(*) FROM mktg.sandbox_message WHERE campaign_id = $id AND contact_id IN (" . join(',', @gone) . ')'),
	'0', 'and nothing was sent to them');
is(sql(<<"END"), '9995|9995|1|40|0', 'everybody else was written to once');
SELECT count(*), count(DISTINCT address), max(attempt), count(DISTINCT sent_at::date),
       count(*) FILTER (WHERE body <> 'Happy New Year, Contact ' || contact_id)
  FROM mktg.sandbox_message WHERE campaign_id = $id
END
is(sql(<<"END"), '40|250|250', 'on each of the forty days');
SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM mktg.message WHERE campaign_id = $id GROUP BY send_day) x
END
is(sql("SELECT count(*) FROM mktg.sandbox_message s LEFT JOIN mktg.message m USING (tenant_id, campaign_id, contact_id, ref) WHERE m.status <> CASE WHEN s.outcome = 'sent' THEN coalesce(s.report, 'sent') ELSE s.outcome END"),
	'0', 'every message has the status its provider told');
is(sql(<<"END"), 't|t|t|t', 'at the rates of the sandbox');
SELECT failed BETWEEN 150 AND 250, bounced BETWEEN 65 AND 135, delivery_rate BETWEEN 0.94 AND 0.96, read_rate BETWEEN 0.58 AND 0.62
  FROM mktg.campaign_stats($id)
END
is(sql("SELECT count(*) FROM mktg.suppression WHERE channel = 'whatsapp' AND reason = 'hard_bounce'"),
	sql("SELECT bounced FROM mktg.campaign_stats($id)"), 'what bounced is suppressed');
fails_with("SELECT mktg.pause_campaign($id)", 'MK033', 'a completed campaign cannot be paused');
is(sql('SELECT * FROM mktg.process_daily()'), '2025-02-23|0|0|0', 'nothing is left to do');
is_exact('at the end');

$node->stop('fast');
done_testing();
