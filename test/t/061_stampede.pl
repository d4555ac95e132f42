# A hundred sessions on one code: exactly as many uses as its limit, whatever is
# killed meanwhile, and as many of its budget.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);
use MktgTest;

my $node = new_node('stampede', installed => 0, config => "mktg.databases = ''\nmax_connections = 150\n");
$node->safe_psql('postgres', 'CREATE EXTENSION mktg; SELECT mktg.install()');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sql("INSERT INTO mktg.contact (external_id) SELECT 'c' || i FROM generate_series(1, 20) i");
# A refusal is an answer, and ends no client; what else goes wrong is counted.
sql(<<'END');
CREATE TABLE answer (answer text, n bigint);
CREATE FUNCTION redeem(code text, contact bigint, price bigint, key text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM mktg.redeem_promo(code, contact, jsonb_build_object('lines', jsonb_build_array(jsonb_build_object('unit_price', price))), NULL, key);
    RETURN 'ok';
EXCEPTION
    WHEN SQLSTATE 'MK080' THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        RETURN detail;
END $$;
-- limits and budgets against a recount
CREATE VIEW faults AS
SELECT l.code, l.usage_limit, l.uses_left, r.uses, l.budget, l.budget_left, r.spent FROM mktg.promo_list l
  LEFT JOIN (SELECT offer_id, count(*) AS uses, sum(discount - reversed) AS spent FROM mktg.redemption
              WHERE tenant_id = 1 AND status IN ('reserved', 'committed') GROUP BY 1) r ON r.offer_id = l.promo
 WHERE l.usage_limit - l.uses_left <> coalesce(r.uses, 0) OR l.budget - l.budget_left <> coalesce(r.spent, 0)
UNION ALL
SELECT 'contact ' || c.contact_id, NULL, NULL, c.used, NULL, NULL, count(r.*) FROM mktg.offer_contact c
  LEFT JOIN mktg.redemption r ON r.tenant_id = c.tenant_id AND r.offer_id = c.offer_id AND r.contact_id = c.contact_id
   AND r.period = c.period AND r.status IN ('reserved', 'committed')
 GROUP BY c.tenant_id, c.offer_id, c.contact_id, c.period, c.used HAVING c.used <> count(r.*);
END

# pgbench with so many clients, each that many times; what it says.
sub stampede
{
	my ($script, %opt) = @_;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/stampede.sql";
	my ($out, $err);

	append_to_file($file, '') unless -e $file;
	open my $to, '>', $file or die;
	print $to $script;
	close $to;
	my @limit = $opt{seconds} ? ('-T', $opt{seconds}) : ('-t', $opt{times} // 1);
	my $run = IPC::Run::start([ $node->installed_command('pgbench'), '-n', '-c', $opt{clients} // 100, '-j', 4, @limit, '-f', $file, $node->connstr('postgres') ],
		'<', '/dev/null', '>', \$out, '2>', \$err);
	$opt{meanwhile}->($run) if $opt{meanwhile};
	$run->finish;
	return $out . $err;
}

# ---- 100 sessions, a limit of 50 ----

for my $round (1 .. 3)
{
	sql("SELECT mktg.create_promo('FIFTY$round', 'percent', 10, usage_limit => 50)");
	unlike(stampede("SELECT redeem('FIFTY$round', NULL, 1000, NULL);"), qr/ERROR|FATAL/, "round $round: every session has an answer");
	is(sql("SELECT count(*) FROM mktg.promo_redemption WHERE promo_code = 'FIFTY$round' AND status = 'committed'"), '50', 'exactly fifty have it');
}
is(sql('SELECT count(*) FROM faults'), '0', 'limits are as recounted');

# ---- with kills in between ----

sql("SELECT mktg.create_promo('KILLED', 'percent', 10, usage_limit => 50, budget => 4001)");
my $kills = 0;
my $end = time + 120;
while (sql("SELECT uses_left FROM mktg.promo_list WHERE code = 'KILLED'") > 0 && time < $end)
{
	# budget: 40 times 100 and a last unit that nobody can use, so 40 uses
	last if sql("SELECT budget_left FROM mktg.promo_list WHERE code = 'KILLED'") < 100;
	stampede("SELECT redeem('KILLED', NULL, 1000, NULL);\n", clients => 60, times => 1, meanwhile => sub {
		for (1 .. 10)
		{
			$kills += try_sql($node, 'postgres', "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT redeem%' AND state <> 'idle' ORDER BY random() LIMIT 2) x") // 0;
			usleep(5_000);
		}
	});
}
cmp_ok($kills, '>', 0, "sessions were killed: $kills");
is(sql("SELECT count(*), sum(discount) FROM mktg.promo_redemption WHERE promo_code = 'KILLED' AND status = 'committed'"), '40|4000', 'the budget is used to the last discount that fits');
is(sql("SELECT uses_left, budget_left FROM mktg.promo_list WHERE code = 'KILLED'"), '10|1', 'and what is left is left');
is(sql('SELECT count(*) FROM faults'), '0', 'limits are as recounted');

# ---- the server is killed ----

sql("SELECT mktg.create_promo('CRASH', 'percent', 10, usage_limit => 100000)");
stampede("SELECT redeem('CRASH', NULL, 1000, NULL);", clients => 20, seconds => 20, meanwhile => sub {
	wait_sql($node, 'postgres', "SELECT count(*) > 200 FROM mktg.redemption");
	ok(crash_restart($node), 'the server is killed under load, and comes back');
});
cmp_ok(sql("SELECT uses FROM (SELECT usage_limit - uses_left AS uses FROM mktg.promo_list WHERE code = 'CRASH') x"), '>', 0, 'uses were committed');
is(sql('SELECT count(*) FROM faults'), '0', 'what is left is what they have not taken');

# ---- everything at once: no deadlock, and exact ----

sql(<<'END');
SELECT mktg.create_promo('MIX', 'percent', 10, usage_limit => 300, per_contact_limit => 40, budget => 25000);
CREATE FUNCTION mix(i integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r bigint; detail text;
    cart jsonb := jsonb_build_object('lines', jsonb_build_array(jsonb_build_object('unit_price', 100 + i * 7)));
BEGIN
    SELECT redemption_id INTO r FROM mktg.reserve_promo('mix', 1 + i % 20, cart, NULL, CASE i % 5 WHEN 0 THEN '1 microsecond' ELSE '1 hour' END::interval);
    IF i % 5 = 1 THEN
        PERFORM mktg.release_redemption(r);
    ELSIF i % 5 = 2 THEN
        PERFORM mktg.commit_redemption(r);
        PERFORM mktg.reverse_redemption(r, 1);
        PERFORM mktg.reverse_redemption(r);
    ELSIF i % 5 = 3 THEN
        PERFORM mktg.commit_redemption(r);
    END IF;
    RETURN 'ok';
EXCEPTION
    WHEN SQLSTATE 'MK080' THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        RETURN detail;
END $$;
END
my $said = stampede("\\set i random(1, 1000)\nSELECT mix(:i);", clients => 40, times => 30);
unlike($said, qr/deadlock|ERROR/, 'reserved, released, committed, reversed, over: nobody waits in a circle');
is(sql('SELECT mktg.maintain(); SELECT count(*) FROM faults'), "\n0", 'and limits, budgets and counts of contacts are as recounted');
is(sql("SELECT count(*) > 0 FROM mktg.promo_redemption WHERE promo_code = 'MIX' AND status = 'expired'"), 't', 'reservations that were over are ended');
is(sql("SELECT max(used) <= 40 FROM mktg.offer_contact"), 't', 'no contact has more than its share');

# ---- one contact, one use, a hundred times at once ----

sql("SELECT mktg.create_promo('MINE', 'percent', 10, per_contact_limit => 1), mktg.create_promo('KEYED', 'percent', 10, usage_limit => 50)");
stampede("SELECT redeem('MINE', 7, 1000, NULL);");
is(sql("SELECT count(*) FROM mktg.promo_redemption WHERE promo_code = 'MINE'"), '1', 'a contact uses it once');
unlike(stampede("SELECT redeem('KEYED', NULL, 1000, 'the key');"), qr/ERROR/, 'the same key, a hundred times at once');
is(sql("SELECT count(*) FROM mktg.promo_redemption WHERE promo_code = 'KEYED'"), '1', 'is one redemption');
is(sql('SELECT count(*) FROM faults'), '0', 'of one use');

$node->stop;
done_testing();
