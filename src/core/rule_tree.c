/*-------------------------------------------------------------------------
 *
 * rule_tree.c
 *		Memory and errors of the rule parser.
 *
 * A tree and all it points at live in blocks of memory that go together.
 *
 * IDENTIFICATION
 *		src/core/rule_tree.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/rule_parse.h"

#define MAX_QUOTED		60		/* bytes of a rule that a message repeats */
#define BLOCK_SIZE		8192

typedef struct MktgRuleBlock
{
	struct MktgRuleBlock *next;
	size_t		used;
	size_t		size;
	max_align_t data[];
} Block;

/* ---- errors ---- */

/* Takes a character away that the end of a buffer cut in two. */
static void
trim_character(char *text)
{
	size_t		length = strlen(text);
	size_t		at = length;
	unsigned char lead;

	while (at > 0 && ((unsigned char) text[at - 1] & 0xC0) == 0x80)
		at--;
	if (at == 0)
		return;
	lead = (unsigned char) text[at - 1];
	if (lead >= 0xC0 && length - at + 1 < (lead >= 0xF0 ? 4u : lead >= 0xE0 ? 3u : 2u))
		text[at - 1] = '\0';
}

int
mktg_rule_quoted(const char *text)
{
	size_t		length = strlen(text);

	if (length > MAX_QUOTED)
		for (length = MAX_QUOTED; length > 0; length--)
			if (((unsigned char) text[length] & 0xC0) != 0x80)
				break;
	return (int) length;
}

bool
mktg_rule_fail(MktgRuleError *error, MktgRulePlace place, const char *format,...)
{
	char		index[16] = "";
	va_list		args;
	int			length;

	if (place.index >= 0)
		snprintf(index, sizeof(index), "[%d]", place.index);
	length = snprintf(error->path, sizeof(error->path), "%s%s%s%s", place.path,
					  place.key != NULL && place.path[0] != '\0' ? "." : "",
					  place.key != NULL ? place.key : "", index);
	if (length < 0 || (size_t) length >= sizeof(error->path))
		trim_character(error->path);

	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	error->hint[0] = '\0';
	error->too_large = false;
	return false;
}

bool
mktg_rule_hint(MktgRuleError *error, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(error->hint, sizeof(error->hint), format, args);
	va_end(args);
	return false;
}

bool
mktg_rule_out_of_memory(MktgRuleError *error)
{
	return mktg_rule_fail(error, AT("", NULL), "out of memory");
}

/* ---- memory ---- */

void *
mktg_rule_allocate(MktgRuleParser *parser, size_t size)
{
	MktgRuleTree *tree = parser->tree;
	Block	   *block = tree->blocks;
	void	   *memory;

	size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (block == NULL || block->size - block->used < size)
	{
		size_t		room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

		block = calloc(1, sizeof(Block) + room);
		if (block == NULL)
		{
			mktg_rule_out_of_memory(parser->error);
			return NULL;
		}
		block->size = room;
		block->next = tree->blocks;
		tree->blocks = block;
	}
	memory = (char *) block->data + block->used;
	block->used += size;
	return memory;
}

char *
mktg_rule_copy(MktgRuleParser *parser, const char *text)
{
	size_t		size = strlen(text) + 1;
	char	   *copy = mktg_rule_allocate(parser, size);

	if (copy != NULL)
		memcpy(copy, text, size);
	return copy;
}

char *
mktg_rule_path(MktgRuleParser *parser, const char *path, const char *key, int index)
{
	size_t		size = strlen(path) + strlen(key) + 16;
	char	   *child = mktg_rule_allocate(parser, size);
	int			length;

	if (child == NULL)
		return NULL;
	length = snprintf(child, size, "%s%s%s", path, path[0] != '\0' ? "." : "", key);
	if (index >= 0)
		snprintf(child + length, size - (size_t) length, "[%d]", index);
	return child;
}

MktgRule *
mktg_rule_new(MktgRuleParser *parser, MktgRuleKind kind, char *path)
{
	MktgRule   *rule;

	if (parser->nrules == MKTG_RULE_MAX_RULES)
	{
		mktg_rule_fail(parser->error, AT(path, NULL), "there are too many rules");
		mktg_rule_hint(parser->error,
					   "There may be at most %d rules, groups and conditions together.",
					   MKTG_RULE_MAX_RULES);
		parser->error->too_large = true;
		return NULL;
	}
	parser->nrules++;
	rule = mktg_rule_allocate(parser, sizeof(MktgRule));
	if (rule == NULL)
		return NULL;
	rule->kind = kind;
	rule->path = path;
	return rule;
}

MktgRule *
mktg_rule_root(MktgRuleTree *tree)
{
	return tree->root;
}

void
mktg_rule_free(MktgRuleTree *tree)
{
	Block	   *block;
	Block	   *next;

	if (tree == NULL)
		return;
	for (block = tree->blocks; block != NULL; block = next)
	{
		next = block->next;
		free(block);
	}
	free(tree);
}
