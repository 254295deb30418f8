"""``tessera.op`` is ``tessera.ops``."""

import sys

from . import ops

sys.modules[__name__] = ops
