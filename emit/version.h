/* The versions of what tsc is made with, for --version and for the metadata of artifacts. */
#pragma once
#include "support/buf.h"

void ts_llvm_version(TsBuf *to); /* "22.1.0" */
