#!/bin/bash
#
# Audiences and plans: adding recipients against a bare INSERT ... SELECT of the
# same rows, and activating a campaign against writing a date into each row.
# Rounds are interleaved, the reference beside everything measured; figures are
# medians of a round's ratios.
#
#	[ROUNDS=3] [RECIPIENTS=1000000] bench/audience.sh
set -eu
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rounds=${ROUNDS:-3}
recipients=${RECIPIENTS:-1000000}

# shellcheck disable=SC2119 # no settings of its own
bench_start
echo "$recipients contacts; $rounds rounds"
out=$bench_tmp/audience
rm -rf "$out"
mkdir -p "$out"

sql <<-END
	CREATE SCHEMA bench;
	INSERT INTO mktg.contact (external_id, name, phone, email)
	SELECT 'c' || i, 'Name ' || i, '+4477' || lpad(i::text, 8, '0'), 'c' || i || '@example.com'
	  FROM generate_series(1, $recipients) i;
	INSERT INTO mktg.consent (contact_id, channel) SELECT contact_id, 'email' FROM mktg.contact ORDER BY contact_id;
	CREATE TABLE bench.bare (LIKE mktg.message INCLUDING ALL);
	-- arrays as they are, so that reading them costs next to nothing
	CREATE TABLE bench.input (contacts bigint[], addresses text[]);
	ALTER TABLE bench.input ALTER contacts SET STORAGE external, ALTER addresses SET STORAGE external;
	INSERT INTO bench.input SELECT array_agg(contact_id ORDER BY contact_id), array_agg(email ORDER BY contact_id) FROM mktg.contact;
	VACUUM ANALYZE;
END
sql -c "SELECT mktg.create_template('news', 'email', subject => 'News', body => 'Dear {{name}}')" > /dev/null

# Milliseconds of one statement, commit included.
milliseconds()
{
	sql -c '\timing on' -c "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
}

# add NAME CALL: a new campaign gets its recipients; then the same rows, bare.
# The tables are empty before either.
add()
{
	local campaign added
	sql -c 'TRUNCATE mktg.message' -c 'TRUNCATE bench.bare'
	campaign=$(sql -c "SELECT mktg.create_campaign('$1', 'email', template => 'news', daily_send_limit => 250)")
	milliseconds "SELECT * FROM ${2//CAMPAIGN/$campaign}" >> "$out/$1"
	added=$(sql -c "SELECT count(*) FROM mktg.message WHERE tenant_id = 1 AND campaign_id = $campaign")
	[ "$added" = "$recipients" ] || fail "$1 added $added recipients of $recipients"
	milliseconds "INSERT INTO bench.bare (tenant_id, campaign_id, contact_id, address, position)
		SELECT tenant_id, campaign_id, contact_id, address, position FROM mktg.message" >> "$out/$1.bare"
	last_campaign=$campaign
}

# The plan of the campaign just filled, and a date in each row of its bare copy.
activate()
{
	local day
	day=$(sql -c 'SELECT current_date + 1')
	milliseconds "SELECT * FROM mktg.activate_campaign($last_campaign, '$day')" >> "$out/activate"
	milliseconds "UPDATE bench.bare SET send_day = date '$day' + (position - 1) / 250
		WHERE tenant_id = 1 AND campaign_id = $last_campaign" >> "$out/activate.dates"
	sql -c "SELECT mktg.cancel_campaign($last_campaign)" > /dev/null
}

for ((round = 0; round < rounds; round++)); do
	add contacts "mktg.add_recipients(CAMPAIGN, (SELECT contacts FROM bench.input))"
	add addresses "mktg.add_recipients(CAMPAIGN, (SELECT addresses FROM bench.input))"
	add all "mktg.add_all_contacts(CAMPAIGN)"
	activate
done

# report NAME CALL
report()
{
	printf '%s: %.1f s, bare INSERT ... SELECT %.1f s\n' "$2" \
		"$(median < "$out/$1" | awk '{ print $1 / 1000 }')" "$(median < "$out/$1.bare" | awk '{ print $1 / 1000 }')"
	figure "$2" "$(ratio "$out/$1" "$out/$1.bare")" "<=1.3"
}

echo
echo "adding $recipients recipients; ratio to a bare INSERT ... SELECT of the same rows"
report all add_all_contacts
report contacts "add_recipients, array of contacts"
report addresses "add_recipients, array of addresses"
echo
printf 'activate_campaign, 250 a day: %.0f ms; UPDATE of %s dates %.0f ms\n' \
	"$(median < "$out/activate")" "$recipients" "$(median < "$out/activate.dates")"
figure "UPDATE of a date in each row, over activate_campaign" "$(ratio "$out/activate.dates" "$out/activate")" ">=50"
[ "$bench_missed" = 0 ] || fail "$bench_missed figures missed"
