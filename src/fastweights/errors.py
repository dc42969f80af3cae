"""The exceptions a caller may expect. Each message is one line that names the field, the value and the remedy."""


class FastweightsError(ValueError):
    """Base of every error that is the caller's or the data's fault (never a bug of ours)."""


class NotFound(FastweightsError):
    """No object of that id. HTTP 404."""


class Conflict(FastweightsError):
    """The object is busy, exists already, or is in the wrong state for the request. HTTP 409."""


class Corrupt(FastweightsError):
    """A file on disk fails its check (SHA-256, shape, dtype, truncated). Names the file and the mismatch."""


class Unsupported(FastweightsError):
    """Asked for something this build or machine cannot do; names what it can. HTTP 422, exit code 2."""
