/*-------------------------------------------------------------------------
 *
 * write_program.c
 *		A program as a parameter of a statement.
 *
 * IDENTIFICATION
 *		src/segment/write_program.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "segment/program.h"

static void
write_part(StringInfo out, const void *bytes, Size size)
{
	appendBinaryStringInfo(out, bytes, size);
	while (out->len % MAXIMUM_ALIGNOF != 0)
		appendStringInfoChar(out, '\0');
}

static void
write_dense_ids(StringInfo out, MktgProgram *header, const int64 *ids, int64 nids)
{
	uint64	   *words = MemoryContextAllocExtended(CurrentMemoryContext, sizeof(uint64) * header->nwords,
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	uint32	   *ranks = MemoryContextAllocExtended(CurrentMemoryContext, sizeof(uint32) * header->nwords,
												   MCXT_ALLOC_HUGE);
	uint32		rank = 0;

	for (int64 i = 0; i < nids; i++)
	{
		uint64		offset = (uint64) ids[i] - (uint64) header->lowest;

		words[offset / 64] |= UINT64CONST(1) << (offset % 64);
	}
	for (int64 i = 0; i < header->nwords; i++)
	{
		ranks[i] = rank;
		rank += __builtin_popcountll(words[i]);
	}
	write_part(out, words, sizeof(uint64) * header->nwords);
	write_part(out, ranks, sizeof(uint32) * header->nwords);
	pfree(words);
	pfree(ranks);
}

Datum
mktg_program_write(MktgProgramMaker *maker, const int64 *ids, int64 nids, dsm_handle shared)
{
	MktgProgram *header = &maker->header;
	StringInfoData out;
	StringInfoData body;
	bytea	   *program;

	header->shared = shared;
	header->nids = nids;
	header->lowest = nids > 0 ? ids[0] : 0;
	header->ncode = maker->code.len / sizeof(int32);
	header->nstrings = maker->strings.len;
	header->nwords = 0;
	header->dense = nids > 0 && (uint64) ids[nids - 1] - (uint64) ids[0] < (uint64) nids * 64;
	if (header->dense)
		header->nwords = (int64) (((uint64) ids[nids - 1] - (uint64) ids[0]) / 64 + 1);
	initStringInfo(&body);
	write_part(&body, header, sizeof(*header));
	write_part(&body, maker->values, sizeof(MktgProgramValue) * header->nvalues);
	write_part(&body, maker->conds, sizeof(MktgProgramCond) * header->nconds);
	write_part(&body, maker->ranges.data, maker->ranges.len);
	write_part(&body, maker->constants.data, maker->constants.len);
	write_part(&body, maker->keys.data, maker->keys.len);
	write_part(&body, maker->facts, sizeof(MktgProgramFact) * header->nfacts);
	write_part(&body, maker->code.data, maker->code.len);
	write_part(&body, maker->strings.data, maker->strings.len);
	if (header->dense)
		write_dense_ids(&body, header, ids, nids);
	else
		write_part(&body, ids, sizeof(int64) * nids);
	initStringInfo(&out);
	program = palloc(VARHDRSZ + body.len);
	SET_VARSIZE(program, VARHDRSZ + body.len);
	memcpy(VARDATA(program), body.data, body.len);
	pfree(body.data);
	pfree(out.data);
	return PointerGetDatum(program);
}
