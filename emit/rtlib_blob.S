/* The runtime object (rtlib/, one relocatable file) as read-only bytes of tsc: ts_rtlib_begin .. ts_rtlib_end. */
	.section .rodata.ts_rtlib, "a", @progbits
	.balign 16
	.globl ts_rtlib_begin
	.globl ts_rtlib_end
	.type ts_rtlib_begin, @object
	.type ts_rtlib_end, @object
ts_rtlib_begin:
	.incbin TS_RTLIB
ts_rtlib_end:
	.byte 0
	.size ts_rtlib_begin, ts_rtlib_end - ts_rtlib_begin

/* The part that drives NVIDIA GPUs: only in artifacts with code for them. */
	.section .rodata.ts_rtlib_cuda, "a", @progbits
	.balign 16
	.globl ts_rtlib_cuda_begin
	.globl ts_rtlib_cuda_end
	.type ts_rtlib_cuda_begin, @object
	.type ts_rtlib_cuda_end, @object
ts_rtlib_cuda_begin:
	.incbin TS_RTLIB_CUDA
ts_rtlib_cuda_end:
	.byte 0
	.size ts_rtlib_cuda_begin, ts_rtlib_cuda_end - ts_rtlib_cuda_begin
	.section .note.GNU-stack, "", @progbits
