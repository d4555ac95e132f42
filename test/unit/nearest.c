/*-------------------------------------------------------------------------
 *
 * nearest.c
 *		Unit tests of src/core/nearest.c.
 *
 * IDENTIFICATION
 *		test/unit/nearest.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/rule.h"
#include "tap.h"

static void
nearest(const char *name, const char *want)
{
	static const char *const names[] = {
		"customer.totalSpend", "customer.city", "order.city", "total", "tool", "email", "ab", "name", "Name"
	};
	const char *found = mktg_nearest_name(name, names, sizeof(names) / sizeof(names[0]));

	is_string(found != NULL ? found : "(none)", want, name);
}

static void
test_nearest(void)
{
	char		longest[300];
	const char *const long_names[] = {longest, "x"};

	nearest("email", "email");
	nearest("EMIAL", "email");
	nearest("emali", "email");
	nearest("E-mail", "email");
	nearest("emal", "email");
	nearest("NAME", "name");
	nearest("Naem", "name");
	nearest("oredr.city", "order.city");
	nearest("orde.rciyt", "order.city");
	nearest("names", "name");
	nearest("totalSpend", "customer.totalSpend");
	nearest("TOTALSPEND", "customer.totalSpend");
	nearest("custmer.totlSpend", "customer.totalSpend");
	nearest("city", "customer.city");
	nearest("order.cty", "order.city");
	nearest("contact.email", "email");
	nearest("pend", "(none)");
	nearest("x.", "(none)");
	nearest("tol", "tool");
	nearest("toal", "total");
	nearest("ac", "(none)");
	nearest("abc", "ab");
	nearest("", "(none)");
	nearest("nothing like it", "(none)");

	ok(mktg_nearest_name("x", NULL, 0) == NULL, "of no names none is near");
	memset(longest, 'n', sizeof(longest));
	longest[299] = '\0';
	ok(mktg_nearest_name(longest, long_names, 2) == NULL, "a name of 299 bytes is near nothing");
	ok(mktg_nearest_name("X", long_names, 2) == long_names[1], "and is passed over");
	longest[256] = '\0';
	ok(mktg_nearest_name(longest, long_names, 2) == longest, "one of 256 is taken");
}

int
main(void)
{
	test_nearest();
	return tap_done();
}
