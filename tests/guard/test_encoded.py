import base64
import random
import string
from collections.abc import Callable

import pytest

from fastweights.guard.gate_policy import default_gate
from fastweights.guard.judge import judge
from fastweights.guard.signals import measure
from fastweights.redteam.payloads import prose
from tests.guard.chunking import CHUNKERS


def _hexdump(rng: random.Random) -> str:
    rows = (rng.randbytes(16) for _ in range(24))
    return "\n".join(f"{16 * i:08x}  " + " ".join(f"{byte:02x}" for byte in row) for i, row in enumerate(rows))


def _in_16s(digits: str) -> str:
    return " ".join(digits[i : i + 16] for i in range(0, len(digits), 16))


FAMILIES: dict[str, Callable[[random.Random], str]] = {
    "base32": lambda rng: base64.b32encode(rng.randbytes(500)).decode(),
    "hexdump": _hexdump,
    "percent": lambda rng: "".join(f"%{byte:02X}" for byte in rng.randbytes(200)),
    "escapes": lambda rng: "".join(f"\\x{byte:02x}" for byte in rng.randbytes(200)),
    "letters": lambda rng: "".join(rng.choices(string.ascii_lowercase, k=700)),
    "base85": lambda rng: base64.b85encode(rng.randbytes(400)).decode(),
    "ascii85": lambda rng: base64.a85encode(rng.randbytes(400)).decode(),
    "bits": lambda rng: "".join(f"{byte:08b}" for byte in rng.randbytes(100)),
    "bits in 8s": lambda rng: " ".join(f"{byte:08b}" for byte in rng.randbytes(100)),
    "bytes": lambda rng: ", ".join(map(str, rng.randbytes(200))),
    "bytes of prose": lambda rng: ",".join(map(str, prose(rng, 6).encode())),
    "hex of prose in 16s": lambda rng: _in_16s(prose(rng, 12).encode().hex()),
    "letters in 16s": lambda rng: " ".join("".join(rng.choices(string.ascii_letters, k=16)) for _ in range(40)),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("kind", "size"), [("word", 32), ("word", 128), ("byte", 32), ("byte", 128)])
def test_most_chunks_of_a_blob_are_refused(family: str, kind: str, size: int) -> None:
    rng = random.Random(31)
    policy = default_gate("word" if kind == "word" else "byte")
    refused = [
        not judge(text, policy, tail, ids)["blob"].ok
        for _ in range(8)
        for text, tail, ids in CHUNKERS[kind](FAMILIES[family](rng), size)
    ]
    assert sum(refused) >= 0.85 * len(refused)


def test_numbers_names_and_one_hash_are_no_blob() -> None:
    for text in (
        " ".join(str(number) for number in range(1000, 1400)),
        ", ".join(str(number) for number in range(256)),
        "0 1 1 0 1 0 0 1 " * 30,
        "42, 17, 99, 3, 58, 61, 27, 12, 80, 44, 9, 71, 35, 66, 18, 90, 2, 53, " * 5,
        "see https://docs.example.org/en/v1.2/guide/Usage.html#Streaming?x=1&y=2 for self.assertEqual(f(x)[0],{}) " * 3,
        "donaudampfschifffahrt zhongguorenminyinhang execFileSync FSReqCallback SMTPConnectError " * 3,
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 by Ada on the 5th of May, about tea",
    ):
        blob = measure(text).blob
        assert blob is not None
        assert blob.value == 0.0


@pytest.mark.parametrize("length", [160, 200, 240])
def test_a_short_run_of_base64_is_seen_within_prose_of_any_length(length: int) -> None:
    """At 128 tokens 19 of 28 such runs of 200 characters were found: they drowned in the prose around them."""
    rng = random.Random(5)
    for _ in range(10):
        blob = base64.b64encode(rng.randbytes(length)).decode()[:length]
        text = f"{prose(rng, 3)} {blob} {prose(rng, 3)}"
        chunks = [measure(piece, tail).blob for tail, piece in (("", text), (text[:300], text[300:]))]
        assert max(found.value for found in chunks if found is not None) > 0.5
        border = text.index(blob) + length // 2
        found = measure(text[border:] + prose(rng, 3), text[:border]).blob
        assert found is not None
        assert found.value > 0.5


def test_hashes_and_short_lines_of_code_are_no_blobs() -> None:
    rng = random.Random(6)
    text = f"{prose(rng, 3)} {rng.randbytes(64).hex()} {prose(rng, 3)}"
    found = measure(text).blob
    assert found is not None
    assert found.value < 0.28
    code = (
        "hash.update('three');\nconsole.log(hash.copy().digest('hex'));\n\nhash.update('four');\nfs.open(a[0]);\n" * 3
    )
    minified = measure(code).minified
    assert minified is not None
    assert minified.value < 0.6
