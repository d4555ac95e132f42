# Incremental equals full: random writes and moves of time, and after each
# refresh_dirty() a rebuild of all segments finds nobody to let in or out.
#
# MKTG_SEED repeats a run, MKTG_ROUNDS makes it longer.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use MktgSession;
use MktgTest;

my $seed = $ENV{MKTG_SEED} // 20260308;
my $rounds = $ENV{MKTG_ROUNDS} // 2000;
srand($seed);
diag("seed $seed, $rounds rounds");

my $node = new_node('incremental', installed => 0, config => 'mktg.databases = \'\'');
$node->safe_psql('postgres', 'CREATE EXTENSION mktg; SELECT mktg.install()');
my $session = MktgSession->new($node);

sub any { return $_[ int rand @_ ] }
sub chance { return rand() < $_[0] }

# ---- what there is at first ----

$session->sql(<<'END');
SET client_min_messages = warning;
UPDATE mktg.tenant SET time_zone = 'America/New_York' WHERE tenant_id = 1;
INSERT INTO mktg.tenant (tenant_id, name, time_zone, currency) VALUES (2, 'other', 'Asia/Kolkata', 'INR');
CREATE SCHEMA hotel;
CREATE TABLE hotel.stay (stay int PRIMARY KEY, guest text, night date, begun timestamp, price numeric, paid boolean, left_on date);
INSERT INTO mktg.contact (contact_id, external_id, city, created_at) SELECT i, 'g' || i, 'Berlin', '2025-06-01' FROM generate_series(1, 25) i;
INSERT INTO mktg.contact (tenant_id, contact_id, external_id, city, created_at) SELECT 2, i, 'g' || i, 'Berlin', '2025-06-01' FROM generate_series(1, 10) i;
SELECT setval('mktg.contact_contact_id_seq', 1000);
INSERT INTO mktg.campaign (tenant_id, campaign_id, name, channel) SELECT t, c, 'c' || c, 'email' FROM generate_series(1, 2) t, generate_series(1, 3) c;
SELECT mktg.map_source('stay', 'hotel.stay', 'guest', 'begun', 'external_id', tenant => t) FROM generate_series(1, 2) t;
SELECT mktg.map_source('night', 'hotel.stay', 'guest', 'night', 'external_id');
SELECT mktg.define_field('stay.' || name, 'stay', expression, type, tenant => t) FROM generate_series(1, 2) t, (VALUES
    ('count', 'count(*)', 'number'), ('sum', 'sum(price)', 'number'), ('price', 'price', 'number'), ('max', 'max(price)', 'number'), ('paid', 'bool_or(paid)', 'boolean'),
    ('begun', 'begun', 'timestamp'), ('last', 'max(begun)', 'timestamp'), ('leftOn', 'left_on', 'date'), ('lastLeft', 'max(left_on)', 'date')) AS f (name, expression, type);
SELECT mktg.define_field('night.count', 'night', 'count(*)', 'number'), mktg.define_field('night.price', 'night', 'price', 'number');
SELECT mktg.load_segment_catalog();
SELECT mktg.create_segment('static ' || i, kind => 'static') FROM generate_series(1, 2) i;
END

sub days { return any(1, 2, 7, 30, 30, 60, 90, 0.5, 1.25) }
sub number { return any(0, 1, 2, 3) }
sub moment { return '"' . any('now', '-1 day', '-7 days', '-30 days', '+6 hours', '-12 hours', '-90 minutes', 'today', 'yesterday', 'tomorrow', '-1 month', '-2 months', '2026-03-08', '2026-04-01') . '"' }
sub day_op { return any('WITHIN_LAST', 'NOT_WITHIN_LAST') }
sub compare { return any('=', '!=', '>', '<', '>=', '<=') }
sub order { return any('>', '<', '>=', '<=', 'BEFORE', 'AFTER', '=', '!=') }
sub stages { return join ', ', map { "\"$_\"" } map { any('New', 'Active', 'Engaged', 'At-Risk', 'Churned', 'Reactivated') } 1 .. 2 }
sub within { return chance(0.7) ? ', "within_days": ' . days() : '' }

# Rules as text; most of them change their minds with time.
my @leaves = (
	sub { my ($op, $n) = (compare(), number()); my $f = any('booking.frequency', 'event.count', 'cart.count', 'stay.count', 'engagement.opens', 'engagement.clicks', 'customer.orderCount'); "{\"field\": \"$f\", \"operator\": \"$op\", \"value\": $n" . within() . '}' },
	sub { my $f = any('booking.at', 'event.at', 'cart.updatedAt', 'cart.abandonedAt', 'customer.createdAt', 'customer.lastOrderAt', 'customer.firstOrderAt', 'event.lastAt', 'engagement.lastOpenAt', 'stay.begun', 'stay.last', 'stay.leftOn', 'stay.lastLeft', 'customer.birthDate', 'customer.attributes.when');
		$f =~ /when/ || chance(0.5) ? "{\"field\": \"$f\", \"operator\": \"" . day_op() . '", "value": ' . days() . '}' : "{\"field\": \"$f\", \"operator\": \"" . order() . '", "value": ' . moment() . ($f =~ /^(?:booking|event|cart|stay)/ ? within() : '') . '}' },
	sub { '{"field": "customer.daysSinceLastOrder", "operator": "' . compare() . '", "value": ' . any(0, 1, 7, 29.5, 30, 90) . '}' },
	sub { '{"field": "customer.lifecycleStage", "operator": "' . any('IN', 'NOT_IN') . '", "value": [' . stages() . ']' . within() . '}' },
	sub { '{"field": "customer.lifecycleStage", "operator": "' . any('STARTS_WITH', 'CONTAINS', '>', '<=') . '", "value": "' . any('A', 'Ch', 'New', 'i') . '"}' },
	sub { '{"field": "customer.totalSpend", "operator": "' . compare() . '", "value": ' . any(0, 10, 50, 50.5) . within() . '}' },
	sub { '{"field": "booking.amount", "operator": ">", "value": ' . any(0, 10, 20) . within() . ', "where": {"field": "booking.channel", "operator": "' . any('=', '!=') . '", "value": "web"}}' },
	sub { '{"field": "' . any('stay.sum', 'stay.max', 'stay.price', 'night.price') . '", "operator": "' . compare() . '", "value": ' . any(0, 10, 20.5) . within() . '}' },
	sub { '{"field": "night.count", "operator": "' . compare() . '", "value": ' . number() . within() . '}' },
	sub { '{"field": "stay.paid", "value": ' . any('true', 'false') . within() . '}' },
	sub { '{"field": "customer.age", "operator": "' . compare() . '", "value": ' . any(35, 36) . '}' },
	sub { '{"field": "' . any('customer.birthdayThisMonth', 'customer.anniversaryThisMonth') . '", "value": ' . any('true', 'false') . '}' },
	sub { '{"field": "' . any('consent.email', 'consent.sms') . '", "value": ' . any('true', 'false') . '}' },
	sub { '{"field": "customer.city", "operator": "' . any('=', '!=') . '", "value": "Berlin"}' },
	sub { '{"field": "customer.tags", "operator": "CONTAINS", "value": "vip"}' },
	sub { '{"field": "customer.rfmSegment", "operator": "' . any('IN', 'NOT_IN') . '", "value": ["Champions", "Lost"]}' },
	sub { '{"field": "engagement.openRate", "operator": ">=", "value": 0.5' . within() . '}' },
	sub { '{"segment": "static ' . any(1, 2) . '"' . (chance(0.3) ? ', "not": true' : '') . '}' },
	sub { '{"segment": "' . any('At-Risk Customers', 'Abandoned Cart', 'New Customers') . '"}' },
	sub { '{"attended_in_last_days": ' . days() . ', "price_ceiling": ' . any(1000, 2000) . '}' },
	sub { any('{"hasPurchasedInLast30Days": true}', '{"hasTickets": false}', '{"lifecycle_stage": "Active", "min_order_count": 2}') });

sub rules
{
	return any(@leaves)->() if chance(0.5);
	return '{"logic": "' . any('AND', 'OR') . '", "not": ' . any('true', 'false', 'false') . ', "rules": [' . join(', ', map { any(@leaves)->() } 1 .. any(2, 3)) . ']}';
}

sub quote { return "'" . $_[0] =~ s/'/''/gr . "'" }

for my $n (1 .. 40)
{
	# each kind of leaf is there at least once
	my $rules = $n <= @leaves ? $leaves[ $n - 1 ]->() : rules();
	$session->sql("SELECT mktg.create_segment('random $n', " . quote($rules) . ')');
}
# The other tenant has one segment alone, another every few rounds: there no other
# one's flips stand in for those it may lack.
my $next_leaf = 0;
sub single_rules
{
	my $rules = $leaves[ $next_leaf++ % @leaves ]->();
	return $rules =~ /segment|night/ ? single_rules() : $rules;
}
$session->sql("SELECT mktg.create_segment('single', " . quote(single_rules()) . ', tenant => 2)');

# ---- writes ----

my $at;		# the instant, as SQL writes it

# An instant near the present one, often a whole number of days before it.
sub time_near
{
	my $days = any(0, 0, 1, 1, 2, 7, 7, 30, 30, 60, 90, 180, 181, -1, -2);
	my $more = any('', '', " + interval '1 us'", " - interval '1 us'", " + interval '5 hours'", " - interval '37 minutes'");
	return "(timestamptz '$at' - interval '" . 24 * $days . " hours'$more)";
}
sub maybe_time { return chance(0.3) ? 'NULL' : time_near() }
sub contact { return 1 + int rand 28 }
sub guest { return chance(0.05) ? 'NULL' : "'g" . contact() . "'" }
sub tenant { return chance(0.6) ? 1 : 2 }
sub some_contacts { return 'contact_id IN (' . join(', ', map { contact() } 1 .. any(1, 1, 2, 4)) . ')' }
sub zoned { return '(' . time_near() . " AT TIME ZONE 'America/New_York')" }

my $purchase = 0;
my $stay = 0;
my $new_contact = 100;
my @writes = (
	sub { 'INSERT INTO mktg.purchase (tenant_id, contact_id, amount, channel, placed_at) VALUES ' . join ', ', map { '(' . tenant() . ', ' . contact() . ', ' . any(100, 1000, 2000, 5000) . ', ' . any("'web'", "'agent'", 'NULL') . ', ' . time_near() . ')' } 1 .. any(1, 1, 2, 5) },
	sub { 'UPDATE mktg.purchase SET placed_at = ' . time_near() . ', amount = amount + ' . any(0, 1, -50) . ' WHERE ' . some_contacts() },
	sub { 'UPDATE mktg.purchase SET contact_id = ' . contact() . ' WHERE ' . some_contacts() . ' AND tenant_id = ' . tenant() },
	sub { 'DELETE FROM mktg.purchase WHERE ' . some_contacts() },
	sub { $purchase = any(1 .. 40); "INSERT INTO mktg.purchase (purchase_id, contact_id, amount, placed_at) VALUES (100000 + $purchase, " . contact() . ', 1000, ' . time_near() . ') ON CONFLICT (tenant_id, purchase_id) DO ' . any('NOTHING', 'UPDATE SET contact_id = excluded.contact_id, placed_at = excluded.placed_at') },
	sub { "WITH gone AS (DELETE FROM mktg.purchase WHERE contact_id = " . contact() . ' RETURNING tenant_id, amount, placed_at) INSERT INTO mktg.purchase (tenant_id, contact_id, amount, placed_at) SELECT tenant_id, ' . contact() . ', amount, placed_at FROM gone' },
	sub { 'MERGE INTO mktg.purchase p USING (VALUES (' . contact() . '::bigint), (' . contact() . ')) AS v (c) ON p.contact_id = v.c AND p.tenant_id = 1 AND p.amount = ' . any(1000, 5000) . ' WHEN MATCHED AND p.channel IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET placed_at = ' . time_near() . ' WHEN NOT MATCHED THEN INSERT (contact_id, amount, placed_at) VALUES (v.c, 1000, ' . time_near() . ')' },
	sub { 'INSERT INTO mktg.event (tenant_id, contact_id, name, occurred_at) SELECT ' . tenant() . ', ' . contact() . " + i, 'view', " . time_near() . ' FROM generate_series(0, ' . any(0, 0, 3) . ') i' },
	sub { 'UPDATE mktg.event SET occurred_at = ' . time_near() . ' WHERE ' . some_contacts() },
	sub { 'DELETE FROM mktg.event WHERE ' . some_contacts() },
	sub { 'INSERT INTO mktg.cart (tenant_id, contact_id, updated_at, abandoned_at) VALUES (' . tenant() . ', ' . contact() . ', ' . time_near() . ', ' . maybe_time() . ')' },
	sub { 'UPDATE mktg.cart SET abandoned_at = ' . maybe_time() . ', recovered_at = ' . maybe_time() . ', updated_at = ' . time_near() . ' WHERE ' . some_contacts() },
	sub { 'DELETE FROM mktg.cart WHERE ' . some_contacts() },
	sub { 'INSERT INTO mktg.consent (tenant_id, contact_id, channel, topic, state) SELECT tenant_id, contact_id, ' . any("'email'", "'sms'") . ', ' . any("'marketing'", "'news'") . ', ' . any("'subscribed'", "'unsubscribed'") . ' FROM mktg.contact WHERE ' . some_contacts() . ' ON CONFLICT (tenant_id, contact_id, channel, topic) DO UPDATE SET state = excluded.state' },
	sub { 'DELETE FROM mktg.consent WHERE ' . some_contacts() },
	sub { 'INSERT INTO mktg.message (campaign_id, contact_id, status, sent_at) VALUES (' . any(1, 2, 3) . ', ' . contact() . ", 'sent', " . time_near() . ') ON CONFLICT DO NOTHING' },
	sub { 'UPDATE mktg.message SET ' . any("status = 'delivered', delivered_at = " . time_near(), 'opened_at = ' . maybe_time(), 'clicked_at = ' . maybe_time(), 'sent_at = ' . maybe_time(), "failure_reason = 'x'") . ' WHERE ' . some_contacts() },
	sub { 'DELETE FROM mktg.message WHERE ' . some_contacts() },
	sub { "SELECT mktg.score_rfm(at => '$at')" },
	sub { $stay++; my $day = zoned() . '::date'; "INSERT INTO hotel.stay SELECT $stay, " . guest() . ", $day, " . zoned() . ', ' . any(10, 20, -5, 'NULL') . ', ' . any('true', 'false', 'NULL') . ", $day" },
	sub { 'UPDATE hotel.stay SET ' . any('guest = ' . guest(), 'begun = ' . zoned(), 'price = price + 1', 'night = ' . zoned() . '::date', 'left_on = ' . zoned() . '::date', 'paid = NOT paid') . ' WHERE stay % 5 = ' . any(0 .. 4) },
	sub { 'DELETE FROM hotel.stay WHERE stay % 7 = ' . any(0 .. 6) },
	sub { any('TRUNCATE hotel.stay', 'TRUNCATE mktg.purchase', 'TRUNCATE mktg.event', 'TRUNCATE mktg.cart', 'TRUNCATE mktg.message', 'TRUNCATE mktg.consent') },
	sub { $new_contact++; "INSERT INTO mktg.contact (tenant_id, contact_id, external_id, city, created_at, birth_date) VALUES (" . tenant() . ', ' . any(contact(), $new_contact, 26 .. 28) . ', ' . any('NULL', "'n$new_contact'", "'g" . any(26 .. 28) . "'") . ", 'Berlin', " . time_near() . ", '1990-03-" . any('08', '09', '31') . "') ON CONFLICT DO NOTHING" },
	sub { 'UPDATE mktg.contact SET ' . any("city = 'Paris'", "city = 'Berlin'", "tags = '{vip}'", "tags = '{}'", 'created_at = ' . time_near(), "birth_date = (" . zoned() . "::date - interval '" . any(35, 36) . " years')::date", "is_active = NOT is_active",
		"attributes = jsonb_build_object('when', " . time_near() . '::text' . " || '')", "attributes = jsonb_build_object('when', to_char(" . time_near() . " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))") . ' WHERE ' . some_contacts() },
	sub { 'UPDATE mktg.contact SET external_id = ' . any('NULL', "'g" . any(29 .. 40) . "'", "'s$new_contact' || contact_id") . ' WHERE contact_id = ' . contact() },
	sub { 'DELETE FROM mktg.contact WHERE ' . some_contacts() . ' AND tenant_id = ' . tenant() },
	sub { "INSERT INTO mktg.contact (tenant_id, contact_id, external_id, city, created_at) SELECT t, i, 'g' || i, 'Berlin', " . time_near() . ' FROM generate_series(1, 2) t, generate_series(1, 15) i ON CONFLICT DO NOTHING' },
	sub { 'UPDATE mktg.contact SET contact_id = ' . any(29 .. 33) . ' WHERE tenant_id = 1 AND contact_id = ' . contact() . ' AND NOT EXISTS (SELECT FROM mktg.consent c WHERE c.contact_id = contact.contact_id)' },
	sub { 'SELECT mktg.' . any('add_to_segment', 'remove_from_segment') . "(segment_id, '{" . join(',', map { contact() } 1 .. any(1, 3)) . "}') FROM mktg.segment WHERE name = 'static " . any(1, 2) . "' AND tenant_id = 1" });

sub copy
{
	return "COPY mktg.event (contact_id, name, occurred_at) FROM PROGRAM 'printf \"" . join('', map { contact() . "\\tview\\t$at\\n" } 1 .. any(1, 3)) . "\"'";
}

# What takes much away is rare, what fills a contact's life is not.
my @bag = map { my $text = $_->(); ($_) x ($text =~ /TRUNCATE|DELETE FROM mktg.contact/ ? 1 : $text =~ /INSERT INTO (?:mktg.purchase \(tenant|hotel)/ ? 12 : 5) } do { $at = '2026-02-27 18:00:00+00'; @writes };

# One statement or a transaction of some; what fails undoes itself.
sub write_something
{
	my $kind = rand();
	my $one = sub { return any(@bag)->() . ';' };
	return copy() if $kind < 0.04;
	return 'BEGIN; ' . $one->() . ' SAVEPOINT a; ' . $one->() . $one->() . ' ROLLBACK TO a; ' . (chance(0.6) ? $one->() : '') . any('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK') if $kind < 0.14;
	return 'BEGIN; ' . join('', map { $one->() } 1 .. any(2, 3)) . any('COMMIT', 'COMMIT', 'ROLLBACK') if $kind < 0.24;
	return "SELECT mktg.update_segment(segment_id, " . quote(rules()) . ") FROM mktg.segment WHERE tenant_id = 1 AND name = 'random " . any(1 .. 40) . "'" if $kind < 0.26;
	return "SELECT mktg.update_segment(segment_id, " . quote(rules()) . ") FROM mktg.segment WHERE tenant_id = 1 AND name = '" . any('At-Risk Customers', 'Abandoned Cart') . "'" if $kind < 0.265;
	return "SELECT mktg.refresh_segment(segment_id, '$at') FROM mktg.segment WHERE tenant_id = 1 AND name = 'random " . any(1 .. 40) . "'" if $kind < 0.28;
	return $one->();
}

# ---- time ----

# Forwards: to what is due next or right before, over a midnight, by any length.
sub move
{
	my $due = "SELECT least((SELECT min(due) FROM mktg.segment_due WHERE tenant_id = " . any(1, 2) . " AND due > '$at'), (SELECT min(calendar_due) FROM mktg.segment WHERE tenant_id = 1 AND calendar_due > '$at'))";
	my $kind = rand();
	my $to = $kind < 0.35 ? $due
	  : $kind < 0.5 ? "SELECT greatest(($due) - interval '1 us', timestamptz '$at')"
	  : $kind < 0.65 ? "SELECT (date_trunc('day', timestamptz '$at', 'America/New_York') + interval '1 day')" . any('', " - interval '1 us'", " + interval '1 us'")
	  : "SELECT timestamptz '$at' + interval '" . any('1 us', '1 minute', '17 minutes', '1 hour', '5 hours', '12 hours', '1 day', '1 day', '2 days', '7 days', $kind > 0.98 ? '31 days' : '3 hours') . "'";
	$at = $session->sql("SELECT coalesce(($to), timestamptz '$at' + interval '1 day')");
}

# ---- the rounds ----

# from the winter's last days over the night without two o'clock
$session->sql("SET timezone = 'UTC'");
$at = '2026-02-27 18:00:00+00';
$session->sql('SELECT mktg.keep_segment_history(segment_id, tenant => tenant_id) FROM mktg.segment');
$session->sql("SELECT count(*) FROM mktg.refresh_segments('$at')");
$session->sql("SELECT count(*) FROM mktg.refresh_segments('$at', 2)");

my ($failures, $moved, $failed_writes, $changes) = (0, 0, 0, 0);
for my $round (1 .. $rounds)
{
	my @done;
	# now and then the year begins anew, and all is made whole
	if ($round % 400 == 0)
	{
		$at = any('2026-02-27 18:00:00+00', '2026-10-30 03:00:00+00', '2027-12-30 12:00:00+00', '2028-02-27 00:00:00+00');
		$session->sql("SELECT count(*) FROM mktg.refresh_segments('$at', $_)") for 1, 2;
	}
	if (chance(0.45))
	{
		my $from = $at;
		move();
		push @done, "$from to $at";
		$moved++;
	}
	for (1 .. any(0, 1, 1, 1, 2, 3))
	{
		my $write = write_something();
		push @done, $write;
		my $answer = $session->ask($write);
		$session->ask('ROLLBACK') if $write =~ /^BEGIN/;
		$failed_writes++ if $answer =~ /ERROR/;
		push @done, "  $answer" if $answer =~ /ERROR/;
	}
	my $limited = chance(0.1);
	my $looked = $session->ask('SELECT mktg.refresh_dirty(' . ($limited ? any(1, 3) : 'NULL') . ", '$at')");
	for (1 .. 200)
	{
		last if !$limited || $looked !~ /^[1-9]\d*$/;
		$looked = $session->ask("SELECT mktg.refresh_dirty(3, '$at')");
	}
	$session->sql("SELECT mktg.update_segment(segment_id, " . quote(single_rules()) . ", 2) FROM mktg.segment WHERE tenant_id = 2") if $round % 20 == 0;
	$looked .= $session->ask("SELECT ':' || mktg.refresh_dirty(at => '$at', tenant => 2)");
	my $wrong = '';
	$wrong .= $session->ask(<<"END") for 1, 2;
BEGIN;
SELECT string_agg(format('%s: size %s, has %s', s.name, s.size, n), '; ') FROM mktg.segment s, LATERAL (SELECT count(*) AS n FROM mktg.segment_member m WHERE m.tenant_id = s.tenant_id AND m.segment_id = s.segment_id) m WHERE s.tenant_id = $_ AND s.size <> n;
CREATE TEMP TABLE was ON COMMIT DROP AS SELECT segment_id, contact_id FROM mktg.segment_member WHERE tenant_id = $_;
CREATE TEMP TABLE full_refresh ON COMMIT DROP AS SELECT * FROM mktg.refresh_segments('$at', $_);
SELECT format('tenant %s, %s: %s entered, %s exited', $_, name, entered, exited), rules,
    (SELECT string_agg(format('%s: %s', coalesce(a.contact_id, b.contact_id), CASE WHEN a.contact_id IS NULL THEN 'missing' ELSE 'too many' END), ', ')
       FROM (SELECT * FROM was WHERE was.segment_id = f.segment_id) a FULL JOIN (SELECT contact_id FROM mktg.segment_member m WHERE m.tenant_id = $_ AND m.segment_id = f.segment_id) b USING (contact_id)
      WHERE a.contact_id IS NULL OR b.contact_id IS NULL)
  FROM full_refresh f JOIN mktg.segment s USING (segment_id, name) WHERE s.tenant_id = $_ AND f.entered + f.exited > 0;
ROLLBACK
END
	$wrong =~ s/\n+/\n/g;
	$wrong = '' if $wrong eq "\n";
	if ($wrong ne '' || $looked !~ /^\d+(?::\d+)?$/)
	{
		$failures++;
		diag("round $round, at $at:\n  " . join("\n  ", @done) . "\nrefresh_dirty: $looked\n$wrong") if $failures <= 8;
		last if $failures >= 30;
		$session->ask("SELECT count(*) FROM mktg.refresh_segments('$at', $_)") for 1, 2;
	}
}
is($failures, 0, "after each of $rounds rounds a rebuild changes nothing");
cmp_ok($moved, '>', $rounds / 4, 'time moved');
cmp_ok($failed_writes, '<', $rounds / 10, 'most writes worked');
is($session->sql(<<'END'), '', 'who entered and has not exited is a member');
SELECT tenant_id, segment_id, contact_id, h.n AS entered, m.n AS member FROM (SELECT tenant_id, segment_id, contact_id, sum(CASE change WHEN 'entered' THEN 1 ELSE -1 END) AS n FROM mktg.segment_change JOIN mktg.segment USING (tenant_id, segment_id) WHERE kind = 'dynamic' GROUP BY 1, 2, 3) h
  FULL JOIN (SELECT *, 1 AS n FROM mktg.segment_member JOIN mktg.segment USING (tenant_id, segment_id) WHERE kind = 'dynamic') m USING (tenant_id, segment_id, contact_id)
 WHERE coalesce(h.n, 0) <> coalesce(m.n, 0) LIMIT 20
END
cmp_ok($session->sql("SELECT count(*) FROM (SELECT FROM mktg.segment_change WHERE tenant_id = 1 GROUP BY segment_id HAVING count(*) FILTER (WHERE change = 'exited') > 20) s"), '>', 15,
	'many segments had much to do');
$session->end;
$node->stop('fast');
done_testing();
