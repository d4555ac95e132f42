# Plain PGXS for `make` and `make install`; deps, demo, test and bench prepare
# everything else they need by themselves (see scripts/).

EXTENSION  = mktg
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" mktg.control)

MODULE_big = mktg
SOURCES    = $(sort $(wildcard src/*.c src/*/*.c))
OBJS       = $(SOURCES:.c=.o)

# Order matters: later parts name objects of earlier ones.
SQL_PARTS    = $(addprefix sql/,header.sql install.sql contact.sql template.sql \
                 provider.sql campaign.sql stats.sql delivery.sql acl.sql)
SCHEMA_PARTS = $(addprefix sql/schema/,install.sql contact.sql template.sql \
                 delivery.sql campaign.sql stats.sql)
ATTACH_PARTS = $(addprefix sql/schema/,trigger.sql view.sql)

DATA_built = sql/mktg--$(EXTVERSION).sql

PG_CPPFLAGS = -Isrc -DMKTG_VERSION='"$(EXTVERSION)"' \
              -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CFLAGS   = -Wall -Wextra -Werror -fvisibility=hidden \
              -Wno-unused-parameter -Wno-sign-compare
SHLIB_LINK  = -lcurl -lcrypto

EXTRA_CLEAN = sql/mktg--$(EXTVERSION).sql src/install/schema_sql.h src/install/attach_sql.h tmp

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

sql/mktg--$(EXTVERSION).sql: $(SQL_PARTS) mktg.control
	cat $(SQL_PARTS) > $@

# Text becomes one C string literal a line.
STRINGIFY = sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/'

src/install/schema_sql.h: $(SCHEMA_PARTS)
	cat $(SCHEMA_PARTS) | $(STRINGIFY) > $@
src/install/attach_sql.h: $(ATTACH_PARTS)
	cat $(ATTACH_PARTS) | $(STRINGIFY) > $@
$(addprefix src/install/install,.o .bc): src/install/schema_sql.h src/install/attach_sql.h

$(OBJS): $(wildcard src/*.h src/*/*.h)
