# What is done with the programs once they are built: the demo, and the installation. Included by the Makefile at the top.

.PHONY: demo demo-hosts install uninstall
demo: all
	@BIN=$(BIN) deploy/demo
demo-hosts: all
	@BIN=$(BIN) deploy/demo --hosts

# make install PREFIX=/usr/local DESTDIR=/tmp/package. Configuration that is there already stays as it is.
PREFIX  ?= /usr/local
UNITS   ?= /lib/systemd/system
CONFIG  := /etc/muster
EXAMPLES = $(wildcard docs/examples/*)
INSTALLED_SCRIPTS := local-cluster cluster cluster-node hosts
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/muster/deploy $(DESTDIR)$(PREFIX)/share/doc/muster/examples
	install -m 755 $(addprefix $(BIN)/,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(addprefix deploy/,$(INSTALLED_SCRIPTS)) $(DESTDIR)$(PREFIX)/lib/muster/deploy
	install -m 644 deploy/processes.sh $(DESTDIR)$(PREFIX)/lib/muster/deploy
	install -d $(DESTDIR)$(PREFIX)/lib/muster/build
	ln -sfn ../../../bin $(DESTDIR)$(PREFIX)/lib/muster/build/bin
	install -m 644 $(wildcard README.md docs/*.md) $(DESTDIR)$(PREFIX)/share/doc/muster
	$(if $(EXAMPLES),install -m 755 $(EXAMPLES) $(DESTDIR)$(PREFIX)/share/doc/muster/examples)
	install -d $(DESTDIR)$(UNITS) $(DESTDIR)$(CONFIG)
	for unit in musterd muster-worker; do \
	    sed 's|@PREFIX@|$(PREFIX)|' deploy/systemd/$$unit.service >$(DESTDIR)$(UNITS)/$$unit.service && \
	    { [ -e $(DESTDIR)$(CONFIG)/$$unit.env ] || install -m 644 deploy/systemd/$$unit.env $(DESTDIR)$(CONFIG)/; } || exit 1; \
	done
	@echo "installed in $(DESTDIR)$(PREFIX). Next, on the scheduler's host: useradd --system muster; systemctl enable --now musterd"

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(PROGRAMS)) $(DESTDIR)$(UNITS)/musterd.service $(DESTDIR)$(UNITS)/muster-worker.service
	rm -rf $(DESTDIR)$(PREFIX)/lib/muster $(DESTDIR)$(PREFIX)/share/doc/muster
