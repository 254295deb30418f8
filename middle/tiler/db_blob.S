/* The files of autotune_db/, one after the other, as read-only bytes of tsc. */
	.section .rodata.ts_tune, "a", @progbits
	.globl ts_tune_x86_64_v2
	.globl ts_tune_x86_64_v3
	.globl ts_tune_x86_64_v4
	.globl ts_tune_sm_80
	.globl ts_tune_sm_86
	.globl ts_tune_sm_90a
	.globl ts_tune_end
ts_tune_x86_64_v2:
	.incbin "autotune_db/x86-64-v2.yaml"
ts_tune_x86_64_v3:
	.incbin "autotune_db/x86-64-v3.yaml"
ts_tune_x86_64_v4:
	.incbin "autotune_db/x86-64-v4.yaml"
ts_tune_sm_80:
	.incbin "autotune_db/sm_80.yaml"
ts_tune_sm_86:
	.incbin "autotune_db/sm_86.yaml"
ts_tune_sm_90a:
	.incbin "autotune_db/sm_90a.yaml"
ts_tune_end:
	.byte 0
	.section .note.GNU-stack, "", @progbits
