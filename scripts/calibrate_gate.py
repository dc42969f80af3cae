"""Derive the shipped limits of the text rules from benign texts on this machine: presets/gate/{word,byte}.json.

    python scripts/calibrate_gate.py [--fpr 0.004] [--benign PATH …]

Without ``--benign``: Shakespeare, the standard library's source, and the Markdown and documentation of the installed
packages. Half of the files of each kind are left for the tests (every second one by name).
"""

import argparse
import sys
import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from fastweights.guard.calibrate import byte_chunks, calibrate, text_samples, word_chunks

OUT = Path(__file__).parents[1] / "src" / "fastweights" / "presets" / "gate"
PER_KIND = 250_000  # characters of each kind of text
SIZES = {"word": (16, 32, 128, 512), "byte": (32, 64, 128, 512)}

CHUNKERS = {"word": word_chunks, "byte": byte_chunks}


def benign_files() -> dict[str, list[Path]]:
    """Benign files by kind of text, in a stable order."""
    packages, library = Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("stdlib"))
    tables = {"encodings", "pydoc_data", "site-packages", "test", "lib2to3", "config"}
    python = [p for p in library.rglob("*.py") if not tables & set(p.relative_to(library).parts)]
    doc = Path("/usr/share/doc")
    return {
        "shakespeare": sorted(packages.glob("shksprdata/texts/*_gut.txt")),
        "python": sorted(python, key=lambda path: zlib.crc32(path.name.encode())),
        "markdown": sorted((*packages.glob("*.dist-info/METADATA"), *packages.rglob("*.md"))),
        "prose": sorted(doc.glob("*/README*")) + sorted(Path("/usr/share/common-licenses").glob("*")),
    }


def texts(files: Iterable[Path], limit: int) -> Iterator[str]:
    """The files' texts up to ``limit`` characters, at most 40,000 of each."""
    for path in files:
        if limit <= 0:
            return
        if path.is_file() and path.suffix != ".gz":
            text = path.read_text(encoding="utf-8", errors="replace")[:40_000]
            if len(text) > 300:
                limit -= len(text)
                yield text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--fpr", type=float, default=0.004, help="false alarms of all rules together")
    parser.add_argument("--benign", type=Path, nargs="*", default=[], help="further benign text files")
    args = parser.parse_args()
    kinds = {name: list(texts(files[::2], PER_KIND)) for name, files in benign_files().items()}
    kinds["given"] = list(texts(args.benign, 10 * PER_KIND))
    OUT.mkdir(parents=True, exist_ok=True)
    for tokens, chunks in CHUNKERS.items():
        samples = text_samples(
            chunk
            for found in kinds.values()
            for text in found
            for size in SIZES[tokens]
            for chunk in chunks(text, size)
        )
        policy = calibrate(samples, args.fpr)
        (OUT / f"{tokens}.json").write_text(policy.model_dump_json(indent=1) + "\n", encoding="utf-8")
        counts = {name: len(values) for name, values in samples.items()}
        print(f"{tokens}: {counts}", file=sys.stderr)


if __name__ == "__main__":
    main()
