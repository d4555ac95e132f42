# Without preloading, everything but the worker works.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MktgTest;

my $node = new_node('not_preloaded', installed => 0, config => "shared_preload_libraries = ''\n");

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

is(sql('CREATE EXTENSION mktg; SELECT mktg.install()'), '2', 'it is installed');
is_status($node, 'preloaded', qr/^f\|no worker can run; add mktg to shared_preload_libraries and restart$/,
	'status() says that it is not preloaded');
is_status($node, 'worker postgres', qr/^f\|none; mktg is not preloaded$/, 'and that there is no worker');
is_status($node, 'schema', qr/^t\|version 2$/, 'the tables are there');
is_status($node, 'armed', qr/^t\|/, 'and delivery is armed');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'mktg%'"), '0', 'no process of mktg runs');
is(sql("SET mktg.clock = '2025-01-15 09:00+00'; SELECT mktg.clock() = '2025-01-15 09:00+00'"), 't', 'the clock can be set');

# ---- a campaign up to the queue ----

add_contacts($node, 20);
my $id = add_campaign($node, name => 'spring', limit => 15);
is(sql("SELECT status, recipients_scheduled, estimated_days FROM mktg.activate_campaign($id, (mktg.clock() AT TIME ZONE 'UTC')::date)"),
	'active|20|2', 'a campaign is activated');
is(sql("SELECT count(mktg.unsubscribe(contact_id, 'whatsapp')) FROM mktg.recipient WHERE campaign_id = $id AND position <= 2"),
	'2', 'contacts unsubscribe');
is(sql('SELECT campaigns_processed, messages_queued, messages_skipped FROM mktg.process_daily()'),
	'1|13|2', 'the batch of the day is queued');
is(sql('SELECT campaigns_processed, messages_queued, messages_skipped FROM mktg.process_daily()'), '0|0|0', 'once');

my $message = sql(q{SELECT mktg.send(20, 'spring', '{}', 'whatsapp', 'order-1')});
is(sql("SELECT count(*) FROM mktg.outbox"), '14', 'send() queues a message');
is_conserved($node, 'queued');
are_counters_right($node, 'queued');

# ---- statuses, by hand ----

is(sql(<<"END"), "$message|sent", 'the queue can be worked by hand');
CREATE TEMP TABLE claimed AS SELECT * FROM mktg._claim(7::smallint, 100);
SELECT count(mktg._record(message, lease, 'sent')) FROM claimed \\gset
SELECT message, status FROM mktg.message m, claimed
 WHERE message = '$message' AND mktg._message_id(m.tenant_id, m.campaign_id, m.contact_id, m.ref) = message;
END
is(sql("SELECT mktg.record_status(message, 'read') FROM mktg.recipient WHERE campaign_id = $id AND position = 3"),
	't', 'a provider reports');
is(sql("SELECT total_target, pending, queued, sent, delivered, read, skipped FROM mktg.campaign_stats($id)"),
	'20|5|0|13|1|1|2', 'the statistics tell');
are_counters_right($node, 'sent');

is(sql("SELECT mktg.pause_campaign($id), mktg.resume_campaign($id), mktg.cancel_campaign($id)"),
	'paused|active|cancelled', 'pause, resume and cancel work');
are_counters_right($node, 'cancelled');
sql('SELECT mktg.maintain()');

# ---- the worker comes with preloading ----

sql(q{SELECT mktg.send(20, 'spring', '{}', 'whatsapp', 'order-2')});
is_status($node, 'queue', qr/^t\|1 waiting, 0 leased/, 'a message waits');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'mktg'\n");
$node->restart;
wait_delivering($node);
wait_drained($node);
is(sql("SELECT ref LIKE '%order-2', outcome FROM mktg.sandbox_message"), 't|sent', 'preloaded, the worker sends it');
is_status($node, 'preloaded', qr/^t\|/, 'and status() says so');

$node->stop('fast');
done_testing();
