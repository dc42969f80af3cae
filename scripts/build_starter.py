"""Make the starter model that ships with the package: train it by its preset, store it in half precision, score that.

    python scripts/build_starter.py                   # trains (about 25 minutes on one core), then writes the assets
    python scripts/build_starter.py --model FOLDER    # from the folder of a model that the preset has trained already

The manifest's held-out figure is that of the half-precision weights, as `fastweights eval ppl` reads them.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from fastweights.data.corpus import open_corpus
from fastweights.models.registry import load_model
from fastweights.models.scoring import corpus_score
from fastweights.store import atomic
from fastweights.store.models import shipped_starter
from fastweights.store.tensors import save_tensors
from fastweights.train.config import TrainConfig

LIMIT = 4_000_000  # bytes
TRAINED = "starter-build"  # the id `starter` is the shipped model's, in every store
RECIPE = "python scripts/build_starter.py"


def build(source: Path, target: Path, cache: Path) -> float:
    """Write the assets from a trained model's folder; returns held-out bits per byte of what was written."""
    trained = load_model(source)
    config = TrainConfig.model_validate(trained.manifest["train_config"])
    assert config.corpus is not None
    corpus = open_corpus(config.corpus, trained.tokenizer, cache, config.val_fraction, config.holdout)
    if corpus.sha256 != trained.manifest["corpus"]["sha256"]:
        raise SystemExit("the corpus is not the one that the model was trained on")
    weights = {name: t.half() if t.is_floating_point() else t for name, t in trained.lm.state_dict().items()}
    trained.lm.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in weights.items()})
    score, n_bytes = corpus_score(trained.lm, corpus.val, trained.tokenizer)
    target.mkdir(parents=True, exist_ok=True)
    sha = save_tensors(target / "checkpoint.safetensors", weights)
    size = (target / "checkpoint.safetensors").stat().st_size
    if size > LIMIT:
        raise SystemExit(f"checkpoint.safetensors has {size} bytes, the limit is {LIMIT}")
    for name in ("config.json", "tokenizer.json"):
        atomic.write_bytes(target / name, (source / name).read_bytes())
    kept = {k: v for k, v in trained.manifest.items() if k not in ("ckpt_dir", "error")}
    bpb = score.bits_per_byte(n_bytes)
    changes = {"id": "starter", "preset": "starter", "dtype": "float16", "checkpoint_sha256": sha, "recipe": RECIPE}
    atomic.write_json(target / "manifest.json", {**kept, **changes, "val_bpb": bpb, "val_bytes": n_bytes})
    return bpb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of the trained model (default: train it now)")
    parser.add_argument("--out", type=Path, default=shipped_starter(), help="where the assets go")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = args.model
        if source is None:
            train = ["train", "--preset", "starter", "--model-id", TRAINED, "--root", scratch]
            subprocess.run([sys.executable, "-m", "fastweights", *train], check=True)
            source = Path(scratch) / "text_models" / TRAINED
        bpb = build(source, args.out, Path(scratch) / "cache")
    print(f"{args.out}: {bpb:.4f} bits per byte on the held-out plays")


if __name__ == "__main__":
    main()
