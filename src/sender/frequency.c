/*-------------------------------------------------------------------------
 *
 * frequency.c
 *		Caps on how many messages a contact gets, over all campaigns.
 *
 * Counted when a message is claimed for the first time, so that what is under
 * way counts, and taken back if it never arrives.  Claims of a tenant that has
 * caps go one after another.
 *
 * IDENTIFICATION
 *		src/sender/frequency.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/base.h"
#include "sender/sender.h"

static const Oid touch_types[] = {INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};

const Oid	mktg_untouch_types[4] = {INT8OID, INT8OID, INT8OID, TEXTOID};

static MktgColumns
columns_of(const MktgTouch *touches, int n, TimestampTz now)
{
	MktgColumns columns = MKTG_COLUMNS(touch_types);

	for (int i = 0; i < n; i++)
		mktg_columns_add(&columns, (MktgArg[])
						 {
							 MKTG_INT64(touches[i].tenant_id), MKTG_INT64(touches[i].contact_id),
							 MKTG_INT64(touches[i].campaign_id), MKTG_TEXT(touches[i].ref), MKTG_TIME(now),
							 MKTG_TEXT(touches[i].channel), MKTG_TEXT(touches[i].type)
						 });
	return columns;
}

void
mktg_frequency_lock(const int64 *tenants, int n)
{
	static MktgQuery query = MKTG_QUERY("SELECT FROM mktg.frequency_cap WHERE tenant_id = ANY ($1)"
										" ORDER BY tenant_id, name FOR NO KEY UPDATE", INT8ARRAYOID);
	Datum	   *ids = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(tenants[i]);
	if (n > 0)
		mktg_call(&query, MKTG_ARG(mktg_array(ids, NULL, n, INT8OID)));
}

void
mktg_frequency_ask(MktgTouch *touches, int n, TimestampTz now)
{
	/* a cap that skips has the last word; else the one that frees latest */
	static MktgQuery query = MKTG_QUERY(
		"SELECT DISTINCT ON (u.i) u.i::integer, f.name, f.action = 'skip',"
		"  (SELECT s.at FROM mktg.contact_send s WHERE s.tenant_id = u.tenant_id AND s.contact_id = u.contact_id AND s.at > u.now - f.per"
		"     AND " MKTG_SQL_CAP_MEANS("f", "s")
		"    ORDER BY s.at OFFSET k.n - f.messages LIMIT 1) + f.per AS until"
		" FROM unnest($1, $2, $3, $4, $5, $6, $7) WITH ORDINALITY AS u (tenant_id, contact_id, campaign_id, ref, now, channel, type, i)"
		" JOIN mktg.frequency_cap f ON f.tenant_id = u.tenant_id AND " MKTG_SQL_CAP_MEANS("f", "u")
		" CROSS JOIN LATERAL (SELECT count(*) AS n FROM mktg.contact_send s"
		"   WHERE s.tenant_id = u.tenant_id AND s.contact_id = u.contact_id AND s.at > u.now - f.per"
		"    AND " MKTG_SQL_CAP_MEANS("f", "s") ") k"
		" WHERE k.n >= f.messages ORDER BY u.i, f.action = 'skip' DESC, until DESC, f.name",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID);
	MktgColumns columns = columns_of(touches, n, now);
	uint64		count = mktg_run_columns(&query, &columns);

	for (uint64 i = 0; i < count; i++)
	{
		MktgTouch  *touch = &touches[mktg_int32_at(i, 1) - 1];

		touch->over = true;
		touch->cap = mktg_text_at(i, 2);
		touch->skip = mktg_bool_at(i, 3);
		touch->until = (TimestampTz) mktg_int64_at(i, 4);
	}
}

void
mktg_frequency_record(const MktgTouch *touches, int n, TimestampTz now)
{
	static MktgQuery query = MKTG_QUERY(
		"INSERT INTO mktg.contact_send AS s (tenant_id, contact_id, campaign_id, ref, at, channel, type)"
		" SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)"
		" ON CONFLICT (tenant_id, contact_id, campaign_id, ref) DO UPDATE SET at = excluded.at",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID);
	MktgColumns columns = columns_of(touches, n, now);

	mktg_run_columns(&query, &columns);
}

void
mktg_frequency_forget(const MktgColumns *messages)
{
	static MktgQuery query = MKTG_QUERY(
		"DELETE FROM mktg.contact_send s USING unnest($1, $2, $3, $4) AS u (tenant_id, campaign_id, contact_id, ref)"
		" WHERE s.tenant_id = u.tenant_id AND s.contact_id = u.contact_id AND s.campaign_id = u.campaign_id AND s.ref = u.ref",
		INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID);

	mktg_run_columns(&query, messages);
}
