/*-------------------------------------------------------------------------
 *
 * core.c
 *		What a message costs in src/core: rendering, escaping, signing.
 *
 * Each figure stands beside one this program measures itself, in turns, for
 * machines drift; the best of the turns counts.  The reference of rendering
 * and escaping is memcpy of the text they give; that of signing is OpenSSL's
 * one-shot HMAC of the same bytes.
 *
 * IDENTIFICATION
 *		bench/core.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "core/core.h"

#define TURNS	15
#define CALLS	20000

static MktgTemplate *tpl;
static MktgBuffer out;
static char text[1024];
static char copy[2048];
static unsigned char key[24];

static bool
look_up(void *context, const char *name, size_t name_length, const char **value, size_t *length)
{
	(void) context;
	(void) name;
	*value = name_length % 2 == 0 ? "Ana Lima" : "Fish & Chips";
	*length = strlen(*value);
	return true;
}

static void
render(void)
{
	mktg_buffer_clear(&out);
	mktg_template_render(tpl, MKTG_ESCAPE_HTML, look_up, NULL, &out);
}

static void
escape(void)
{
	mktg_buffer_clear(&out);
	mktg_buffer_json_string(&out, text, sizeof(text));
}

static void
copy_text(void)
{
	memcpy(copy, text, sizeof(text));
	__asm__ volatile("" : : "r"(copy) : "memory");
}

static void
sign(void)
{
	char		signature[64];

	mktg_webhook_sign(key, sizeof(key), "1-1-1", 1736899200, text, sizeof(text), signature);
}

static void
hmac(void)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int length;

	HMAC(EVP_sha256(), key, sizeof(key), (unsigned char *) text, sizeof(text), digest, &length);
}

static double
nanoseconds(void (*call) (void))
{
	struct timespec from;
	struct timespec to;
	int			i;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (i = 0; i < CALLS; i++)
		call();
	clock_gettime(CLOCK_MONOTONIC, &to);
	return ((double) (to.tv_sec - from.tv_sec) * 1e9 + (double) (to.tv_nsec - from.tv_nsec)) / CALLS;
}

static void
compare(const char *name, void (*ours) (void), const char *reference_name, void (*reference) (void))
{
	double		best = 1e18;
	double		best_reference = 1e18;
	int			i;

	for (i = 0; i < TURNS; i++)
	{
		double		a = nanoseconds(ours);
		double		b = nanoseconds(reference);

		best = a < best ? a : best;
		best_reference = b < best_reference ? b : best_reference;
	}
	printf("%-34s %7.0f ns   %-16s %7.0f ns   ratio %.2f\n",
		   name, best, reference_name, best_reference, best / best_reference);
}

int
main(void)
{
	static const char *const names[] = {"{{first_name}}", "{{shop}}", "{{order.code}}"};
	char		source[1100];
	MktgTemplateError error;
	size_t		length = 0;
	int			i;

	memset(text, 'x', sizeof(text));
	for (i = 16; i < (int) sizeof(text); i += 64)
		text[i] = i % 128 == 16 ? '\n' : '"';
	for (i = 0; i < 3; i++)
	{
		memset(source + length, 'x', 330);
		length += 330;
		memcpy(source + length, names[i], strlen(names[i]));
		length += strlen(names[i]);
	}
	tpl = mktg_template_parse(source, length, &error);
	if (tpl == NULL)
		return 1;

	compare("render 1 KB, 3 names, HTML", render, "memcpy", copy_text);
	compare("JSON string, 1 KB, 16 escapes", escape, "memcpy", copy_text);
	compare("Standard Webhooks signature, 1 KB", sign, "HMAC()", hmac);
	mktg_template_free(tpl);
	mktg_buffer_free(&out);
	return 0;
}
