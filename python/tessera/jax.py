"""Not in this release: every name here raises ``NotInRelease`` and says what there is instead."""

from .missing import absent_module

__getattr__ = absent_module(__name__)
