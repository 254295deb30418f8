/* What is particular to CPU targets: attributes of the functions. */
#include "backend/llvm/lower.h"
#include <stdio.h>

void lw_target_function(Lower *w, Val fn)
{
	char bits[8];
	snprintf(bits, sizeof bits, "%d", w->target->vector_bytes * 8);
	/* without these LLVM splits 512-bit vectors, which it deems slow on early machines */
	lw_attr(w, fn, "prefer-vector-width", bits);
	lw_attr(w, fn, "min-legal-vector-width", bits);
	lw_attr_enum(w, fn, LLVMAttributeFunctionIndex, "nounwind");
}
