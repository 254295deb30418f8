# programs of tests/suites/artifact.py
CHECK_PROGRAMS += $(BUILD)/e2e/artifact_make $(BUILD)/e2e/artifact_use $(BUILD)/e2e/artifact_kernels.o

$(BUILD)/e2e/artifact_make: $(BUILD)/obj/tests/e2e/artifact_make.c.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS)

$(BUILD)/e2e/artifact_kernels.o: tests/e2e/artifact_kernels.c rtlib/plan.h
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O2 $(WARN) -I. -Iinclude -ffreestanding -fPIC -c $< -o $@

$(BUILD)/e2e/artifact_use: tests/e2e/artifact_use.c rtlib/xla_abi.h $(wildcard include/tessera/*.h)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O1 -g $(WARN) -D_GNU_SOURCE -I. -Iinclude -o $@ $< -ldl -lpthread
