"""What the bits of a computation depend on besides its inputs. Torch loads when asked."""

import platform
from collections.abc import Iterable
from importlib.metadata import version

from fastweights.services.verbs.records import Environment

_NAMES = {"threads": "thread count", "cpu": "CPU", "device": "device"}


def environment(device: object) -> Environment:
    """Of this process, for work on ``device`` (a torch device or its name)."""
    import numpy
    import torch

    return Environment(
        fastweights=version("fastweights"),
        torch=str(torch.__version__),
        numpy=numpy.__version__,
        threads=torch.get_num_threads(),
        device=str(device),
        cpu=f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    )


def differences(made_in: Iterable[Environment], here: Environment) -> list[str]:
    """One line a field in which some of ``made_in`` differ from ``here``."""
    seen = [*made_in]
    lines = []
    for field in Environment.model_fields:
        now = getattr(here, field)
        others = sorted({str(getattr(e, field)) for e in seen} - {str(now)})
        if others:
            what = _NAMES.get(field, f"{field} version")
            lines.append(f"{what} differs: commits were made with {', '.join(others)}, here it is {now}")
    return lines
