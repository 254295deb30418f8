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
	.section .note.GNU-stack, "", @progbits
