/* The page that tsc explain --html writes, without its data. */
	.section .rodata.ts_report, "a", @progbits
	.globl ts_report_begin
	.globl ts_report_end
ts_report_begin:
	.incbin "emit/report.html"
ts_report_end:
	.byte 0
	.section .note.GNU-stack, "", @progbits
