# Plain PGXS for `make` and `make install`.
#
#	make deps		installs the packages that build, demo and tests need
#	make demo		a campaign goes out, in a private cluster; make demo-stop ends it
#	make test		every test; make check-sql T=contact runs one file of a section
#	make torture	the kill loop with 1000 kills; see test/t/003_kill.pl
#	make bench		the performance figures; B=name runs one script
#	make format		indents the C code changed since the last commit
#	make clean		removes what make built; tmp/, where demo and tests live, stays
#
# All take PG_CONFIG=/path/to/pg_config and prepare the rest (see scripts/).

EXTENSION  = mktg
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" mktg.control)

MODULE_big = mktg
SOURCES    = $(sort $(wildcard src/*.c src/*/*.c))
OBJS       = $(SOURCES:.c=.o)

# Order matters: later parts name objects of earlier ones.
SQL_PARTS    = $(addprefix sql/,header.sql install.sql contact.sql template.sql provider.sql sender.sql \
                 campaign.sql stats.sql delivery.sql rfm.sql segment.sql audience.sql ads.sql offer.sql price.sql inbox.sql acl.sql)
# From 0.1.0: the new parts whole, and what is new in the old ones. Once 0.2.0
# is out, this becomes a file that is not made any more.
UPDATE_PARTS = $(addprefix sql/,updates/0.2.0.sql sender.sql rfm.sql segment.sql audience.sql ads.sql offer.sql price.sql inbox.sql acl.sql)
# A version of the schema is a step from the one before; all of them make a
# fresh install (src/install/install.c).
SCHEMA_1     = $(addprefix sql/schema/,install.sql contact.sql template.sql delivery.sql campaign.sql stats.sql)
SCHEMA_2     = $(addprefix sql/schema/,activity.sql rfm.sql segment.sql sender.sql ads.sql offer.sql inbox.sql migrate_2.sql)
ATTACH_PARTS = $(addprefix sql/schema/,trigger.sql view.sql registry.sql)

UPDATE     = sql/updates/mktg--0.1.0--0.2.0.sql
DATA_built = sql/mktg--$(EXTVERSION).sql $(UPDATE)

PG_CPPFLAGS = -Isrc -DMKTG_VERSION='"$(EXTVERSION)"' \
              -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CFLAGS   = -Wall -Wextra -Werror -fvisibility=hidden \
              -Wno-unused-parameter -Wno-sign-compare
SHLIB_LINK  = -lcurl -lcrypto -ljson-c

SCHEMA_TEXTS = $(addprefix src/install/,schema_1_sql.h schema_2_sql.h attach_sql.h)

EXTRA_CLEAN = $(DATA_built) $(SCHEMA_TEXTS) src/segment/catalog_json.h

# Scripts look for a server by themselves unless one is asked for.
ifneq ($(origin PG_CONFIG),undefined)
export PG_CONFIG
endif
PG_CONFIG ?= pg_config

.DEFAULT_GOAL := all
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
all install installcheck clean:
	@echo "mktg: no pg_config with PGXS found: make deps, or PG_CONFIG=/path/to/pg_config" >&2; exit 1
endif

# Objects of another server, or of another version, are of no use.
BUILT_FOR := $(EXTVERSION) $(shell $(PG_CONFIG) --version 2>/dev/null)
ifneq ($(BUILT_FOR),$(shell cat src/.built-for 2>/dev/null))
$(shell echo '$(BUILT_FOR)' 2>/dev/null > src/.built-for)
endif

sql/mktg--$(EXTVERSION).sql: $(SQL_PARTS) mktg.control Makefile
	cat $(SQL_PARTS) > $@
$(UPDATE): $(UPDATE_PARTS) Makefile
	cat $(UPDATE_PARTS) > $@

# Text becomes one C string literal a line.
STRINGIFY = sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/'

src/install/schema_1_sql.h: $(SCHEMA_1)
	cat $(SCHEMA_1) | $(STRINGIFY) > $@
src/install/schema_2_sql.h: $(SCHEMA_2)
	cat $(SCHEMA_2) | $(STRINGIFY) > $@
src/install/attach_sql.h: $(ATTACH_PARTS)
	cat $(ATTACH_PARTS) | $(STRINGIFY) > $@
$(addprefix src/install/install,.o .bc): $(SCHEMA_TEXTS)

src/segment/catalog_json.h: src/segment/catalog.json
	$(STRINGIFY) $< > $@
$(addprefix src/segment/segment,.o .bc): src/segment/catalog_json.h

$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h src/*/*.h) src/.built-for

# ---- what a developer types ----

SECTIONS = unit fuzz sql races tap contract lint

.PHONY: deps demo demo-stop test torture bench format $(addprefix check-,$(SECTIONS))

deps:
	@scripts/deps.sh

demo:
	@scripts/deps.sh demo
	@scripts/work.sh scripts/demo.sh

demo-stop:
	@scripts/work.sh scripts/cluster.sh stop demo

test:
	@scripts/deps.sh
	@scripts/work.sh scripts/test.sh $(SECTIONS)

$(addprefix check-,$(SECTIONS)): check-%:
	@scripts/deps.sh
	@scripts/work.sh env T='$(T)' scripts/test.sh $*

torture:
	@scripts/deps.sh
	@MKTG_KILLS=$${MKTG_KILLS:-1000} TAP_TIMEOUT=36000 scripts/work.sh env T=003_kill scripts/test.sh tap

bench:
	@scripts/deps.sh
	@scripts/work.sh scripts/bench.sh $(B)

# Only lines changed since the last commit: clang-format comes near to pgindent
# but aligns the names in declarations differently.
format:
	git clang-format --force HEAD -- src test bench
