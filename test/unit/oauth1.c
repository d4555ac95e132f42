/*-------------------------------------------------------------------------
 *
 * oauth1.c
 *		Unit tests of src/core/oauth1.c.
 *
 * IDENTIFICATION
 *		test/unit/oauth1.c
 *
 *-------------------------------------------------------------------------
 */
#include "core/core.h"
#include "tap.h"

/* The worked example of X's page "Creating a signature"; the keys are published ones. */
#define CONSUMER_SECRET	"kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"
#define TOKEN_SECRET	"LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE"

static const MktgOauthParam example[] = {
	{"status", "Hello Ladies + Gentlemen, a signed OAuth request!"},
	{"include_entities", "true"},
	{"oauth_consumer_key", "xvz1evFS4wEEPTGEFPHBog"},
	{"oauth_nonce", "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg"},
	{"oauth_signature_method", "HMAC-SHA1"},
	{"oauth_timestamp", "1318622958"},
	{"oauth_token", "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb"},
	{"oauth_version", "1.0"},
};

int
main(void)
{
	static const char bytes[] = "aZ9-._~ +%&=/\xc3\xa9";
	char		signature[MKTG_OAUTH1_SIGNATURE];
	MktgOauthParam many[17];
	MktgBuffer	out = {0};
	MktgOauthKeys keys = {"xvz1evFS4wEEPTGEFPHBog", CONSUMER_SECRET,
	"370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb", TOKEN_SECRET};

	ok(mktg_oauth1_sign("POST", "https://api.twitter.com/1.1/statuses/update.json", example, 8,
						CONSUMER_SECRET, TOKEN_SECRET, signature), "signs");
	is_string(signature, "hCtSmYh+iHYCEqBWrE7C7hYmtUk=", "the published signature");
	ok(mktg_oauth1_sign("POST", "https://api.twitter.com/1/statuses/update.json", example, 8,
						CONSUMER_SECRET, TOKEN_SECRET, signature), "signs another URL");
	is_string(signature, "tnnArxj06cWHq44gCs1OSKk/jLY=", "the one of the first edition");
	for (int i = 0; i < 17; i++)
		many[i] = (MktgOauthParam) {"n", "v"};
	ok(!mktg_oauth1_sign("GET", "https://x", many, 17, "a", "b", signature) && signature[0] == '\0', "17 parameters");

	mktg_buffer_percent(&out, bytes, strlen(bytes));
	is_string(out.data, "aZ9-._~%20%2B%25%26%3D%2F%C3%A9", "RFC 3986");
	mktg_buffer_clear(&out);

	/* worked out with another implementation */
	ok(mktg_oauth1_authorization("POST", "https://ads-api.x.com/12/accounts/18ce54d4x5t/custom_audiences/1nmth/users",
								 &keys, "n0nce", 1735689600, &out), "a header");
	is_string(out.data, "OAuth oauth_consumer_key=\"xvz1evFS4wEEPTGEFPHBog\", oauth_nonce=\"n0nce\", "
			  "oauth_signature_method=\"HMAC-SHA1\", oauth_timestamp=\"1735689600\", "
			  "oauth_token=\"370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb\", oauth_version=\"1.0\", "
			  "oauth_signature=\"CIGJFX%2FMOV0R8UrnBpRex%2BxtvLA%3D\"", "for a body of JSON");
	mktg_buffer_free(&out);
	return tap_done();
}
