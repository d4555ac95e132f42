# Runs what README.md tells a newcomer to type, in its order.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# prove runs in the checkout
open my $file, '<', 'README.md' or die "README.md: $!";
my $readme = do { local $/; <$file> };
close $file;

my ($settings) = $readme =~ /^```\n(shared_preload_libraries.*?)^```$/ms;
ok($settings, 'README.md names the settings');
my $sql = join "\n", $readme =~ /^```sql\n(.*?)^```$/msg;
# the worker is given the time that a reader takes
my ($first, $rest) = $sql =~ /^(.*mktg\.process_daily\(\);)(.*)$/s;
ok($rest, 'README.md runs a campaign');

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init;
$node->append_conf('postgresql.conf', $settings);
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');

my $out = $node->safe_psql('shop', $first);
like($out, qr/^900\|0\|100\|0\|0\|0$/m, '900 are added, 100 have not consented');
like($out, qr/^1\|active\|900\|500\|2\|/m, 'two days are planned');
like($out, qr/^\d{4}-\d\d-\d\d\|1\|500\|0$/m, 'the batch of the day is queued');
ok($node->poll_query_until('shop', "SELECT count(*) = 500 FROM mktg.sandbox_message"), 'the worker sends it');
ok($node->poll_query_until('shop', "SELECT count(*) = 0 FROM mktg.outbox"), 'and records it');

$out = $node->safe_psql('shop', "\\set campaign 1\n$rest");
like($out, qr/^1\|Spring 2026\|active\|900\|400\|0\|500\|/m, 'the statistics tell');
like($out, qr/^customer(\d+)\@example\.com\|Spring is here, Customer \1\|Dear Customer \1, look/m, 'and the message is the template, rendered');
unlike($out, qr/\|f\|/, 'all is well');
like($out, qr/^40\|0\|40$/m, 'the segment has 40 members');
like($out, qr/^40\|0\|0\|0\|0\|0$/m, 'and they become recipients');

$node->stop('fast');
done_testing();
