/*-------------------------------------------------------------------------
 *
 * campaign.c
 *		Campaigns and the states they go through.
 *
 *		draft -> active -> completed
 *		         active <-> paused
 *		draft, active, paused -> cancelled
 *		completed -> active when a doubt is settled by sending again
 *
 * The trigger holds this against every UPDATE, ours and anybody's.  A draft
 * becomes active with its start_date, as activate_campaign() does.
 *
 * IDENTIFICATION
 *		src/campaign/campaign.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "base/base.h"
#include "campaign/campaign.h"
#include "segment/segment.h"

static bool transition_allowed(const char *from, const char *to, const char *type);

PG_FUNCTION_INFO_V1(mktg_create_campaign);
PG_FUNCTION_INFO_V1(mktg_require_campaign_sql);
PG_FUNCTION_INFO_V1(mktg_campaign_guard);

/*
 * SQL: mktg.create_campaign(name, channel, template, sender, type,
 *		daily_send_limit, priority, description, template_data,
 *		target_audience, tenant) returns bigint
 *
 * Errors: MK010 tenant, MK012 channel, MK013 template, MK015 sender, MK020
 * name, MK021 limit, MK024 type, priority or template_data, MK032 template or
 * sender of another channel, those of rules for target_audience.
 */
Datum
mktg_create_campaign(PG_FUNCTION_ARGS)
{
	static MktgQuery query = MKTG_QUERY("INSERT INTO mktg.campaign (name, channel, template_id, sender_id, type,"
										" daily_send_limit, priority, description, template_data, target_audience, tenant_id)"
										" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, '{}'), $10, $11)"
										" RETURNING campaign_id",
										TEXTOID, TEXTOID, INT8OID, INT8OID, TEXTOID, INT4OID, INT4OID,
										TEXTOID, JSONBOID, JSONBOID, INT8OID);
	char	   *name = mktg_text_argument(fcinfo, 0, "name");
	char	   *channel = mktg_text_argument(fcinfo, 1, "channel");
	char	   *type = mktg_text_argument(fcinfo, 4, "type");
	int32		priority = PG_ARGISNULL(6) ? 5 : PG_GETARG_INT32(6);
	int64		tenant = mktg_int64_argument(fcinfo, 10, "tenant");
	int64		template_id = 0;
	int64		sender;
	int64		campaign;

	mktg_begin();
	mktg_require_tenant(tenant);
	mktg_require_name("campaign", name);
	mktg_require_channel(channel);
	if (!PG_ARGISNULL(5))
		mktg_require_limit("daily_send_limit", PG_GETARG_INT32(5));
	if (priority < 1 || priority > 10)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("priority must be from 1 to 10"),
				 errdetail("The value given is %d.", priority),
				 errhint("10 goes first, 5 is usual.")));
	if (strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(type) ||
		strlen(type) > 63 || !(type[0] >= 'a' && type[0] <= 'z'))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("campaign type \"%s\" is not a word", type),
				 errhint("Use small letters, digits and _, such as promotional, newsletter or transactional.")));
	mktg_require_object(fcinfo, 8, "template_data");
	if (!PG_ARGISNULL(9))
		(void) mktg_compile_rules(PG_GETARG_JSONB_P(9), mktg_now(), tenant);
	if (!PG_ARGISNULL(2))
		template_id = mktg_find_template(text_to_cstring(PG_GETARG_TEXT_PP(2)), channel, tenant);
	sender = mktg_find_sender(mktg_optional_text(fcinfo, 3),
							  channel, tenant);

	mktg_call(&query, MKTG_TEXT(name), MKTG_TEXT(channel),
			  template_id ? MKTG_INT64(template_id) : MKTG_NULL,
			  sender ? MKTG_INT64(sender) : MKTG_NULL,
			  MKTG_TEXT(type), MKTG_FCARG(5), MKTG_INT32(priority), MKTG_FCARG(7),
			  MKTG_FCARG(8), MKTG_FCARG(9), MKTG_INT64(tenant));
	campaign = mktg_int64_at(0, 1);
	mktg_end();
	PG_RETURN_INT64(campaign);
}

void
mktg_require_object(FunctionCallInfo fcinfo, int n, const char *what)
{
	Jsonb	   *value;

	if (PG_ARGISNULL(n))
		return;
	value = PG_GETARG_JSONB_P(n);
	if (!JB_ROOT_IS_OBJECT(value))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_VALUE),
				 errmsg("%s must be a JSON object", what),
				 errhint("For example '{\"discount\": \"20 %%\"}'.")));
	if (VARSIZE(value) > MKTG_MAX_JSON)
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_TOO_LARGE),
				 errmsg("%s is too large", what),
				 errdetail("It has %d bytes, and %d are the most.", (int) VARSIZE(value), MKTG_MAX_JSON),
				 errhint("Pass what the template names, and no more.")));
}

void
mktg_require_campaign(int64 campaign, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT 1 FROM mktg.campaign WHERE tenant_id = $1 AND campaign_id = $2",
										INT8OID, INT8OID);

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(campaign)) > 0)
		return;
	mktg_require_tenant(tenant);
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_UNKNOWN_CAMPAIGN),
			 errmsg("campaign " INT64_FORMAT " does not exist", campaign),
			 errdetail("Tenant " INT64_FORMAT " has no such campaign.", tenant),
			 errhint("The view mktg.campaign_list lists them; mktg.create_campaign() makes one.")));
}

/*
 * SQL: mktg._require_campaign(campaign bigint, tenant bigint) returns bigint
 */
Datum
mktg_require_campaign_sql(PG_FUNCTION_ARGS)
{
	int64		campaign = mktg_int64_argument(fcinfo, 0, "campaign");
	int64		tenant = mktg_int64_argument(fcinfo, 1, "tenant");

	mktg_begin();
	mktg_require_campaign(campaign, tenant);
	mktg_end();
	PG_RETURN_INT64(campaign);
}

void
mktg_lock_campaign(int64 campaign, int64 tenant, MktgCampaign *out)
{
	static MktgQuery query = MKTG_QUERY("SELECT name, type, channel, status, template_id, sender_id,"
										" daily_send_limit, last_position FROM mktg.campaign"
										" WHERE tenant_id = $1 AND campaign_id = $2 FOR NO KEY UPDATE",
										INT8OID, INT8OID);

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_INT64(campaign)) == 0)
		mktg_require_campaign(campaign, tenant);
	out->tenant_id = tenant;
	out->campaign_id = campaign;
	out->name = mktg_text_at(0, 1);
	out->type = mktg_text_at(0, 2);
	out->channel = mktg_text_at(0, 3);
	out->status = mktg_text_at(0, 4);
	out->template_id = mktg_int64_at(0, 5);
	out->sender_id = mktg_int64_at(0, 6);
	out->daily_limit = mktg_int32_at(0, 7);
	out->last_position = mktg_int32_at(0, 8);
}

int64
mktg_find_template(const char *name, const char *channel, int64 tenant)
{
	static MktgQuery query = MKTG_QUERY("SELECT template_id, channel FROM mktg.template"
										" WHERE tenant_id = $1 AND name = $2 ORDER BY channel = $3 DESC LIMIT 1",
										INT8OID, TEXTOID, TEXTOID);

	if (mktg_call(&query, MKTG_INT64(tenant), MKTG_TEXT(name), MKTG_TEXT(channel)) == 0)
	{
		mktg_require_tenant(tenant);
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_TEMPLATE),
				 errmsg("template \"%s\" does not exist", name),
				 errdetail("Tenant " INT64_FORMAT " has no template of that name.", tenant),
				 errhint("mktg.create_template() makes one.")));
	}
	if (strcmp(mktg_text_at(0, 2), channel) != 0)
		mktg_refuse_other_channel("template", name, mktg_text_at(0, 2), channel);
	return mktg_int64_at(0, 1);
}

int64
mktg_find_sender(const char *name, const char *channel, int64 tenant)
{
	static MktgQuery by_name = MKTG_QUERY("SELECT sender_id, channel FROM mktg.sender"
										  " WHERE tenant_id = $1 AND name = $2", INT8OID, TEXTOID);

	/* one made for the channel before one that serves all, the oldest first */
	static MktgQuery by_channel = MKTG_QUERY("SELECT sender_id FROM mktg.sender"
											 " WHERE tenant_id = $1 AND is_active AND (channel = $2 OR channel IS NULL)"
											 " ORDER BY channel IS NULL, sender_id LIMIT 1", INT8OID, TEXTOID);

	if (name == NULL)
		return mktg_call(&by_channel, MKTG_INT64(tenant), MKTG_TEXT(channel)) == 0 ? 0 : mktg_int64_at(0, 1);
	if (mktg_call(&by_name, MKTG_INT64(tenant), MKTG_TEXT(name)) == 0)
	{
		mktg_require_tenant(tenant);
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_UNKNOWN_SENDER),
				 errmsg("sender \"%s\" does not exist", name),
				 errdetail("Tenant " INT64_FORMAT " has no sender of that name.", tenant),
				 errhint("mktg.set_sender() makes one.")));
	}
	if (!mktg_null_at(0, 2) && strcmp(mktg_text_at(0, 2), channel) != 0)
		mktg_refuse_other_channel("sender", name, mktg_text_at(0, 2), channel);
	return mktg_int64_at(0, 1);
}

void
mktg_refuse_other_channel(const char *kind, const char *name, const char *has, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_WRONG_CHANNEL),
			 errmsg("%s \"%s\" is for another channel", kind, name),
			 errdetail("It is for channel %s, and %s is wanted.", has, wanted),
			 errhint("Name a %s of channel %s.", kind, wanted)));
}

void
mktg_refuse_transition(const MktgCampaign *campaign, const char *action)
{
	ereport(ERROR,
			(errcode(ERRCODE_MKTG_INVALID_TRANSITION),
			 errmsg("campaign " INT64_FORMAT " cannot be %s", campaign->campaign_id, action),
			 errdetail("It is %s.", campaign->status),
			 errhint("A draft can be activated or cancelled, an active campaign paused or cancelled, "
					 "a paused one resumed or cancelled; completed and cancelled are the end.")));
}

static bool
transition_allowed(const char *from, const char *to, const char *type)
{
	static const char *const edges[][2] = {
		{"", "draft"}, {"draft", "active"}, {"draft", "cancelled"},
		{"active", "paused"}, {"active", "completed"}, {"active", "cancelled"},
		{"paused", "active"}, {"paused", "cancelled"}, {"completed", "active"}
	};

	if (strcmp(from, to) == 0)
		return true;
	/* the streams behind mktg.send() and send_conversion(), and what sync_segment() makes, are born running */
	if (from[0] == '\0' && strcmp(to, "active") == 0)
		return strcmp(type, "transactional") == 0 || strcmp(type, "conversion") == 0 ||
			strcmp(type, "audience_sync") == 0;
	for (int i = 0; i < lengthof(edges); i++)
		if (strcmp(edges[i][0], from) == 0 && strcmp(edges[i][1], to) == 0)
			return true;
	return false;
}

/*
 * Trigger on campaign: BEFORE INSERT OR UPDATE, FOR EACH ROW.
 *
 * Errors: MK033 for a change of status the state machine does not have.
 */
Datum
mktg_campaign_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	tupdesc;
	HeapTuple	row;
	char	   *from = "";
	char	   *to;
	char	   *type;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_campaign_guard must be fired before insert or update for each row")));
	tupdesc = RelationGetDescr(trigger->tg_relation);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		row = trigger->tg_newtuple;
		from = SPI_getvalue(trigger->tg_trigtuple, tupdesc, SPI_fnumber(tupdesc, "status"));
	}
	else
		row = trigger->tg_trigtuple;
	to = SPI_getvalue(row, tupdesc, SPI_fnumber(tupdesc, "status"));
	type = SPI_getvalue(row, tupdesc, SPI_fnumber(tupdesc, "type"));

	/* a NULL is left to the column's own constraint; what was never planned would never be sent */
	if (to != NULL && type != NULL &&
		(!transition_allowed(from, to, type) ||
		 (strcmp(from, "draft") == 0 && strcmp(to, "active") == 0 &&
		  SPI_getvalue(row, tupdesc, SPI_fnumber(tupdesc, "start_date")) == NULL)))
		ereport(ERROR,
				(errcode(ERRCODE_MKTG_INVALID_TRANSITION),
				 from[0] == '\0' ?
				 errmsg("a campaign cannot begin as %s", to) :
				 errmsg("campaign cannot go from %s to %s", from, to),
				 errdetail("Campaign %s.", SPI_getvalue(row, tupdesc, SPI_fnumber(tupdesc, "campaign_id"))),
				 errhint("Use mktg.activate_campaign(), pause_campaign(), resume_campaign() and cancel_campaign().")));
	return PointerGetDatum(row);
}
