"""For the scripts that part_python.py runs."""
import traceback


def run(checks, settle=lambda: None):
    """Calls each and prints `ok NAME` or `FAIL NAME: why`; the exit status. settle: waits for what a check has left running."""
    failed = 0
    for check in checks:
        try:
            check()
            settle()
            print("ok " + check.__name__, flush=True)
        except BaseException:
            failed = 1
            print("FAIL %s: %s" % (check.__name__, " | ".join(traceback.format_exc().splitlines()[-4:])), flush=True)
    return failed
