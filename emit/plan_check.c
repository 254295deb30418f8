/* The runtime's own check of a plan, for the compiler: the same source, so that both refuse the same things. */
#include "rtlib/plan_check.c"
