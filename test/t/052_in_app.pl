# Messages in the application: the worker leaves them in the inbox with the
# record that says they were delivered, neither without it nor twice.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $node = new_node('in_app');
add_contacts($node, 200, channel => 'in_app');
$node->safe_psql('postgres', <<'SQL');
CREATE SERVER inbox FOREIGN DATA WRAPPER mktg_provider OPTIONS (driver 'in_app', keep_days '30');
SELECT mktg.set_sender('app', 'inbox', 'in_app');
SQL

sub scalar_of { return $node->safe_psql('postgres', $_[0]) }

# ---- a campaign ----

my $id = add_campaign($node, name => 'sale', channel => 'in_app', sender => 'app', subject => 'Hi {{name}}', body => 'Come in');
scalar_of(qq(UPDATE mktg.campaign SET template_data = '{"url": "/sale?c={{contact_id}}", "tags": ["{{name}}", 1]}' WHERE campaign_id = $id));
launch($node, $id);
wait_drained($node);
is(scalar_of("SELECT string_agg(format('%s %s', status, n), ', ') FROM (SELECT status, count(*) AS n FROM mktg.message
	WHERE campaign_id = $id GROUP BY status) s"), 'delivered 200', 'every message is delivered');
is(scalar_of("SELECT count(*) FROM mktg.inbox_message i JOIN mktg.message m USING (tenant_id, campaign_id, contact_id, ref)
	WHERE i.created_at = m.delivered_at AND i.created_at = m.sent_at AND i.read_at IS NULL"), '200', 'and in its inbox');
is(scalar_of('SELECT message, title, body, data FROM mktg.inbox(7)'),
	"1-$id-7|Hi Contact 7|Come in|{\"url\": \"/sale?c=7\", \"tags\": [\"Contact 7\", 1]}", 'rendered for each');
is(scalar_of("SELECT count(*) FROM mktg.inbox_message WHERE expires_at = created_at + interval '30 days'"), '200', 'for thirty days');
is(scalar_of('SELECT count(*) FROM mktg.sandbox_message'), '0', 'the sandbox has nothing of it');
is(scalar_of("SELECT count(*) FILTER (WHERE mktg.mark_read('1-$id-' || c)) FROM generate_series(1, 50) c"), '50', 'fifty are read');
is(scalar_of("SELECT delivered, read, read_rate FROM mktg.campaign_stats($id)") =~ s/\.?0+$//r, '200|50|0.25', 'a quarter of those delivered');
is_conserved($node, 'after a campaign');
are_counters_right($node, 'after a campaign');

# ---- single messages: variables, and a campaign that expires ----

my $message = scalar_of(q(SELECT mktg.send(9, 'sale', '{"order": "{{name}}", "code": "A\"7"}', 'in_app', sender => 'app')));
wait_drained($node);
is(scalar_of('SELECT message, data FROM mktg.inbox(9) LIMIT 1'), $message . '|{"code": "A\"7", "order": "{{name}}"}',
	'variables are values, and no templates');
scalar_of("SELECT mktg.set_delivery_limits(campaign_id, mktg.clock() + interval '1 hour') FROM mktg.campaign WHERE type = 'transactional'");
$message = scalar_of(q(SELECT mktg.send(9, 'sale', '{}', 'in_app', sender => 'app')));
wait_drained($node);
is(scalar_of("SELECT message, expires_at < mktg.clock() + interval '1 hour' FROM mktg.inbox(9) LIMIT 1"), "$message|t",
	'what expires with its campaign is not shown longer');

# ---- the server dies, again and again: each message is there once ----

my $many = 3000;
add_contacts($node, $many - 200, from => 201, channel => 'in_app');
my $crashed = add_campaign($node, name => 'many', channel => 'in_app', sender => 'app');
set_config($node, 'mktg.max_in_flight' => 4);
launch($node, $crashed);
my ($crashes, $delivered) = (0, 0);
for (1 .. 3)
{
	$node->poll_query_until('postgres',
		"SELECT count(*) > $delivered FROM mktg.message WHERE campaign_id = $crashed AND status = 'delivered'") or last;
	$delivered = scalar_of("SELECT count(*) FROM mktg.message WHERE campaign_id = $crashed AND status = 'delivered'");
	last if $delivered == $many;
	crash_restart($node) or BAIL_OUT('the server does not start');
	wait_delivering($node);
	$crashes++;
}
set_config($node, 'mktg.max_in_flight' => 64);
wait_drained($node);
cmp_ok($crashes, '>', 0, "the server crashed under way, $crashes times");
is(scalar_of("SELECT count(*) FROM mktg.message WHERE campaign_id = $crashed AND status = 'delivered'"), $many, 'every message is delivered');
is(scalar_of("SELECT count(*) FROM mktg.inbox_message WHERE campaign_id = $crashed"), $many, 'each once');
is_conserved($node, 'after crashes');
are_counters_right($node, 'after crashes');

$node->stop;
done_testing();
