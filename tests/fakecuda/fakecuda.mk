# a libcuda.so.1 that records (tests/fakecuda/), and the program that drives the runtime's CUDA half through it
FAKE_CUDA := $(BUILD)/fakecuda/libcuda.so.1
CHECK_PROGRAMS += $(FAKE_CUDA)

$(FAKE_CUDA): tests/fakecuda/fakecuda.c tests/fakecuda/fakecuda.h rtlib/cuda_driver.h rtlib/rt.h rtlib/plan.h include/tessera/tessera.h | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O1 -g $(WARN) -D_GNU_SOURCE $(INCLUDES) -fPIC -fvisibility=hidden -shared -Wl,-soname,libcuda.so.1 -o $@ $< -lpthread

# the runtime as artifacts have it, not its archive members: there are none
$(BUILD)/unit/test_cuda $(BUILD)/unit/test_xla: $(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.c.o $(BUILD)/rtlib.o $(BUILD)/rtlib_cuda.o $(ARCHIVES) $(FAKE_CUDA)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS) -ldl

# the same model as artifacts, for tests/suites/cuda.py
CHECK_PROGRAMS += $(BUILD)/fakecuda/toy $(BUILD)/fakecuda/toy.so $(BUILD)/fakecuda/toy_kernels.o
FAKE_CUDA_TOY := tests/fakecuda/toy.c tests/fakecuda/model.h tests/fakecuda/fakecuda.h rtlib/cuda.h
$(BUILD)/fakecuda/toy: $(BUILD)/obj/tests/fakecuda/toy.c.o $(BUILD)/rtlib.o $(BUILD)/rtlib_cuda.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS) -ldl
$(BUILD)/fakecuda/toy.so: $(FAKE_CUDA_TOY) | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O1 -g $(WARN) -Wno-unused-function -Wno-unused-const-variable -D_GNU_SOURCE $(INCLUDES) -DFAKE_LIBRARY -fPIC -shared -o $@ $<
$(BUILD)/fakecuda/toy_kernels.o: tests/fakecuda/toy_kernels.c rtlib/plan.h | $(BUILD)/ld/ld.lld
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O2 $(WARN) -I. -Iinclude -ffreestanding -fPIC -c $< -o $@
