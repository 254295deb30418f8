# a libcuda.so.1 that records (tests/fakecuda/), and the program that drives the runtime's CUDA half through it
FAKE_CUDA := $(BUILD)/fakecuda/libcuda.so.1
CHECK_PROGRAMS += $(FAKE_CUDA)

$(FAKE_CUDA): tests/fakecuda/fakecuda.c tests/fakecuda/fakecuda.h rtlib/cuda_driver.h rtlib/rt.h rtlib/plan.h include/tessera/tessera.h | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O1 -g $(WARN) -D_GNU_SOURCE $(INCLUDES) -fPIC -fvisibility=hidden -shared -Wl,-soname,libcuda.so.1 -o $@ $< -lpthread

# the runtime as artifacts have it, not its archive members: there are none
$(BUILD)/unit/test_cuda: $(BUILD)/obj/tests/unit/test_cuda.c.o $(BUILD)/rtlib.o $(BUILD)/rtlib_cuda.o $(ARCHIVES) $(FAKE_CUDA)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS) -ldl
