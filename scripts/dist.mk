# In the unpacked package, on a machine with an NVIDIA GPU and a Python that has PyTorch for it. Without make, the two commands do.
#   make check DEVICE=cuda [PART="diff guards"]
#   make bench DEVICE=cuda [CLASS=matmul,norm] [SECONDS=0.5]
DEVICE     ?= cuda
GPU_PYTHON ?= python3
$(if $(filter-out cuda,$(DEVICE)),$(error DEVICE=$(DEVICE): this package checks and measures on GPUs, DEVICE=cuda))
check:
	@$(GPU_PYTHON) tests/device/run.py $(PART)
bench:
	@$(GPU_PYTHON) bench/gpu/models.py bin/tsc $(or $(CLASS),all) $(or $(SECONDS),0.5)
.PHONY: check bench
