# A million codes: all different, all with their check symbol, and none that a
# mistake makes of another.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $node = new_node('codes', installed => 0, config => "mktg.databases = ''\nmax_wal_size = 4GB\n");
$node->safe_psql('postgres', 'CREATE EXTENSION mktg; SELECT mktg.install()');

sub sql { return $node->safe_psql('postgres', $_[0]) }

my $promo = sql("SELECT mktg.create_promo('MILLION', 'percent', 10)");
is(sql("SELECT mktg.generate_codes($promo, 1000000, 'M-')"), '1000000', 'a million codes');
is(sql("SELECT count(DISTINCT code) FROM mktg.promo_code WHERE offer_id = $promo"), '1000000', 'all different');

# The check symbol as the manual has it, reckoned here: a sum in GF(32).
my $alphabet = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
my %number = map { substr($alphabet, $_, 1) => $_ } 0 .. 31;
my @double = map { my $c = $_ << 1; $c & 32 ? $c ^ 37 : $c } 0 .. 31;

sub remainder
{
	my $c = 0;
	$c = $double[ $c ^ $number{$_} ] for split //, $_[0];
	return $c;
}

my @codes = map { substr($_, 1) } split /\n/, sql("SELECT code FROM mktg.promo_code WHERE offer_id = $promo");
is(scalar(grep { !/^[$alphabet]{8}$/ } @codes), 0, 'of eight symbols of the alphabet behind the prefix');
is(scalar(grep { remainder($_) != 0 } @codes), 0, 'with the right check symbol');
my %count;
$count{$_}++ for map { split // } @codes[ map { $_ * 10 } 0 .. 99_999 ];
is(scalar(grep { abs($_ - 25_000) > 1_000 } values %count), 0, 'every symbol is as frequent as the others');

# mistyped codes are refused by the database, whatever was mistyped
my (@wrong, %is_code);
@is_code{@codes} = ();
for my $code (@codes[ 0, 500_000, 999_999 ])
{
	for my $place (0 .. 7)
	{
		push @wrong, map { my $w = $code; substr($w, $place, 1) = $_; $w } grep { $_ ne substr($code, $place, 1) } split //, $alphabet;
		next if $place == 7 || substr($code, $place, 1) eq substr($code, $place + 1, 1);
		my $swapped = $code;
		substr($swapped, $place, 2) = reverse substr($code, $place, 2);
		push @wrong, $swapped;
	}
}
cmp_ok(scalar(@wrong), '>', 700, 'every single error and every swap of neighbours in three codes');
is(scalar(grep { exists $is_code{$_} } @wrong), 0, 'makes none of the million');
my $list = join ',', map { "('m$_')" } @wrong;
is(sql(<<"END"), 'unknown|0', 'and is refused without a table');
SELECT reason FROM mktg.validate_promo('m2222', NULL, '{"lines": [{"unit_price": 100}]}') \\g /dev/null
BEGIN;
SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) AS before FROM pg_stat_xact_all_tables WHERE schemaname = 'mktg' \\gset
SELECT string_agg(DISTINCT v.reason, ' ') AS reasons FROM (VALUES $list) w (code), mktg.validate_promo(w.code, NULL, '{"lines": [{"unit_price": 100}]}') v \\gset
SELECT :'reasons', coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) - :before FROM pg_stat_xact_all_tables WHERE schemaname = 'mktg';
COMMIT;
END

# another session's codes end what this one remembers
my $session = $node->background_psql('postgres');
is($session->query_safe(q(SELECT reason FROM mktg.validate_promo('M-AAAA-AAAA', NULL, '{"lines": [{"unit_price": 100}]}'))), 'unknown', 'a code that is none');
sql("SELECT mktg.create_promo('MAAAAAAAA', 'percent', 10)");
is($session->query_safe(q(SELECT reason FROM mktg.validate_promo('M-AAAA-AAAA', NULL, '{"lines": [{"unit_price": 100}]}'))), 'ok', 'until somebody makes it one');

# what it knows of an offer, too, whoever changes it and however
sql(<<'END');
CREATE FUNCTION redeem() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT discount FROM mktg.redeem_promo('M-AAAA-AAAA', NULL, '{"lines": [{"unit_price": 100}]}', NULL, NULL));
EXCEPTION
    WHEN SQLSTATE 'MK080' THEN RETURN 'refused';
END $$
END
sub redeem { return $session->query_safe('SELECT redeem()') }

is(redeem(), '10', 'it is redeemed');
sql("UPDATE mktg.offer SET value = 20 WHERE code = 'MAAAAAAAA'");
is(redeem(), '20', 'at another value');
sql("SELECT mktg.disable_promo(promo) FROM mktg.promo_list WHERE code = 'MAAAAAAAA'");
is(redeem(), 'refused', 'disabled, it is refused');
sql("SELECT mktg.disable_promo(promo, false) FROM mktg.promo_list WHERE code = 'MAAAAAAAA'");
is(redeem(), '20', 'until it is not');
sql("UPDATE mktg.tenant SET currency = 'INR'");
is(redeem(), '20', 'a redemption after the tenant has another currency');
is(sql('SELECT currency FROM mktg.redemption ORDER BY redemption_id DESC LIMIT 1'), 'INR', 'is in that one');
$session->quit;

$node->stop;
done_testing();
