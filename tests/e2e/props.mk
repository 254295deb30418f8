# program of tests/suites/artifact_props.py
CHECK_PROGRAMS += $(BUILD)/e2e/props

$(BUILD)/e2e/props: tests/e2e/props.c include/tessera/tessera.h
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O1 -g $(WARN) -D_GNU_SOURCE -Iinclude -o $@ $< -ldl -lpthread
