#!/bin/sh
# Holds the manual against an installed extension; TAP.  Takes the psql command
# that reaches a database with mktg installed in it:
#
#	test/doc.sh psql -X -h ... -d DATABASE
# shellcheck disable=SC2016 # backquotes are those of the manual
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
number=0
status=0

ask()				# STATEMENT: its rows, bare
{
	"$@" || { echo "Bail out! no answer from the server" >&2; exit 1; }
}

# Passes if the file is empty; otherwise its lines are the offenders.
none()				# NAME FILE
{
	number=$((number + 1))
	if [ -s "$2" ]; then
		status=1
		echo "not ok $number - $1"
		sed 's/^/#   /' "$2"
	else
		echo "ok $number - $1"
	fi
}

headings()			# those of functions, bare
{
	sed -n 's/^### `\(mktg\.[a-z_]*(.*\)`$/\1/p' doc/*.md
}

# ---- functions: the signature, as a heading would have it ----

ask "$@" -q -A -t -c "
SELECT format('mktg.%s(%s) → %s', proname, inputs.list,
       coalesce('(' || outputs.list || ')', regexp_replace(pg_get_function_result(p.oid), 'timestamp with time zone', 'timestamptz', 'g')))
  FROM pg_catalog.pg_proc p,
       -- without the columns that come out, and casts of defaults, which the types say
       LATERAL (SELECT regexp_replace(regexp_replace(regexp_replace(replace(pg_get_function_arguments(p.oid), 'time without time zone', 'time'),
                       '(^|, )OUT [^,]*', '', 'g'), '::(double precision|time(stamp)? with(out)? time zone|[a-z0-9]+)(\[\])?', '', 'g'),
                       'timestamp with time zone', 'timestamptz', 'g') AS list) inputs,
       LATERAL (SELECT string_agg(quote_ident(a.name) || ' ' || replace(format_type(a.type, NULL),
                       'timestamp with time zone', 'timestamptz'), ', ' ORDER BY a.place) AS list
                  FROM unnest(proargnames, proallargtypes, proargmodes) WITH ORDINALITY AS a (name, type, mode, place)
                 WHERE a.mode IN ('o', 't')) outputs
 WHERE pronamespace = 'mktg'::regnamespace AND proname !~ '^_' ORDER BY 1" > "$tmp/functions"
headings | LC_ALL=C sort > "$tmp/headings"
LC_ALL=C sort -o "$tmp/functions" "$tmp/functions"

LC_ALL=C comm -23 "$tmp/functions" "$tmp/headings" > "$tmp/out"
none 'every public function has a heading with its signature' "$tmp/out"
LC_ALL=C comm -13 "$tmp/functions" "$tmp/headings" > "$tmp/out"
none 'every such heading is of a public function, and the only one of it' "$tmp/out"

# ---- settings: a row of the table with name and default ----

ask "$@" -q -A -t -F '	' -c "
SELECT name, CASE boot_val WHEN '' THEN 'empty' ELSE boot_val END
  FROM pg_catalog.pg_settings WHERE name LIKE 'mktg.%' ORDER BY 1" > "$tmp/settings"
while IFS='	' read -r name default; do
	tr -d '`' < doc/operations.md | grep -F "| $name |" | grep -qF "| $default |" ||
		echo "$name, default $default"
done < "$tmp/settings" > "$tmp/out"
[ -s "$tmp/settings" ] || echo "no settings found: is the library preloaded?" > "$tmp/out"
none 'every setting is in doc/operations.md with its default' "$tmp/out"

# ---- checks of status() ----

ask "$@" -q -A -t -c "
SELECT DISTINCT regexp_replace(\"check\", '^worker .*', 'worker DATABASE') FROM mktg.status() ORDER BY 1" > "$tmp/checks"
while read -r name; do
	grep -qF "| \`$name\` |" doc/operations.md || echo "$name"
done < "$tmp/checks" > "$tmp/out"
none 'every check of status() is in doc/operations.md' "$tmp/out"

# ---- views: a section of a page with every column ----

ask "$@" -q -A -t -F '	' -c "
SELECT c.relname, a.attname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
 WHERE c.relnamespace = 'mktg'::regnamespace AND c.relkind = 'v' AND c.relname !~ '^_' AND a.attnum > 0
   AND NOT a.attisdropped ORDER BY 1, a.attnum" > "$tmp/columns"
while IFS='	' read -r view column; do
	cat doc/*.md | sed -n "/^### \`mktg\.$view\`/,/^##/p" | grep '^|' | cut -d '|' -f 2 |
		grep -qF "\`$column\`" || echo "$view.$column"
done < "$tmp/columns" > "$tmp/out"
none 'every column of a view is in the section of the view' "$tmp/out"

# ---- what rules may name: in the tables of doc/segment.md, and nothing else there ----

listed()			# FIRST LINE, LAST LINE: first cells of the table between, bare
{
	sed -n "/^$1/,/^$2/p" doc/segment.md | sed -n 's/^| `\([^`]*\)`.*/\1/p' | LC_ALL=C sort
}

ask "$@" -q -A -t -c "SELECT DISTINCT name FROM mktg.rule_field WHERE NOT is_own" | LC_ALL=C sort > "$tmp/wanted"
listed '### Fields' '### Short keys' | LC_ALL=C comm -3 "$tmp/wanted" - > "$tmp/out"
[ -s "$tmp/wanted" ] || echo "no fields found" > "$tmp/out"
none 'doc/segment.md has every field that ships' "$tmp/out"

ask "$@" -q -A -t -c "SELECT key FROM mktg.rule_alias WHERE tenant_id = 0" | LC_ALL=C sort > "$tmp/wanted"
listed '### Short keys' '### Limits' | LC_ALL=C comm -3 "$tmp/wanted" - > "$tmp/out"
none 'doc/segment.md has every short key that ships' "$tmp/out"

# which types have an operator: one • for each group of types
ask "$@" -q -A -t -F ' ' -c "
SELECT operator, value, concat_ws(' ', CASE WHEN 'text' = ANY (types) THEN 'text' END,
       CASE WHEN 'number' = ANY (types) THEN 'number' END, CASE WHEN 'boolean' = ANY (types) THEN 'boolean' END,
       CASE WHEN 'date' = ANY (types) THEN 'time' END, CASE WHEN 'array' = ANY (types) THEN 'array' END)
  FROM mktg.rule_operator" | LC_ALL=C sort > "$tmp/wanted"
sed -n '/^### Operators/,/^### Fields/p' doc/segment.md | awk -F ' *[|] *' '/^\| `[^`]*` \| [a-z]/ {
	split("text number boolean time array", names, " ")
	gsub("`", "", $2)
	line = $2 " " $3
	for (i = 1; i <= 5; i++)
		if ($(i + 3) == "•")
			line = line " " names[i]
	print line }' | LC_ALL=C sort | LC_ALL=C comm -3 "$tmp/wanted" - > "$tmp/out"
none 'doc/segment.md has every operator with its types' "$tmp/out"

sed -n 's/^{"name": "\(.*\)",$/\1/p' src/segment/catalog.json | LC_ALL=C sort > "$tmp/wanted"
sed -n '/^## The catalogue/,/^## Audiences/p' doc/segment.md | sed -n 's/^| \(.*\) | .* | .* |$/\1/p' |
	grep -vE '^(Segment|---)$' | LC_ALL=C sort | LC_ALL=C comm -3 "$tmp/wanted" - > "$tmp/out"
none 'doc/segment.md has every segment of the catalogue' "$tmp/out"

# ---- files that the manual names ----

grep -ohE '`(src|sql|test|examples|scripts|bench)/[A-Za-z0-9_./-]*`' doc/*.md | tr -d '`' | sort -u |
	while read -r file; do
		[ -e "$file" ] || echo "$file"
	done > "$tmp/out"
none 'files the manual names are there' "$tmp/out"

echo "1..$number"
exit $status
