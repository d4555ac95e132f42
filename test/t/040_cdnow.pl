# The CDNOW purchases, which published figures exist for: scores of all of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $data = ($ENV{MKTG_SPECS} // "$FindBin::RealBin/../../../shared/specs") . '/../data/cdnow_transactions.csv';
plan skip_all => 'no shared/data/cdnow_transactions.csv' if !-r $data;

my $node = new_node('cdnow', installed => 0, config => "mktg.databases = ''\n");
$node->safe_psql('postgres', 'CREATE EXTENSION mktg; SELECT mktg.install()');

open my $file, '<', $data or die "$data: $!";
my $lines = join '', <$file>;
close $file;
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE cdnow (customer bigint, day date, quantity integer, amount numeric);
COPY cdnow FROM stdin (FORMAT csv, HEADER);
$lines\\.
INSERT INTO mktg.contact (contact_id) SELECT DISTINCT customer FROM cdnow;
INSERT INTO mktg.purchase (contact_id, amount, currency, placed_at)
SELECT customer, amount * 100, 'USD', day::timestamp AT TIME ZONE 'UTC' FROM cdnow;
SQL
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT contact_id), sum(amount) FROM mktg.purchase'),
	'6919|2357|24409194', 'purchases are all there');

is($node->safe_psql('postgres', "SELECT mktg.score_rfm(at => '1998-06-30 00:00+00')"), 2357, 'every customer is scored');
is($node->safe_psql('postgres', 'SELECT segment, count(*) FROM mktg.rfm_score GROUP BY 1 ORDER BY 2 DESC'), <<'END' =~ s/\n\z//r, 'by fixed thresholds');
Lost|1536
Potential Loyalists|247
Hibernating|222
About to Sleep|198
Needs Attention|117
Promising|20
At Risk|9
Recent Customers|7
Can't Lose Them|1
END
is($node->safe_psql('postgres', 'SELECT contact_id, code FROM mktg.rfm_score WHERE contact_id IN (1, 6) ORDER BY 1'),
	"1|231\n6|553", 'customers 1 and 6');
is($node->safe_psql('postgres', 'SELECT sum(frequency), sum(monetary) FROM mktg.rfm_score'), '6696|24409194',
	'purchases of one day are one, and no cent is lost');

# NTILE makes three scores of those who bought once: why fixed is the default
$node->safe_psql('postgres', "SELECT mktg.score_rfm('ntile', at => '1998-06-30 00:00+00')");
is($node->safe_psql('postgres', 'SELECT string_agg(DISTINCT f::text, $$,$$), count(*) FROM mktg.rfm_score WHERE frequency = 1'),
	'1,2,3|1218', 'by ntile, buyers of one day have F of 1, 2 or 3');
$node->safe_psql('postgres', "SELECT mktg.score_rfm('percentile', at => '1998-06-30 00:00+00')");
is($node->safe_psql('postgres', 'SELECT string_agg(DISTINCT f::text, $$,$$) FROM mktg.rfm_score WHERE frequency = 1'),
	'1', 'by percentile, all of them have 1');

done_testing();
