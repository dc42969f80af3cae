"""``python -m fastweights VERB``: the same program as ``fastweights VERB``."""

from fastweights.cli.main import main

if __name__ == "__main__":
    main()
