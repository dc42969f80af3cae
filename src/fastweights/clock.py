"""What a process has cost so far."""

import sys
import time


def cpu_seconds() -> float:
    """User and system time of the whole process since its start (imports included), and of its finished children."""
    if sys.platform == "win32":
        return time.process_time()
    import resource

    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
