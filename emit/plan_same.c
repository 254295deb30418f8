/* The runtime's own comparison of plans, for the compiler. */
#include "rtlib/plan_same.c"
