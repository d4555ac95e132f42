/*-------------------------------------------------------------------------
 *
 * table.c
 *		Tables that may be written without the executor.
 *
 * IDENTIFICATION
 *		src/base/table.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "utils/rel.h"

#include "base/table.h"

bool
mktg_is_plain_table(Relation table, const MktgTableColumn *columns, int n)
{
	Form_pg_class form = table->rd_rel;
	TupleDesc	tupdesc = RelationGetDescr(table);
	List	   *indexes;
	bool		only_key;

	if (form->relkind != RELKIND_RELATION || form->relam != HEAP_TABLE_AM_OID ||
		form->relispartition || form->relreplident != REPLICA_IDENTITY_DEFAULT ||
		XactReadOnly || tupdesc->natts < n ||
		(tupdesc->constr != NULL &&
		 (tupdesc->constr->num_check > 0 || tupdesc->constr->has_generated_stored)))
		return false;
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tupdesc, i);

		if (att->attisdropped || !att->attnotnull || att->atttypid != columns[i].type ||
			strcmp(NameStr(att->attname), columns[i].name) != 0)
			return false;
	}
	indexes = RelationGetIndexList(table);
	only_key = list_length(indexes) == 1 && linitial_oid(indexes) == table->rd_pkindex;
	list_free(indexes);
	return only_key;
}
