# The differential test of rules: thousands of random trees over clustered data,
# each answered by an evaluator written here over rows fetched once, by the
# statement (matches(), why_segment(), estimate_segment()) and by the pass
# (refresh_segments()), with and without parallel workers.  All must agree.
#
# MKTG_SEED repeats a run, MKTG_TREES makes it longer.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Encode qw(encode_utf8);
use List::Util qw(max min sum0 uniq);
use POSIX qw(ceil floor mktime);
use Test::More;
use MktgSession;
use MktgTest;

my $seed = $ENV{MKTG_SEED} // 20260310;
my $trees = $ENV{MKTG_TREES} // 6000;
my $batch_size = 50;
srand($seed);
diag("seed $seed, $trees trees");

my $DAY = 86_400_000_000;
my $FOREVER = 9_000_000_000_000_000_000;

my $node = new_node('rules', extra => [ '--locale=C', '--encoding=UTF8' ], installed => 0, config => 'mktg.databases = \'\'');
$node->safe_psql('postgres', 'CREATE EXTENSION mktg; SELECT mktg.install()');
my $session = MktgSession->new($node);

# ---- chance ----

sub any { return $_[ int rand @_ ] }
sub chance { return rand() < $_[0] }
sub some { my ($n, @of) = @_; return map { any(@of) } 1 .. $n }

# ---- JSON with types: a plain scalar is a string ----

sub num { return bless { text => "$_[0]" }, 'Num' }
sub bool { return bless { is => $_[0] ? 1 : 0 }, 'Bool' }

sub to_json
{
	my ($x) = @_;
	return '{' . join(', ', map { to_json("$_") . ': ' . to_json($x->{$_}) } sort keys %$x) . '}' if ref $x eq 'HASH';
	return '[' . join(', ', map { to_json($_) } @$x) . ']' if ref $x eq 'ARRAY';
	return $x->{text} if ref $x eq 'Num';
	return $x->{is} ? 'true' : 'false' if ref $x eq 'Bool';
	return 'null' if !defined $x;
	my $s = "$x";
	$s =~ s/(["\\])/\\$1/g;
	return "\"$s\"";
}

sub quote
{
	my ($s) = @_;
	return 'NULL' if !defined $s;
	$s =~ s/'/''/g;
	return "'$s'";
}

# ---- time ----

my %zone_of = (1 => 'America/New_York', 2 => 'Asia/Kolkata');
my %exponent_of = (1 => 2, 2 => 0);
my %currency_of = (1 => 'USD', 2 => 'JPY');
my $zone = '';

sub in_zone
{
	my ($name) = @_;
	return if $zone eq $name;
	$zone = $name;
	$ENV{TZ} = $name;
	POSIX::tzset();
}

# microseconds since 1970; days are numbers of days since 1970
sub seconds { return floor($_[0] / 1_000_000) }
sub local_day
{
	my @t = localtime(seconds($_[0]));
	return days_from_civil($t[5] + 1900, $t[4] + 1, $t[3]);
}
sub midnight
{
	my ($y, $m, $d) = civil_from_days($_[0]);
	return mktime(0, 0, 0, $d, $m - 1, $y - 1900, 0, 0, -1) * 1_000_000;
}
sub local_instant
{
	my ($y, $m, $d, $h, $min) = @_;
	return mktime(0, $min, $h, $d, $m - 1, $y - 1900, 0, 0, -1) * 1_000_000;
}

sub days_from_civil
{
	my ($y, $m, $d) = @_;
	$y-- if $m <= 2;
	my $era = floor($y / 400);
	my $yoe = $y - $era * 400;
	my $doy = int((153 * ($m + ($m > 2 ? -3 : 9)) + 2) / 5) + $d - 1;
	my $doe = $yoe * 365 + int($yoe / 4) - int($yoe / 100) + $doy;
	return $era * 146_097 + $doe - 719_468;
}

sub civil_from_days
{
	my ($z) = @_;
	$z += 719_468;
	my $era = floor($z / 146_097);
	my $doe = $z - $era * 146_097;
	my $yoe = int(($doe - int($doe / 1460) + int($doe / 36_524) - int($doe / 146_096)) / 365);
	my $doy = $doe - (365 * $yoe + int($yoe / 4) - int($yoe / 100));
	my $mp = int((5 * $doy + 2) / 153);
	my $d = $doy - int((153 * $mp + 2) / 5) + 1;
	my $m = $mp + ($mp < 10 ? 3 : -9);
	return ($yoe + $era * 400 + ($m <= 2 ? 1 : 0), $m, $d);
}

sub day_text { return sprintf('%04d-%02d-%02d', civil_from_days($_[0])) }
sub parse_day { return $_[0] =~ /^(\d{4})-(\d\d)-(\d\d)/ ? days_from_civil($1, $2, $3) : undef }
sub days_in { my ($y, $m) = @_; return $m == 12 ? 31 : days_from_civil($y, $m + 1, 1) - days_from_civil($y, $m, 1) }

sub utc_text
{
	my ($us) = @_;
	my $s = seconds($us);
	my $day = floor($s / 86_400);
	my $rest = $s - $day * 86_400;
	return sprintf('%sT%02d:%02d:%02d.%06dZ', day_text($day), int($rest / 3600), int($rest / 60) % 60, $rest % 60,
		$us - $s * 1_000_000);
}

# ---- data ----

# Times lie whole days before and after one instant, some a microsecond off.
my $base = days_from_civil(2026, 3, 10) * $DAY + 12 * 3_600_000_000;

sub a_time
{
	return $base - any(0, 0, 1, 2, 5, 7, 10, 30, 30, 31, 60, 89, 90, 91, 180, 181, 365, 366, 400, -1, -7, -30) * $DAY
	  + any(0, 0, 0, 1, -1, 3_600_000_000, -5 * 3_600_000_000, 12 * 3_600_000_000, 16 * 3_600_000_000);
}
sub time_sql { return "'" . utc_text($_[0]) . "'" }

my @texts = ('Berlin', 'berlin', 'New York', '', "O'Hare", '50%_off', 'Zürich', 'back\\slash', 'B', 'Ber', '$1', 'x"y');
my @tags = ('vip', 'fashion', 'accessories', '', 'a"b', 'x,y', '{}', 'VIP', 'Zürich');
my @json_keys = ('text', 'num', 'mixed', 'flag', 'when', 'list', "we'ird \"key\" \$1", 'a.b', 'back\\slash', 'absent');
my @json_times = ('2026-02-08', '2026-03-10T12:00:00Z', '2026-03-09 18:30', '2026-02-30', 'yesterday', '2026-03-08T01:30:00+05:30', '2026-3');

sub json_time
{
	my ($text) = @_;
	return midnight(parse_day($text)) if $text =~ /^\d{4}-\d\d-\d\d$/ && $text ne '2026-02-30';
	return days_from_civil(2026, 3, 10) * $DAY + 12 * 3_600_000_000 if $text eq '2026-03-10T12:00:00Z';
	return local_instant(2026, 3, 9, 18, 30) if $text eq '2026-03-09 18:30';
	return days_from_civil(2026, 3, 7) * $DAY + 20 * 3_600_000_000 if $text eq '2026-03-08T01:30:00+05:30';
	return undef;
}

sub json_value
{
	my ($key) = @_;
	return undef if chance(0.08);
	return any(@texts) if $key eq 'text';
	return num(any(0, 1, 2, 2.5, -3, 10, '1e2', 7)) if $key eq 'num' && chance(0.9);
	return bool(chance(0.5)) if $key eq 'flag' && chance(0.8);
	return any(@json_times) if $key eq 'when' && chance(0.9);
	return [ some(int rand 4, @tags, num(5), undef) ] if $key eq 'list' && chance(0.9);
	return any(num(5), num('5.5'), '5', '5.5', ' 5', '+4', '1e2', '.5', 'abc', bool(1), 'true', 'false', [], ['vip'], {}, { vip => num(1) }, '', 'vip');
}

sub json_object
{
	my (%more) = @_;
	return to_json({ %more, map { $_ => json_value($_) } grep { chance(0.5) } @json_keys[ 0 .. 8 ] });
}

sub insert
{
	my ($table, @rows) = @_;
	$session->sql("INSERT INTO $table VALUES\n" . join(",\n", map { '(' . join(', ', @$_) . ')' } @rows)) if @rows;
}

$session->sql(<<"END");
INSERT INTO mktg.tenant (tenant_id, name, time_zone, currency) VALUES (2, 'other', '$zone_of{2}', '$currency_of{2}');
UPDATE mktg.tenant SET time_zone = '$zone_of{1}', currency = '$currency_of{1}' WHERE tenant_id = 1;
CREATE COLLATION same_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE SCHEMA air;
CREATE TABLE air."Trips" (guest varchar, started timestamp, price numeric, miles double precision, seats int, fare bigint,
    paid boolean, class varchar(20), nick text COLLATE same_case, code char(5), due date, weight real, extras text[], info jsonb);
CREATE TABLE air.visit (tenant_id bigint, contact int, on_day date, pages smallint);
SET client_min_messages = warning;
END

my @outcomes = qw(pending sent delivered read failed);
for my $tenant (1, 2)
{
	my $n = $tenant == 1 ? 48 : 12;
	my (@contacts, @purchases, @events, @carts, @consents, @messages, @scores, @trips, @visits);
	for my $id (1 .. $n)
	{
		my %more = (prediction => any({ churn => num(any(0, 0.25, 0.5, 0.75, 1)), purchase => any(num(0.5), '0.25', 'high'), ltv12 => num(any(100, 99.5)) }, 'none', undef));
		push @contacts, [ $tenant, $id, chance(0.85) ? quote("g$id") : 'NULL', quote(chance(0.7) ? "p$id\@" . any('example.com', 'x.org') : undef),
			quote(chance(0.3) ? '+4930' . (1_000_000 + $id) : undef), quote(any(undef, @texts)),
			quote(any(undef, '1990-02-28', '1992-02-29', '1980-03-10', '1980-03-11', '2000-03-09', '1985-12-31', '2001-03-01')),
			quote(any(undef, 'f', 'm')), quote(any(undef, 'en', 'de')), quote(any(undef, 'DE', 'US')), quote(any(undef, 'BY')),
			quote(any(undef, @texts)), 'NULL', quote(any(undef, 'gold', 'premium', 'Gold')),
			quote('{' . join(',', some(int rand 4, 'NULL', map { '"' . s/(["\\])/\\$1/gr . '"' } @tags)) . '}'),
			quote(json_object(%more)), chance(0.7) ? 'true' : 'false', time_sql(a_time()), time_sql(a_time()) ];
		next if chance(0.1);
		for (1 .. any(0, 1, 1, 2, 3, 5, 8, 12))
		{
			my %trip = (cabin => any('FIRST', 'BUSINESS', 'ECONOMY', '', num(1)), route => any('A-B', 'B-A', undef), category => any('MUSIC', 'COMEDY', 'music'),
				departure => any('2026-03-10', '2026-03-14T10:00', '2026-02-01 09:00', 'soon', num(5), '2026-02-30', undef),
				party_size => any(num(1), num(2), num('2.5'), '3', 'many', undef), ancillaries => any([], ['seat'], [ 'seat', 'bag', num(1) ], 'bag', num('2.7'), num(-1), bool(1), '', undef));
			delete $trip{ any(keys %trip) } if chance(0.6);
			push @purchases, [ $tenant, 'DEFAULT', $id, 'NULL', any(0, 100, 1000, 1000, 1050, 2000, 5000, -500, 12_345, 60_000, 60_001), quote(any(undef, undef, 'USD', 'JPY', 'EUR')),
				chance(0.02) ? any("'infinity'", "'-infinity'") : time_sql(a_time()), quote(any(undef, 'web', 'mobile', 'agent')), quote(any('[]', '[1,2]', '{"a":1}', '[{}]', '5')), quote(json_object(%trip)) ];
		}
		push @events, [ $tenant, $id, quote(any('view', 'search', 'app_open', 'View')), time_sql(a_time()), 'DEFAULT', quote(json_object()) ] for 1 .. any(0, 0, 1, 2, 4, 7);
		push @carts, [ $tenant, 'DEFAULT', $id, quote('[]'), any(0, 1000, 5000), quote(any(undef, 'USD', 'JPY')), time_sql(a_time()),
			chance(0.05) ? "'infinity'" : chance(0.5) ? time_sql(a_time()) : 'NULL', chance(0.3) ? time_sql(a_time()) : 'NULL' ] for 1 .. any(0, 0, 1, 2);
		for my $channel (qw(email sms push whatsapp))
		{
			push @consents, [ $tenant, $id, quote($channel), quote($_), quote(any('subscribed', 'subscribed', 'pending', 'unsubscribed')) ]
			  for grep { chance(0.25) } 'marketing', 'news', 'offers';
		}
		for my $campaign (1 .. any(0, 0, 1, 3, 6))
		{
			my @times = map { chance(0.6) ? time_sql(a_time()) : 'NULL' } 1 .. 4;
			push @messages, [ $tenant, $campaign, $id, quote(any(@outcomes)), @times ];
		}
		push @scores, [ $tenant, $id, any(1, 40), any(1, 2), any(100, 5000), any(1 .. 5), any(1 .. 5), any(1 .. 5), quote(any('555', '111', '543')),
			quote(any('Champions', 'Loyal Customers', "Can''t Lose Them" =~ s/''/'/r, 'Lost', 'At Risk')), any(0, 25, 50, 62.5, 100) ] if chance(0.6);
		push @trips, [ quote("g$id"), chance(0.05) ? 'NULL' : quote(utc_text(a_time()) =~ s/[TZ]/ /gr), any('NULL', 10, '10.50', '-3.25', '99.75', '1e12'), any('NULL', 0, 0.5, 100.25, -2),
			any('NULL', 1, 2, 4, -1), any('NULL', 0, 999, 1000, 1001, -1000), any('NULL', 'true', 'false'), quote(any(undef, 'eco', 'first', 'Eco')), quote(any(undef, 'Ann', 'ANN', 'bob', 'ann')),
			quote(any(undef, 'a', 'ab', 'abcde')), quote(any(undef, '2026-03-09', '2026-03-10', '2026-03-11', '2026-02-08')), any('NULL', 0.5, 2, 2.25),
			quote(any(undef, '{}', '{seat}', '{seat,bag}', '{NULL}')), quote(any(undef, '[1]', json_object())) ] for $tenant == 1 ? 1 .. any(0, 0, 1, 2, 4) : ();
		push @visits, [ any($tenant, $tenant, $tenant, 'NULL'), $id, quote(any(undef, '2026-03-10', '2026-03-09', '2026-02-08', '2026-03-12')), any('NULL', 1, 2, 300) ] for 1 .. any(0, 0, 1, 3);
	}
	push @trips, [ quote('nobody'), quote('2026-03-01 00:00'), (1) x 4, 'true', ('NULL') x 7 ], [ ('NULL') x 14 ] if $tenant == 1;
	insert('mktg.contact', @contacts);
	insert('mktg.purchase', @purchases);
	insert('mktg.event', @events);
	insert('mktg.cart', @carts);
	insert('mktg.consent (tenant_id, contact_id, channel, topic, state)', @consents);
	insert('mktg.campaign (tenant_id, campaign_id, name, channel)', map { [ $tenant, $_, "'c$_'", "'email'" ] } 1 .. 6);
	insert('mktg.message (tenant_id, campaign_id, contact_id, status, sent_at, delivered_at, opened_at, clicked_at)', @messages);
	insert('mktg.rfm_score', @scores);
	insert('air."Trips"', @trips);
	insert('air.visit', @visits);
}

$session->sql(<<'END');
SELECT mktg.map_source('trip', 'air."Trips"', 'guest', 'started', 'external_id', tenant => t) FROM generate_series(1, 2) t;
SELECT mktg.map_source('visit', 'air.visit', 'contact', 'on_day', tenant => t) FROM generate_series(1, 2) t;
SELECT mktg.map_source('plain', 'air.visit', 'contact', tenant => t) FROM generate_series(1, 2) t;
SELECT mktg.define_field('plain.count', 'plain', 'count(*)', 'number', tenant => t), mktg.define_field('plain.size', 'plain', 'pages', 'number', tenant => t) FROM generate_series(1, 2) t;
SELECT mktg.define_field('visit.count', 'visit', 'count(*)', 'number', tenant => t), mktg.define_field('visit.pages', 'visit', 'sum(pages)', 'number', tenant => t),
       mktg.define_field('visit.size', 'visit', 'pages', 'number', tenant => t) FROM generate_series(1, 2) t;
SELECT mktg.define_field('trip.' || name, 'trip', expression, type, tenant => t) FROM generate_series(1, 2) t, (VALUES
    ('count', 'count(*)', 'number'), ('countPaid', 'count(paid)', 'number'), ('countClass', 'count( class )', 'number'),
    ('price', 'price', 'number'), ('sumPrice', 'sum(price)', 'number'), ('avgPrice', 'avg(price)', 'number'), ('minPrice', 'min(price)', 'number'), ('maxPrice', 'max(price)', 'number'),
    ('miles', 'miles', 'number'), ('sumMiles', 'sum(miles)', 'number'), ('avgMiles', 'avg(miles)', 'number'), ('minMiles', 'min(miles)', 'number'), ('maxMiles', 'max(miles)', 'number'),
    ('seats', 'seats', 'number'), ('sumSeats', 'sum(seats)', 'number'), ('avgSeats', 'avg(seats)', 'number'), ('minSeats', 'min(seats)', 'number'), ('maxSeats', 'max(seats)', 'number'),
    ('fare', 'fare', 'money'), ('sumFare', 'sum(fare)', 'money'), ('avgFare', 'avg(fare)', 'money'), ('minFare', 'min(fare)', 'money'), ('maxFareMinor', 'max(fare)', 'money'),
    ('paid', 'paid', 'boolean'), ('anyPaid', 'bool_or(paid)', 'boolean'), ('allPaid', 'bool_and(paid)', 'boolean'), ('class', 'class', 'text'), ('minClass', 'min(class)', 'text'),
    ('nick', 'nick', 'text'), ('code', 'code', 'text'), ('due', 'due', 'date'), ('minDue', 'min(due)', 'date'), ('maxDue', 'max(due)', 'date'),
    ('at', 'started', 'timestamp'), ('lastAt', 'max(started)', 'timestamp'), ('firstAt', 'min(started)', 'timestamp'), ('weight', 'weight', 'number'), ('sumWeight', 'sum(weight)', 'number'),
    ('extras', 'extras', 'array'), ('info', 'info', 'json'), ('double', 'seats * 2 + CASE WHEN paid THEN 1 ELSE 0 END', 'number')) AS f (name, expression, type);
SELECT mktg.define_alias(key, rule::jsonb, t) FROM generate_series(1, 2) t, (VALUES
    ('cabin', '{"field": "booking.cabinClass", "value": "$value"}'), ('not_channel', '{"field": "booking.channel", "operator": "!=", "value": "$value"}'),
    ('flew_first', '{"field": "booking.cabinClass", "value": "FIRST"}'), ('event_name', '{"field": "event.name", "operator": "IN", "value": "$value"}'),
    ('place', '{"logic": "OR", "rules": [{"field": "customer.city", "value": "$value"}, {"field": "customer.tier", "value": "$value"}]}'),
    ('recent_cabin', '{"field": "booking.cabinClass", "value": "$value", "within_days": 30}')) AS a (key, rule);
ANALYZE;
END

# ---- the rows, fetched once ----

my %us = map { $_ => "CASE WHEN NOT isfinite($_) THEN CASE WHEN $_ > now() THEN $FOREVER ELSE -$FOREVER END ELSE (extract(epoch FROM $_) * 1000000)::bigint END" }
  qw(placed_at occurred_at updated_at created_at abandoned_at recovered_at sent_at delivered_at opened_at clicked_at);

# of a JSON object: key => [type, text, strings of the array]
sub object_sql
{
	my ($column) = @_;
	return "CASE jsonb_typeof($column) WHEN 'object' THEN (SELECT coalesce(jsonb_object_agg(k, jsonb_build_array(jsonb_typeof(v), v #>> '{}',"
	  . " CASE jsonb_typeof(v) WHEN 'array' THEN (SELECT jsonb_agg(e #>> '{}') FROM jsonb_array_elements(v) e WHERE jsonb_typeof(e) = 'string') END,"
	  . " CASE jsonb_typeof(v) WHEN 'array' THEN jsonb_array_length(v) END)), '{}') FROM jsonb_each($column) AS j (k, v)) END";
}

sub fetch
{
	my ($tenant, $from, %columns) = @_;
	my $list = join ', ', map { "$columns{$_} AS \"$_\"" } sort keys %columns;
	my $rows = $session->json("SELECT coalesce(json_agg(r), '[]') FROM (SELECT $list FROM $from) r");
	for my $row (@$rows)
	{
		$_ = ref($_) eq 'JSON::PP::Boolean' ? ($_ ? 1 : 0) : $_ for values %$row;
	}
	return $rows;
}

sub same { return map { $_ => $_ } @_ }

# $rows{tenant}{source}{contact}: list of rows; each has a time "at" where the source has one
my (%rows, %ids);
for my $tenant (1, 2)
{
	my $of = "WHERE tenant_id = $tenant";
	my $local = "AT TIME ZONE '$zone_of{$tenant}'";
	my %all = (
		contact => fetch($tenant, "mktg.contact $of", c => 'contact_id', id => 'contact_id', same(qw(external_id email phone name gender language country city tier tags)),
			birth => 'birth_date::text', active => 'is_active', created => $us{created_at}, updated => $us{updated_at}, json => object_sql('attributes'),
			prediction => object_sql("attributes -> 'prediction'")),
		booking => fetch($tenant, "mktg.purchase $of", c => 'contact_id', same(qw(amount currency channel)), at => $us{placed_at}, finite => 'isfinite(placed_at)',
			json => object_sql('attributes'), items => "CASE jsonb_typeof(items) WHEN 'array' THEN jsonb_array_length(items) ELSE 0 END"),
		event => fetch($tenant, "mktg.event $of", c => 'contact_id', name => 'name', at => $us{occurred_at}, json => object_sql('properties')),
		cart => fetch($tenant, "mktg.cart $of", c => 'contact_id', same(qw(amount currency)), at => $us{updated_at}, abandoned => $us{abandoned_at}, recovered => $us{recovered_at}),
		consent => fetch($tenant, "mktg.consent $of", c => 'contact_id', same(qw(channel topic state))),
		engagement => fetch($tenant, "mktg.message $of", c => 'contact_id', status => 'status', at => $us{sent_at}, sent => $us{sent_at}, delivered => $us{delivered_at},
			opened => $us{opened_at}, clicked => $us{clicked_at}),
		rfm => fetch($tenant, "mktg.rfm_score $of", c => 'contact_id', same(qw(segment code)), percentile => 'spend_percentile'),
		trip => fetch($tenant, "air.\"Trips\" JOIN mktg.contact c ON c.external_id = guest AND tenant_id = $tenant", c => 'contact_id',
			same(qw(miles seats fare paid class nick code weight extras)), price => 'price::text', due => 'due::text', json => object_sql('info'),
			at => "(extract(epoch FROM started AT TIME ZONE '$zone_of{$tenant}') * 1000000)::bigint"),
		plain => fetch($tenant, "air.visit WHERE tenant_id = $tenant", c => 'contact', size => 'pages'),
		visit => fetch($tenant, "air.visit WHERE tenant_id = $tenant", c => 'contact', size => 'pages', at => "(extract(epoch FROM on_day::timestamp $local) * 1000000)::bigint"));
	for my $source (keys %all)
	{
		push @{ $rows{$tenant}{$source}{ $_->{c} } }, $_ for @{ $all{$source} };
	}
	$ids{$tenant} = [ sort { $a <=> $b } keys %{ $rows{$tenant}{contact} } ];
}

# ---- fields ----

# name => [source, type, how, of a row (sub), time for within_days]; how is row, json or an aggregate
my $currency = sub { my ($r, $x) = @_; return !defined $r->{currency} || $r->{currency} eq $currency_of{ $x->{tenant} } ? $r->{amount} : undef };
my $get = sub { my ($key) = @_; return sub { return $_[0]{$key} } };
my $one = sub { return 1 };
my $json_text = sub { my ($key) = @_; return sub { return text_of($_[0]{json}{$key}) } };

sub text_of { my ($v) = @_; return !$v || $v->[0] eq 'null' ? undef : $v->[1] }

sub number_of
{
	my ($v) = @_;
	return undef if !$v || ($v->[0] ne 'number' && $v->[0] ne 'string');
	return $v->[1] =~ /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?$/ && length $v->[1] <= 100 ? 0 + $v->[1] : undef;
}

sub texts_of
{
	my ($v) = @_;
	return undef if !$v || ($v->[0] ne 'string' && $v->[0] ne 'array');
	return $v->[0] eq 'string' ? [ $v->[1] ] : $v->[2] // [];
}

sub count_of
{
	my ($v) = @_;
	return 0 if !$v || $v->[0] eq 'null';
	return $v->[3] if $v->[0] eq 'array';
	return max(0, floor($v->[1])) if $v->[0] eq 'number';
	return $v->[1] eq 'true' ? 1 : 0 if $v->[0] eq 'boolean';
	return $v->[0] eq 'string' && $v->[1] eq '' ? 0 : 1;
}

sub departure
{
	my ($r) = @_;
	my $v = $r->{json}{departure};
	return undef if !$v || $v->[0] ne 'string' || $v->[1] !~ /^(\d{4})-(\d\d)-(\d\d)(?:[T ]|$)/ || $3 > days_in($1, $2);
	return days_from_civil($1, $2, $3);
}

my $travel = sub { my ($r) = @_; return departure($r) // ($r->{finite} ? local_day($r->{at}) : undef) };
my $consent = sub {
	my ($channel) = @_;
	return sub {
		my ($r) = @_;
		return $r->{channel} ne $channel ? undef : $r->{topic} eq 'marketing' && $r->{state} eq 'unsubscribed' ? 0 : $r->{state} eq 'subscribed' ? 1 : undef;
	};
};
my $month_of = sub { return (civil_from_days($_[0]))[1] };

my %fields = (
	'customer.id' => [ 'contact', 'number', 'row', $get->('id') ],
	'customer.externalId' => [ 'contact', 'text', 'row', $get->('external_id') ],
	(map { ("customer.$_" => [ 'contact', 'text', 'row', $get->($_) ]) } qw(email phone name gender language country city tier)),
	'customer.birthDate' => [ 'contact', 'date', 'row', sub { return defined $_[0]{birth} ? parse_day($_[0]{birth}) : undef } ],
	'customer.tags' => [ 'contact', 'array', 'row', $get->('tags') ],
	'customer.isActive' => [ 'contact', 'boolean', 'row', $get->('active') ],
	'customer.createdAt' => [ 'contact', 'timestamp', 'row', $get->('created') ],
	'customer.updatedAt' => [ 'contact', 'timestamp', 'row', $get->('updated') ],
	'customer.birthMonth' => [ 'contact', 'number', 'row', sub { return defined $_[0]{birth} ? 0 + substr($_[0]{birth}, 5, 2) : undef } ],
	'customer.age' => [ 'contact', 'number', 'row', sub {
		my ($r, $x) = @_;
		return undef if !defined $r->{birth};
		my ($y, $m, $d) = civil_from_days(local_day($x->{at}));
		my ($by, $bm, $bd) = split /-/, $r->{birth};
		return $y - $by - (sprintf('%02d%02d', $m, $d) lt "$bm$bd" ? 1 : 0);
	} ],
	'customer.birthdayThisMonth' => [ 'contact', 'boolean', 'row', sub {
		my ($r, $x) = @_;
		return undef if !defined $r->{birth};
		return substr($r->{birth}, 5, 2) == $month_of->(local_day($x->{at})) ? 1 : 0;
	} ],
	'customer.anniversaryThisMonth' => [ 'contact', 'boolean', 'row', sub {
		my ($r, $x) = @_;
		my ($y, $m) = civil_from_days(local_day($x->{at}));
		my ($cy, $cm) = civil_from_days(local_day($r->{created}));
		return $m == $cm && $cy < $y ? 1 : 0;
	} ],
	'customer.attributes' => [ 'contact', 'json', 'row', $get->('json') ],
	(map { my $key = $_; ("prediction.$key" => [ 'contact', 'number', 'row', sub { return number_of($_[0]{prediction}{$key}) } ]) } qw(churn purchase ltv12)),
	'customer.totalSpend' => [ 'booking', 'money', 'sum', $currency ],
	'customer.averageOrder' => [ 'booking', 'money', 'avg', $currency ],
	'customer.orderCount' => [ 'booking', 'number', 'count', $one ],
	'customer.firstOrderAt' => [ 'booking', 'timestamp', 'min', $get->('at') ],
	'customer.lastOrderAt' => [ 'booking', 'timestamp', 'max', $get->('at') ],
	'customer.daysSinceLastOrder' => [ 'booking', 'number', 'days_since', $get->('at') ],
	'customer.lifecycleStage' => [ 'booking', 'text', 'lifecycle', sub { return $_[0]{finite} ? $_[0]{at} : undef } ],
	'customer.spendPercentile' => [ 'rfm', 'number', 'row', $get->('percentile') ],
	'customer.rfmSegment' => [ 'rfm', 'text', 'row', $get->('segment') ],
	'customer.rfmCode' => [ 'rfm', 'text', 'row', $get->('code') ],
	'booking.frequency' => [ 'booking', 'number', 'count', $one ],
	'booking.at' => [ 'booking', 'timestamp', 'row', $get->('at') ],
	'booking.channel' => [ 'booking', 'text', 'row', $get->('channel') ],
	'booking.cabinClass' => [ 'booking', 'text', 'row', $json_text->('cabin') ],
	(map { ("booking.$_" => [ 'booking', 'text', 'row', $json_text->($_) ]) } qw(route category)),
	'booking.advanceDays' => [ 'booking', 'number', 'row', sub { my $d = departure($_[0]); return defined $d && $_[0]{finite} ? $d - local_day($_[0]{at}) : undef } ],
	'booking.weekday' => [ 'booking', 'number', 'row', sub { my $d = $travel->(@_); return defined $d ? ($d + 3) % 7 + 1 : undef } ],
	'booking.month' => [ 'booking', 'number', 'row', sub { my $d = $travel->(@_); return defined $d ? $month_of->($d) : undef } ],
	'booking.partySize' => [ 'booking', 'number', 'row', sub { return number_of($_[0]{json}{party_size}) } ],
	'booking.ancillaries' => [ 'booking', 'array', 'row', sub { return texts_of($_[0]{json}{ancillaries}) } ],
	'booking.ancillaryCount' => [ 'booking', 'number', 'row', sub { return count_of($_[0]{json}{ancillaries}) } ],
	'booking.itemCount' => [ 'booking', 'number', 'row', $get->('items') ],
	'booking.amount' => [ 'booking', 'money', 'row', $currency ],
	'booking.attributes' => [ 'booking', 'json', 'row', $get->('json') ],
	'cart.count' => [ 'cart', 'number', 'count', $one ],
	'cart.updatedAt' => [ 'cart', 'timestamp', 'row', $get->('at') ],
	'cart.abandonedAt' => [ 'cart', 'timestamp', 'row', $get->('abandoned') ],
	'cart.recoveredAt' => [ 'cart', 'timestamp', 'row', $get->('recovered') ],
	'cart.amount' => [ 'cart', 'money', 'row', $currency ],
	'event.name' => [ 'event', 'text', 'row', $get->('name') ],
	'event.count' => [ 'event', 'number', 'count', $one ],
	'event.at' => [ 'event', 'timestamp', 'row', $get->('at') ],
	'event.lastAt' => [ 'event', 'timestamp', 'max', $get->('at') ],
	'event.properties' => [ 'event', 'json', 'row', $get->('json') ],
	(map { ("consent.$_" => [ 'consent', 'boolean', 'bool_and', $consent->($_) ]) } qw(email sms push whatsapp)),
	'engagement.sent' => [ 'engagement', 'number', 'count', $get->('sent'), 'sent' ],
	'engagement.delivered' => [ 'engagement', 'number', 'count', $get->('delivered'), 'delivered' ],
	'engagement.opens' => [ 'engagement', 'number', 'count', $get->('opened'), 'opened' ],
	'engagement.clicks' => [ 'engagement', 'number', 'count', $get->('clicked'), 'clicked' ],
	'engagement.lastOpenAt' => [ 'engagement', 'timestamp', 'max', $get->('opened'), 'opened' ],
	'engagement.lastClickAt' => [ 'engagement', 'timestamp', 'max', $get->('clicked'), 'clicked' ],
	'engagement.openRate' => [ 'engagement', 'number', 'avg', sub { return $_[0]{status} =~ /^(?:delivered|read)$/ ? (defined $_[0]{opened} ? 1 : 0) : undef }, 'sent' ],
	'plain.count' => [ 'plain', 'number', 'count', $one ],
	'plain.size' => [ 'plain', 'number', 'row', $get->('size') ],
	'visit.count' => [ 'visit', 'number', 'count', $one ],
	'visit.pages' => [ 'visit', 'number', 'sum', $get->('size') ],
	'visit.size' => [ 'visit', 'number', 'row', $get->('size') ],
	'trip.count' => [ 'trip', 'number', 'count', $one ],
	'trip.countPaid' => [ 'trip', 'number', 'count', $get->('paid') ],
	'trip.countClass' => [ 'trip', 'number', 'count', $get->('class') ],
	(map { my ($name, $type) = @$_; my $Name = ucfirst $name;
		("trip.$name" => [ 'trip', $type, 'row', $get->($name) ],
		 map { ("trip.$_$Name" => [ 'trip', $type, $_, $get->($name) ]) } qw(sum avg min max)) } [ price => 'number' ], [ miles => 'number' ], [ seats => 'number' ], [ fare => 'money' ]),
	'trip.paid' => [ 'trip', 'boolean', 'row', $get->('paid') ],
	'trip.anyPaid' => [ 'trip', 'boolean', 'bool_or', $get->('paid') ],
	'trip.allPaid' => [ 'trip', 'boolean', 'bool_and', $get->('paid') ],
	'trip.class' => [ 'trip', 'text', 'row', $get->('class') ],
	'trip.minClass' => [ 'trip', 'text', 'min', $get->('class') ],
	'trip.nick' => [ 'trip', 'text', 'row', sub { return defined $_[0]{nick} ? lc $_[0]{nick} : undef } ],
	'trip.code' => [ 'trip', 'text', 'row', sub { return defined $_[0]{code} ? $_[0]{code} =~ s/ +$//r : undef } ],
	'trip.due' => [ 'trip', 'date', 'row', sub { return defined $_[0]{due} ? parse_day($_[0]{due}) : undef } ],
	(map { ("trip.${_}Due" => [ 'trip', 'date', $_, sub { return defined $_[0]{due} ? parse_day($_[0]{due}) : undef } ]) } qw(min max)),
	'trip.at' => [ 'trip', 'timestamp', 'row', $get->('at') ],
	'trip.lastAt' => [ 'trip', 'timestamp', 'max', $get->('at') ],
	'trip.firstAt' => [ 'trip', 'timestamp', 'min', $get->('at') ],
	'trip.weight' => [ 'trip', 'number', 'row', $get->('weight') ],
	'trip.sumWeight' => [ 'trip', 'number', 'sum', $get->('weight') ],
	'trip.extras' => [ 'trip', 'array', 'row', $get->('extras') ],
	'trip.info' => [ 'trip', 'json', 'row', $get->('json') ],
	'trip.double' => [ 'trip', 'number', 'row', sub { return defined $_[0]{seats} ? $_[0]{seats} * 2 + ($_[0]{paid} ? 1 : 0) : undef } ]);
$fields{'trip.maxFareMinor'} = delete $fields{'trip.maxFare'};
my %has_time = map { $_ => 1 } qw(booking event cart engagement trip visit);
my @names = sort keys %fields;
my %names_of;
push @{ $names_of{ $fields{$_}[0] } }, $_ for @names;
my %synonym = ('customer.rfmSegment' => { 'Loyal' => 'Loyal Customers', "Can't Lose" => "Can't Lose Them" });

# ---- the evaluator ----

my %complement = ('!=' => '=', NOT_IN => 'IN', NOT_EXISTS => 'EXISTS', NOT_WITHIN_LAST => 'WITHIN_LAST');

# A number as it is compared: money in minor units.  All numbers here are exact as doubles.
sub shifted
{
	my ($text, $digits) = @_;
	return 0 + $text if $digits == 0 || $text =~ /e/i;
	my ($sign, $whole, $part) = $text =~ /^(-?)(\d+)(?:\.(\d+))?$/;
	$part = ($part // '') . '0' x $digits;
	return "$sign$whole" . substr($part, 0, $digits) . '.' . (substr($part, $digits) || '0');
}

# What a value of time stands for: the first microsecond, and the first behind.
sub moment
{
	my ($text, $x) = @_;
	my $at = $x->{at};
	my %day = (yesterday => -1, today => 0, tomorrow => 1);
	my %unit = (minute => 60_000_000, hour => 3_600_000_000, day => $DAY, week => 7 * $DAY);
	my $of_day = sub { return (midnight($_[0]), midnight($_[0] + 1)) };

	return $of_day->(local_day($at) + $day{ lc $text }) if exists $day{ lc $text };
	return ($at, $at + 1) if lc $text eq 'now';
	if ($text =~ /^([+-]?\d+) *(minute|hour|day|week)s?$/i)
	{
		my $t = $at + $1 * $unit{ lc $2 };
		return ($t, $t + 1);
	}
	if ($text =~ /^([+-]?\d+) *(month|year)s?$/i)
	{
		my ($y, $m, $d) = civil_from_days(local_day($at));
		my $months = $y * 12 + $m - 1 + $1 * (lc $2 eq 'year' ? 12 : 1);
		($y, $m) = (floor($months / 12), $months % 12 + 1);
		return $of_day->(days_from_civil($y, $m, min($d, days_in($y, $m))));
	}
	return $of_day->(parse_day($text)) if $text =~ /^\d{4}-\d\d-\d\d$/;
	if ($text =~ /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)$/)
	{
		my $t = local_instant($1, $2, $3, $4, $5);
		return ($t, $t + 1);
	}
	if ($text =~ /^(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z$/)
	{
		my $t = parse_day($1) * $DAY + ($2 * 3600 + $3 * 60 + $4) * 1_000_000 + $5;
		return ($t, $t + 1);
	}
	die "no time: $text";
}

# Is a positive comparison true of a value? Of nothing it is not.
sub holds
{
	my ($type, $op, $values, $v, $x, $digits) = @_;
	my @values = @$values;

	return 0 if !defined $v;
	if ($op eq 'EXISTS')
	{
		return $type eq 'array' ? @$v > 0 : 1;
	}
	if ($type eq 'array')
	{
		for my $element (@$v)
		{
			return 1 if defined $element && grep { $_ eq $element } @values;
		}
		return 0;
	}
	return ($v ? 1 : 0) == $values[0]{is} ? 1 : 0 if $type eq 'boolean';
	if ($type eq 'number' || $type eq 'money')
	{
		# [sum, count] is an average
		my $k = ref $v ? $v->[1] : 1;
		my $n = ref $v ? $v->[0] : $v;
		my @n = map { $k * shifted($_->{text}, $digits) } @values;
		return 0 + !!($op eq '=' ? $n == $n[0] : $op eq '>' ? $n > $n[0] : $op eq '<' ? $n < $n[0] : $op eq '>=' ? $n >= $n[0] : $op eq '<=' ? $n <= $n[0]
			: $op eq 'BETWEEN' ? $n >= $n[0] && $n <= $n[1] : grep { $n == $_ } @n);
	}
	if ($type eq 'text')
	{
		my ($s, @s) = map { encode_utf8($_) } $v, @values;
		return 0 + !!($op eq '=' ? $s eq $s[0] : $op eq '>' ? $s gt $s[0] : $op eq '<' ? $s lt $s[0] : $op eq '>=' ? $s ge $s[0] : $op eq '<=' ? $s le $s[0]
			: $op eq 'BETWEEN' ? $s ge $s[0] && $s le $s[1] : $op eq 'CONTAINS' ? index($s, $s[0]) >= 0 : $op eq 'STARTS_WITH' ? index($s, $s[0]) == 0 : grep { $s eq $_ } @s);
	}
	if ($op eq 'WITHIN_LAST')
	{
		my $n = $values[0]{text};
		return $v > $x->{at} - $n * $DAY && $v <= $x->{at} ? 1 : 0 if $type eq 'timestamp';
		my $today = local_day($x->{at});
		return $v > $today - ceil($n) && $v <= $today ? 1 : 0;
	}
	my @m = map { [ moment($_, $x) ] } @values;
	@m = map { [ local_day($_->[0]), local_day($_->[1] - 1) + 1 ] } @m if $type eq 'date';
	return 0 + !!($op eq '<' || $op eq 'BEFORE' ? $v < $m[0][0] : $op eq '<=' ? $v < $m[0][1] : $op eq '>' || $op eq 'AFTER' ? $v >= $m[0][1] : $op eq '>=' ? $v >= $m[0][0]
		: $op eq 'BETWEEN' ? $v >= $m[0][0] && $v < $m[1][1] : grep { $v >= $_->[0] && $v < $_->[1] } @m);
}

# How a rule looks at a row: its positive operator, whether it is complemented, type, value of a row.
sub look
{
	my ($rule) = @_;
	my $name = $rule->{_name};
	my $key = $rule->{_key};
	my ($source, $type, $how, $of) = @{ $fields{$name} };
	my $op = $rule->{_op};
	my $negate = exists $complement{$op} ? 1 : 0;
	my @values = !exists $rule->{value} ? () : ref $rule->{value} eq 'ARRAY' ? @{ $rule->{value} } : $rule->{value};

	$op = $complement{$op} // $op;
	@values = map { !ref && exists $synonym{$name}{$_} ? $synonym{$name}{$_} : $_ } @values if $synonym{$name};
	@values = map { lc } @values if $name eq 'trip.nick' && $op ne 'EXISTS';
	if (defined $key)
	{
		$type = $op =~ /^(?:BEFORE|AFTER|WITHIN_LAST)$/ ? 'timestamp' : $op eq 'CONTAINS' || ($op eq 'IN' && !ref $values[0]) ? 'array'
		  : @values && ref $values[0] eq 'Num' ? 'number' : @values && ref $values[0] eq 'Bool' ? 'boolean' : 'text';
		my $object = $of;
		$of = sub {
			my $v = $object->(@_);
			$v = $v ? $v->{$key} : undef;
			return undef if !$v || $v->[0] eq 'null';
			return $v->[0] eq 'string' ? json_time($v->[1]) : undef if $type eq 'timestamp';
			return texts_of($v) if $type eq 'array';
			return number_of($v) if $type eq 'number';
			return $v->[1] =~ /^(?:true|false)$/ && $v->[0] =~ /^(?:boolean|string)$/ ? ($v->[1] eq 'true' ? 1 : 0) : undef if $type eq 'boolean';
			return $v->[1];
		};
	}
	return ($op, $negate, $type, $of, \@values);
}

sub digits_of
{
	my ($rule, $x) = @_;
	return $fields{ $rule->{_name} }[1] eq 'money' && $rule->{field} !~ /minor$/i ? $exponent_of{ $x->{tenant} } : 0;
}

# Is the rule (of "where", or a row-level leaf) true of a row?
sub true_of_row
{
	my ($rule, $row, $x) = @_;
	my $is;

	if ($rule->{rules})
	{
		my $any = uc($rule->{logic} // 'AND') eq 'OR';
		$is = $any ? 0 : 1;
		for my $part (@{ $rule->{rules} })
		{
			my $true = true_of_row($part, $row, $x);
			$is = $any ? $is || $true : $is && $true;
		}
	}
	else
	{
		my ($op, $negate, $type, $of, $values) = look($rule);
		$is = holds($type, $op, $values, $of->($row, $x), $x, digits_of($rule, $x)) ^ $negate;
	}
	$is = !$is if $rule->{not} && $rule->{not}{is};
	return $is ? 1 : 0;
}

sub where_holds
{
	my ($rule, $row, $x) = @_;
	return 1 if !$rule->{where};
	my @parts = ref $rule->{where} eq 'ARRAY' ? @{ $rule->{where} } : ($rule->{where});
	for my $part (@parts)
	{
		return 0 if !true_of_row($part, $row, $x);
	}
	return 1;
}

# Rows of a contact that a leaf may count: not later than the instant, within its days.
sub rows_for
{
	my ($rule, $contact, $x) = @_;
	my ($source, undef, undef, undef, $time) = @{ $fields{ $rule->{_name} } };
	my $rows = $rows{ $x->{tenant} }{$source}{$contact} // [];

	return @$rows if !$has_time{$source};
	$time //= 'at';
	my $after = $rule->{within_days} ? $x->{at} - $rule->{within_days}{text} * $DAY : undef;
	return grep { defined $_->{$time} && $_->{$time} <= $x->{at} && (!defined $after || $_->{$time} > $after) } @$rows;
}

sub stage
{
	my ($at, @times) = @_;
	my ($last, $previous) = sort { $b <=> $a } @times;
	return undef if !defined $last;
	my $since = $at - $last;
	return 'Reactivated' if $since <= 90 * $DAY && defined $previous && $last - $previous > 180 * $DAY;
	return 'Churned' if $since > 180 * $DAY;
	return 'At-Risk' if $since > 90 * $DAY;
	return 'Engaged' if @times >= 5;
	return 'Active' if @times >= 2;
	return $since <= 30 * $DAY ? 'New' : 'Active';
}

sub aggregate
{
	my ($how, $x, @values) = @_;
	my @v = grep { defined } @values;
	return scalar @v if $how eq 'count';
	return sum0(@v) if $how eq 'sum';
	return (grep { $_ } @v) ? 1 : 0 if $how eq 'bool_or';
	return @v && !(grep { !$_ } @v) ? 1 : 0 if $how eq 'bool_and';
	return undef if !@v;
	return [ sum0(@v), scalar @v ] if $how eq 'avg';
	return floor(($x->{at} - max(@v)) / $DAY) if $how eq 'days_since';
	return stage($x->{at}, @v) if $how eq 'lifecycle';
	return $v[0] =~ /^-?[\d.]+(?:e\+?\d+)?$/ ? ($how eq 'min' ? min(@v) : max(@v)) : (sort @v)[ $how eq 'min' ? 0 : -1 ];
}

sub leaf_true
{
	my ($rule, $contact, $x) = @_;
	my $how = $fields{ $rule->{_name} }[2];
	my ($op, $negate, $type, $of, $values) = look($rule);
	my $is = 0;
	my @rows = grep { where_holds($rule, $_, $x) } rows_for($rule, $contact, $x);

	if ($how eq 'row')
	{
		for my $row (@rows)
		{
			next if !holds($type, $op, $values, $of->($row, $x), $x, digits_of($rule, $x));
			$is = 1;
			last;
		}
	}
	elsif ($op eq 'EXISTS')
	{
		# of a sum or a count: is there something to add up
		my @v = grep { defined } map { $of->($_, $x) } @rows;
		$is = $how eq 'lifecycle' ? defined aggregate($how, $x, @v) : @v > 0;
	}
	else
	{
		$is = holds($type, $op, $values, aggregate($how, $x, map { $of->($_, $x) } @rows), $x, digits_of($rule, $x));
	}
	return ($is ? 1 : 0) ^ $negate;
}

my %by_name;		# named segments: rules, or static with members
my %named_id;

# short keys: what they mean, written out
sub short_rule
{
	my ($key, $value, $x) = @_;
	my $list = ref $value eq 'ARRAY';
	my $cmp = sub { my ($name, $op, $v, %more) = @_; return { _name => $name =~ s/Minor$//r, field => $name, _op => $op, value => $v, %more } };
	my $is = sub { return $cmp->($_[0], $list ? 'IN' : '=', $value, @_[ 1 .. $#_ ]) };
	my $switch = sub { my ($rule) = @_; $rule->{not} = bool(1) if !$value->{is}; return $rule };

	return $switch->($cmp->('booking.frequency', '>=', num(1))) if $key eq 'hasTickets';
	return $switch->($cmp->('booking.frequency', '>=', num(1), within_days => num(30))) if $key eq 'hasPurchasedInLast30Days';
	return $switch->($cmp->('booking.cabinClass', '=', 'FIRST')) if $key eq 'flew_first';
	return $cmp->('customer.totalSpend', '>', $value) if $key eq 'totalSpentGreaterThan';
	return $cmp->('consent.email', '=', $value) if $key eq 'emailEnabled';
	return $is->('customer.tier') if $key eq 'customer_tier';
	return $is->('customer.city') if $key eq 'city';
	return $cmp->('customer.tags', 'IN', $list ? $value : [$value]) if $key eq 'tags';
	return $is->('customer.lifecycleStage') if $key eq 'lifecycle_stage';
	return $cmp->('customer.orderCount', '>=', $value) if $key eq 'min_order_count';
	return $cmp->('customer.totalSpend', '>=', $value) if $key eq 'min_ltv';
	return $cmp->('booking.category', 'IN', $list ? $value : [$value]) if $key eq 'categories';
	return $cmp->('booking.at', 'WITHIN_LAST', $value) if $key eq 'attended_in_last_days';
	return $cmp->('booking.amountMinor', '<=', $value) if $key eq 'price_ceiling';
	return $is->('booking.cabinClass') if $key eq 'cabin';
	return $is->('booking.cabinClass', within_days => num(30)) if $key eq 'recent_cabin';
	return $cmp->('booking.channel', $list ? 'NOT_IN' : '!=', $value) if $key eq 'not_channel';
	return $cmp->('event.name', 'IN', $list ? $value : [$value]) if $key eq 'event_name';
	return { logic => 'OR', rules => [ $is->('customer.city'), $is->('customer.tier') ] } if $key eq 'place';
	die "no short key $key";
}

# Positive row-level keys of one source mean one row.
sub short_true
{
	my ($rule, $contact, $x) = @_;
	my %same_row;

	for my $key (grep { $_ ne 'not' } keys %$rule)
	{
		my $meaning = short_rule($key, $rule->{$key}, $x);
		my $field = $meaning->{_name} ? $fields{ $meaning->{_name} } : undef;
		if ($field && $field->[2] eq 'row' && $field->[0] ne 'contact' && !$meaning->{not} && !exists $complement{ $meaning->{_op} })
		{
			push @{ $same_row{ $field->[0] } }, $meaning;
		}
		elsif (!tree_true($meaning, $contact, $x))
		{
			return 0;
		}
	}
	for my $parts (values %same_row)
	{
		my %count;
		my @rows = map { rows_for($_, $contact, $x) } @$parts;
		my $all = grep {
			my $row = $_;
			++$count{$row} == @$parts && @$parts == grep { true_of_row($_, $row, $x) } @$parts
		} @rows;
		return 0 if !$all;
	}
	return 1;
}

sub tree_true
{
	my ($rule, $contact, $x) = @_;
	my $is;

	if ($rule->{rules})
	{
		my $any = uc($rule->{logic} // 'AND') eq 'OR';
		$is = $any ? 0 : 1;
		for my $part (@{ $rule->{rules} })
		{
			$is = tree_true($part, $contact, $x);
			last if $any == $is;
		}
	}
	elsif (exists $rule->{segment})
	{
		my $meant = $by_name{ $x->{tenant} }{ $rule->{_segment} };
		$is = $meant->{members} ? exists $meant->{members}{$contact} : tree_true($meant->{rules}, $contact, $x);
	}
	elsif ($rule->{_name})
	{
		$is = leaf_true($rule, $contact, $x);
	}
	else
	{
		$is = short_true($rule, $contact, $x);
	}
	$is = !$is if $rule->{not} && $rule->{not}{is};
	return $is ? 1 : 0;
}

# ---- random rules ----

# As a rule may write it: case and underscores of names do not count.
sub spelt
{
	my ($name) = @_;
	return $name if chance(0.8);
	return lc $name if chance(0.3);
	return uc $name if chance(0.3) && $name !~ /Minor/;
	return $name =~ s/([a-z])([A-Z])/$1 . '_' . lc $2/ger;
}

sub spelt_operator
{
	my ($op) = @_;
	return $op if chance(0.8);
	return $op eq '=' ? '==' : '<>' if $op eq '=' || $op eq '!=';
	return lc($op) =~ s/_/any(' ', '-', '_')/ger;
}

# What contacts have for a field: row values, or its aggregate over all rows.
sub data_value
{
	my ($name, $x) = @_;
	my ($source, $type, $how, $of) = @{ $fields{$name} };
	my $of_source = $rows{ $x->{tenant} }{$source};
	my @contacts = sort { $a <=> $b } keys %$of_source;
	my $v;

	return undef if !@contacts;
	for (1 .. 5)
	{
		my @rows = @{ $of_source->{ any(@contacts) } };
		$v = $how eq 'row' ? $of->(any(@rows), $x) : aggregate($how, $x, map { $of->($_, $x) } @rows);
		last if defined $v;
	}
	return $v;
}

sub number_text
{
	my ($name, $x, $minor) = @_;
	my $v = data_value($name, $x) // any(0, 1, 5, 100);
	$v = $v->[0] / $v->[1] if ref $v;
	$v = floor($v * 4) / 4 if $v != floor($v) && $v < 1e15;
	$v += any(0, 0, 0, 0, 1, -1, 0.5, -0.25) if abs($v) < 1e15;
	$v = any(0, 0, -1, 1, 1e18, 0.5) if chance(0.06);
	my $text = abs($v) >= 1e15 ? sprintf('%.0f', $v) . '.0' : $v == floor($v) ? sprintf('%d', $v) : sprintf('%.2f', $v);
	# major units: the point two or no places to the left
	if ($fields{$name}[1] eq 'money' && !$minor && $exponent_of{ $x->{tenant} } == 2)
	{
		my ($sign, $whole, $part) = $text =~ /^(-?)(\d+)(?:\.(\d+))?$/;
		$whole = sprintf('%03s', $whole) if length $whole < 3;
		$text = $sign . (substr($whole, 0, -2) + 0) . '.' . substr($whole, -2) . ($part // '');
	}
	return $text =~ /^-0(?:\.0+)?$/ ? '0' : $text;
}

sub time_text
{
	my ($name, $x) = @_;
	my $v = $name ? data_value($name, $x) : undef;
	my $kind = rand();

	$v = $base if !defined $v || abs($v) >= $FOREVER || ref $v || $v !~ /^-?\d+$/;
	$v = $v * $DAY + 5 * 3_600_000_000 if abs($v) < 1_000_000;
	return utc_text($v + any(0, 0, 0, 1, -1, $DAY)) if $kind < 0.35;
	return day_text(local_day($v) + any(0, 0, 0, 1, -1)) if $kind < 0.6;
	return any(qw(now today yesterday tomorrow Today NOW)) if $kind < 0.75;
	return any('-30 days', '-7 days', '-1 day', '+6 hours', '6 hours', '-90days', '-2 weeks', '-12 hours', '+1 day', '-90 minutes') if $kind < 0.88;
	return any('-1 month', '-2 months', '-1 year', '+1 month', '-12 months') if $kind < 0.95;
	return any('2026-03-08 01:30', '2026-03-08 03:30', '2026-03-10T08:00', '2026-02-08 00:00');
}

sub days_text { return num(any(1, 7, 30, 30, 90, 180, 365, 0.5, 1.25, 31, 5, '7.0')) }

sub json_rule
{
	my ($name, $x, $rule) = @_;
	my $key = any(@json_keys);
	my $kind = any(qw(text text number number boolean time array array exists));

	$rule->{_key} = $key;
	$rule->{field} .= ".$key";
	if ($kind eq 'text')
	{
		$rule->{_op} = any('=', '!=', '>', '<', '>=', '<=', 'BETWEEN', 'STARTS_WITH');
		$rule->{value} = $rule->{_op} eq 'BETWEEN' ? [ sort(some(2, @texts, '5')) ] : any(@texts, '5', 'true', 'vip', '1', '[]', '{"vip": 1}', '');
	}
	elsif ($kind eq 'number')
	{
		$rule->{_op} = any('=', '!=', '>', '<', '>=', '<=', 'BETWEEN', 'IN', 'NOT_IN');
		my @n = map { num(any(0, 1, 2, 2.5, -3, 10, 100, 5, 5.5, 4, 0.5, '5.0')) } 1 .. any(1, 2, 3);
		@n = sort { $a->{text} <=> $b->{text} } num(any(0, 2, 5)), num(any(5, 5.5, 2)) if $rule->{_op} eq 'BETWEEN';
		$rule->{value} = $rule->{_op} =~ /BETWEEN|IN/ ? \@n : $n[0];
	}
	elsif ($kind eq 'boolean')
	{
		$rule->{_op} = any('=', '!=');
		$rule->{value} = bool(chance(0.5));
	}
	elsif ($kind eq 'time')
	{
		$rule->{_op} = any(qw(BEFORE AFTER WITHIN_LAST NOT_WITHIN_LAST));
		$rule->{value} = $rule->{_op} =~ /WITHIN/ ? days_text() : time_text(undef, $x);
	}
	elsif ($kind eq 'array')
	{
		$rule->{_op} = any(qw(CONTAINS IN NOT_IN));
		$rule->{value} = $rule->{_op} eq 'CONTAINS' ? any(@tags, 'Berlin') : [ some(any(1, 2, 3), @tags, @texts) ];
	}
	else
	{
		$rule->{_op} = any(qw(EXISTS NOT_EXISTS));
	}
}

# A comparison with a field; "where" conditions are given its source and are of rows.
sub compare
{
	my ($x, $of_source) = @_;
	my @candidates = $of_source ? grep { $fields{$_}[2] eq 'row' } @{ $names_of{$of_source} } : @names;
	my $name = any(@candidates);
	# sources as often as each other, not as their fields
	$name = any(@{ $names_of{ any(sort keys %names_of) } }) if !$of_source && chance(0.7);
	my ($source, $type, $how) = @{ $fields{$name} };
	my $minor = $type eq 'money' && $name !~ /Minor$/ && chance(0.4);
	my $rule = { _name => $name, field => spelt($name) . ($minor ? any('Minor', 'minor') : '') };
	my @compare = ('=', '!=', '>', '<', '>=', '<=', 'IN', 'NOT_IN', 'BETWEEN', 'EXISTS', 'NOT_EXISTS');
	my $op;

	if ($type eq 'json')
	{
		json_rule($name, $x, $rule);
	}
	else
	{
		$op = any($type eq 'boolean' ? ('=', '!=', 'EXISTS', 'NOT_EXISTS') : $type eq 'array' ? qw(CONTAINS IN NOT_IN EXISTS NOT_EXISTS)
			: $type eq 'text' ? ($name eq 'trip.nick' ? ('=', '!=', 'IN', 'NOT_IN', 'EXISTS') : (@compare, qw(CONTAINS STARTS_WITH)))
			: $type =~ /^(?:timestamp|date)$/ ? (@compare, qw(BEFORE AFTER WITHIN_LAST NOT_WITHIN_LAST WITHIN_LAST)) : @compare);
		$rule->{_op} = $op;
		my $value = sub {
			return num(number_text($name, $x, $minor || $name =~ /Minor$/)) if $type eq 'number' || $type eq 'money';
			return time_text($name, $x) if $type eq 'timestamp' || $type eq 'date';
			return bool(chance(0.5)) if $type eq 'boolean';
			return any(@tags, 'seat', 'bag') if $type eq 'array';
			my $v = data_value($name, $x) // any(@texts);
			$v = substr($v, any(0, 1), any(1, 2, 3)) if $op =~ /CONTAINS|STARTS/ && length $v > 1;
			return any(keys %{ $synonym{$name} }) if $synonym{$name} && chance(0.3);
			return chance(0.9) ? $v : any(@texts);
		};
		if ($op eq 'BETWEEN')
		{
			$rule->{value} = [ $value->(), $value->() ];
			$rule->{value} = [ sort { $a->{text} <=> $b->{text} } @{ $rule->{value} } ] if ref $rule->{value}[0] && chance(0.9);
		}
		elsif ($op =~ /IN$/)
		{
			$rule->{value} = [ map { $value->() } 1 .. any(1, 2, 3, 5) ];
		}
		elsif ($op =~ /WITHIN_LAST/)
		{
			$rule->{value} = days_text();
		}
		elsif ($op !~ /EXISTS/)
		{
			$rule->{value} = $value->();
		}
		elsif (chance(0.2))
		{
			$rule->{value} = bool(1);
		}
	}
	# "=" and EXISTS go without saying
	$rule->{operator} = spelt_operator($rule->{_op})
	  if !(($rule->{_op} eq '=' || ($rule->{_op} eq 'EXISTS' && !exists $rule->{value})) && chance(0.3));
	$rule->{not} = bool(chance(0.7)) if chance(0.12);
	if (!$of_source)
	{
		$rule->{within_days} = days_text() if $has_time{$source} && chance(0.35);
		if (chance(0.3) && grep { $fields{$_}[2] eq 'row' } @{ $names_of{$source} })
		{
			my $where = sub { return chance(0.8) ? compare($x, $source) : { logic => any(qw(AND OR or)), rules => [ compare($x, $source), compare($x, $source) ], (chance(0.3) ? (not => bool(1)) : ()) } };
			$rule->{where} = chance(0.5) ? $where->() : [ map { $where->() } 1 .. any(1, 2) ];
		}
	}
	return $rule;
}

sub short_form
{
	my ($x) = @_;
	my %values = (
		hasTickets => sub { bool(chance(0.7)) }, hasPurchasedInLast30Days => sub { bool(chance(0.7)) }, flew_first => sub { bool(chance(0.7)) }, emailEnabled => sub { bool(chance(0.6)) },
		totalSpentGreaterThan => sub { num(any(0, 10, 100, 99.99, -5)) }, min_ltv => sub { num(any(0, 10, 500, '20.00')) }, min_order_count => sub { num(any(0, 1, 2, 3)) },
		customer_tier => sub { any('gold', 'premium', [ 'gold', 'Gold' ]) }, city => sub { any('Berlin', 'New York', [ 'Berlin', "O'Hare" ]) }, tags => sub { any('vip', [ 'vip', 'fashion' ], ['x,y']) },
		lifecycle_stage => sub { any('New', 'Active', 'Engaged', [ 'Churned', 'At-Risk' ], 'At Risk' =~ s/ /-/r) }, categories => sub { any([ 'COMEDY', 'MUSIC' ], 'MUSIC') },
		attended_in_last_days => sub { days_text() }, price_ceiling => sub { num(any(1000, 60_000, 0, 999)) }, cabin => sub { any('FIRST', [ 'BUSINESS', 'FIRST' ]) },
		recent_cabin => sub { any('FIRST', 'ECONOMY') }, not_channel => sub { any('web', [ 'web', 'agent' ]) }, event_name => sub { any('view', [ 'view', 'search' ]) }, place => sub { any('gold', [ 'Berlin', 'gold' ]) });
	my @keys = sort keys %values;
	my %rule = map { $_ => $values{$_}->() } (chance(0.5) ? some(any(2, 3), qw(categories attended_in_last_days price_ceiling cabin recent_cabin city)) : ()), some(any(1, 2, 2, 3), @keys);
	$rule{not} = bool(chance(0.8)) if chance(0.1);
	return \%rule;
}

sub tree
{
	my ($x, $depth) = @_;
	my $kind = rand();

	return { (chance(0.8) ? (logic => any(qw(AND OR and Or))) : ()), rules => [ map { tree($x, $depth + 1) } 1 .. any(1, 2, 2, 3, 4) ], (chance(0.2) ? (not => bool(chance(0.8))) : ()) }
	  if $kind < ($depth == 0 ? 0.55 : $depth < 3 ? 0.25 : 0);
	return short_form($x) if $kind > 0.93;
	if ($kind > 0.89 && %{ $by_name{ $x->{tenant} } // {} })
	{
		my $name = any(sort keys %{ $by_name{ $x->{tenant} } });
		return { segment => chance(0.5) ? $name : num($named_id{ $x->{tenant} }{$name}), _segment => $name, (chance(0.3) ? (not => bool(1)) : ()) };
	}
	return compare($x, undef);
}

# The rule as it is sent: without the notes of this test.
sub sent
{
	my ($x) = @_;
	return [ map { sent($_) } @$x ] if ref $x eq 'ARRAY';
	return $x if ref $x ne 'HASH';
	return { map { $_ => sent($x->{$_}) } grep { !/^_/ } keys %$x };
}

# ---- instants ----

my @instants = ($base, $base + 1, $base - 1, $base + 30 * $DAY, $base - 30 * $DAY, $base + 7 * $DAY, $base - 90 * $DAY,
	days_from_civil(2026, 3, 8) * $DAY + 5 * 3_600_000_000, days_from_civil(2026, 3, 9) * $DAY + 4 * 3_600_000_000, days_from_civil(2026, 3, 31) * $DAY + 23 * 3_600_000_000,
	days_from_civil(2026, 2, 28) * $DAY + 18 * 3_600_000_000 + 1_800_000_000, days_from_civil(2028, 2, 29) * $DAY + 12 * 3_600_000_000);

# ---- the run ----

# segments others name: two static, four by rules, of which one names others
for my $tenant (1, 2)
{
	in_zone($zone_of{$tenant});
	my $x = { tenant => $tenant, at => $base };
	for my $n (1 .. 6)
	{
		my $name = "named \"$n\" O'Hare";
		my %made = $n <= 2 ? (members => { map { $_ => 1 } grep { chance(0.3) } @{ $ids{$tenant} } }) : (rules => tree($x, 1));
		my $rules = $made{rules} ? quote(to_json(sent($made{rules}))) : 'NULL';
		$named_id{$tenant}{$name} = $session->sql('SELECT mktg.create_segment(' . quote($name) . ", $rules, " . ($n <= 2 ? "'static'" : "'dynamic'") . ", tenant => $tenant)");
		$session->sql("SELECT mktg.add_to_segment($named_id{$tenant}{$name}, '{" . join(',', sort { $a <=> $b } keys %{ $made{members} }) . "}', $tenant)") if $n <= 2;
		$by_name{$tenant}{$name} = \%made;
	}
}

$session->sql(<<'END');
CREATE TEMP TABLE batch (id int, rules jsonb, contacts bigint[]);
CREATE FUNCTION pg_temp.answers(rules jsonb, at timestamptz, tenant bigint, contacts bigint[], why boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN concat_ws(':', mktg.estimate_segment(rules, at, tenant),
        (SELECT string_agg(mktg.matches(c, rules, at, tenant)::int::text, '' ORDER BY n) FROM unnest(contacts) WITH ORDINALITY AS u (c, n)),
        CASE WHEN why THEN (SELECT passed::int FROM mktg.why_segment(contacts[1], rules, at, tenant) LIMIT 1) END);
EXCEPTION WHEN OTHERS THEN
    RETURN 'ERROR ' || SQLSTATE || ' ' || SQLERRM;
END $$;
END

my %wrong;
my ($asked, $selective, $complained) = (0, 0, 0);

sub complain
{
	my ($what, $rule, $x, $text) = @_;
	$wrong{$what}++;
	return if $complained++ >= 10;
	diag("$what\n  rule: " . encode_utf8(to_json(sent($rule))) . "\n  tenant $x->{tenant} at " . utc_text($x->{at}) . "\n  " . encode_utf8($text));
}

for my $batch (0 .. $trees / $batch_size - 1)
{
	my $tenant = $batch % 6 == 5 ? 2 : 1;
	my $x = { tenant => $tenant, at => any(@instants) };
	my $at = quote(utc_text($x->{at}));
	in_zone($zone_of{$tenant});
	my @rules = map { tree($x, 0) } 1 .. $batch_size;
	my @expected = map { my $rule = $_; [ grep { tree_true($rule, $_, $x) } @{ $ids{$tenant} } ] } @rules;
	# of each, contacts from within and from without
	my @sample = map {
		my %in = map { $_ => 1 } @$_;
		my @out = grep { !$in{$_} } @{ $ids{$tenant} };
		[ (@$_ ? some(2, @$_) : ()), (@out ? some(2, @out) : ()) ]
	} @expected;

	$session->sql('TRUNCATE batch; INSERT INTO batch VALUES ' . join ",\n", map { "($_, " . quote(to_json(sent($rules[$_]))) . ", '{" . join(',', @{ $sample[$_] }) . "}')" } 0 .. $#rules);
	my $settings = $batch % 2 == 0 ? '' : 'SET LOCAL seq_page_cost = 0; SET LOCAL random_page_cost = 0; SET LOCAL cpu_tuple_cost = 0; SET LOCAL cpu_index_tuple_cost = 0; SET LOCAL cpu_operator_cost = 0;';
	my $parallel = $batch % 3 == 0 ? 'SET LOCAL max_parallel_workers_per_gather = 2; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL min_parallel_index_scan_size = 0; SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL parallel_leader_participation = ' . ($batch % 2 ? 'on;' : 'off;') : '';
	# without costs every estimate is the statement's
	my %answers = map { split /\|/, $_, 2 } split /\n/, $session->sql("BEGIN; $settings SELECT id, pg_temp.answers(rules, $at, $tenant, contacts, id % 5 = 0) FROM batch; COMMIT");
	my $out = $session->ask("BEGIN; $parallel SELECT count(mktg.create_segment('r' || id, rules, tenant => $tenant)) FROM batch; SELECT count(*) FROM mktg.refresh_segments($at, $tenant);"
		  . " SELECT substr(name, 2), size, coalesce(members, '') FROM mktg.segment s LEFT JOIN LATERAL (SELECT string_agg(contact_id::text, ',' ORDER BY contact_id) AS members FROM mktg.segment_member m WHERE m.tenant_id = s.tenant_id AND m.segment_id = s.segment_id) m ON true"
		  . " WHERE tenant_id = $tenant AND name ~ '^r[0-9]'; ROLLBACK");
	my %members;
	for my $line (split /\n/, $out)
	{
		if ($line =~ /^(\d+)\|(\d+)\|([\d,]*)$/) { $members{$1} = [ $2, $3 ] }
		elsif ($line !~ /^\d*$/) { $wrong{'a refresh complains'}++; diag("batch $batch: " . encode_utf8($line)) if $complained++ < 10 }
	}
	for my $i (0 .. $#rules)
	{
		my @in = @{ $expected[$i] };
		my %in = map { $_ => 1 } @in;
		my ($count, $matches, $why) = split /:/, $answers{$i} // '';
		my $want = join '', map { $in{$_} ? 1 : 0 } @{ $sample[$i] };

		$asked++;
		$selective++ if @in && @in < @{ $ids{$tenant} };
		if (!defined $matches || $answers{$i} =~ /^ERROR/)
		{
			complain('the statement fails', $rules[$i], $x, $answers{$i} // 'no answer');
			next;
		}
		complain('estimate_segment() differs', $rules[$i], $x, "$count, expected " . @in . ": @in") if $count != @in;
		complain('matches() differs', $rules[$i], $x, "contacts @{$sample[$i]}: $matches, expected $want") if $matches ne $want;
		complain('why_segment() differs', $rules[$i], $x, "contact $sample[$i][0]: $why, expected " . substr($want, 0, 1)) if defined $why && $why ne '' && $why ne substr($want, 0, 1);
		my $members = $members{$i} // [ -1, 'none' ];
		if ($members->[1] ne join(',', @in) || $members->[0] != @in)
		{
			my %has = map { $_ => 1 } split /,/, $members->[1];
			complain('the pass differs', $rules[$i], $x, "too many: @{[ grep { !$in{$_} } sort keys %has ]}; missing: @{[ grep { !$has{$_} } @in ]}; size $members->[0] of " . @in);
		}
	}
}
is_deeply(\%wrong, {}, "$asked trees: evaluator, statement and pass agree");
cmp_ok($selective, '>', $asked / 2, "most of them mean some and not all ($selective)");
$session->end;
$node->stop('fast');
done_testing();
