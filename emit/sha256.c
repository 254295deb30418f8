/* The runtime's hash of weight files, for the compiler: the same source. */
#include "rtlib/sha256.c"
