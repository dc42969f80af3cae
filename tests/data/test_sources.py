"""Which files make a corpus, how they are split, and every reason to refuse them: one line that names the file."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from fastweights.data.sources import Source, Span, default_corpus, find_source, read_jsonl, read_span
from fastweights.data.synthetic import synthetic_text
from fastweights.errors import FastweightsError, NotFound

SYNTHETIC = "49aecb207469183792ce81d8b53743d151e4159bfc2f390a6bd06ec36588b10e"


def text_of(part: tuple[Span, ...]) -> bytes:
    return b"".join(block for span in part for block in read_span(span))


def write(folder: Path, **files: bytes) -> Path:
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_the_first_nine_tenths_of_the_bytes_train(tmp_path: Path) -> None:
    data = bytes(range(1, 256)) * 3 + b"1234"
    path = tmp_path / "any.name"
    path.write_bytes(data)
    source = find_source(str(path))
    border = int(len(data) * 0.9)
    assert text_of(source.train) == data[:border]
    assert text_of(source.val) == data[border:]
    assert (source.train_bytes, source.val_bytes) == (border, len(data) - border)


def test_files_below_a_folder_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path, b_dot_txt=b"B", a__z_dot_md=b"AZ", a__b_dot_RST=b"AB", c_dot_tex=b"C", d_dot_text=b"D")
    write(tmp_path, e_dot_csv=b"no", _dot_hidden__f_dot_txt=b"no", g_dot_txt=b"")
    source = find_source(str(tmp_path), val_fraction=0.25)
    assert text_of(source.train) + text_of(source.val) == b"ABAZBCD"
    assert [span.path.name for span in source.train] == ["b.RST", "z.md", "b.txt"]


def test_symlinks_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "outside", secret_dot_txt=b"secret" * 9)
    write(tmp_path / "in", a_dot_txt=b"0123456789")
    os.symlink(tmp_path / "outside", tmp_path / "in" / "dir")
    os.symlink(tmp_path / "outside" / "secret.txt", tmp_path / "in" / "link.txt")
    assert find_source(str(tmp_path / "in")).train_bytes == 9


def test_the_hash_is_of_names_and_contents_not_of_the_place(tmp_path: Path) -> None:
    def sha(name: str, **files: bytes) -> str:
        return find_source(str(write(tmp_path / name, **files))).sha256

    one = sha("one", a_dot_txt=b"0123456789", b_dot_txt=b"x")
    assert sha("two", a_dot_txt=b"0123456789", b_dot_txt=b"x") == one
    assert sha("three", a_dot_txt=b"012345678", b_dot_txt=b"9x") != one
    assert sha("four", a_dot_txt=b"0123456789", c_dot_txt=b"x") != one


def test_named_files_are_held_out(tmp_path: Path) -> None:
    write(tmp_path, a_dot_txt=b"aaaa", sub__b_dot_txt=b"bb", c_dot_txt=b"c")
    source = find_source(str(tmp_path), holdout=("sub/*",))
    assert text_of(source.train) == b"aaaac"
    assert text_of(source.val) == b"bb"


def test_a_holdout_that_matches_nothing_or_everything(tmp_path: Path) -> None:
    write(tmp_path, a_dot_txt=b"aaaa", b_dot_txt=b"b")
    with pytest.raises(FastweightsError, match=r"holdout 'a\.tx' matches no file.*did you mean 'a\.txt'"):
        find_source(str(tmp_path), holdout=("a.tx",))
    with pytest.raises(FastweightsError, match="matches every file"):
        find_source(str(tmp_path), holdout=("*",))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no text in this folder"),
        ({"a_dot_csv": b"1,2"}, "no text in this folder"),
        ({"a_dot_txt": b"", "b_dot_md": b""}, "every file is empty"),
        ({"a_dot_txt": b"fine", "b_dot_txt": b"bin\0ary"}, r"b\.txt is binary: NUL at byte 3; remove"),
        ({"a_dot_txt": "text".encode("utf-16")}, r"a\.txt is binary.*UTF-16\? save it as UTF-8"),
        (
            {"a_dot_txt": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"},
            r"a\.txt is a Git-LFS pointer, not the text itself; run 'git lfs pull'",
        ),
    ],
)
def test_refusals(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    write(tmp_path, **files)
    with pytest.raises(FastweightsError, match=message) as info:
        find_source(str(tmp_path))
    assert str(tmp_path) in str(info.value)
    assert "\n" not in str(info.value)


def test_a_nul_far_into_a_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 3_000_000 + b"\0")
    with pytest.raises(FastweightsError, match="NUL at byte 3000000"):
        find_source(str(path))


def test_a_missing_path_names_the_near_miss(tmp_path: Path) -> None:
    write(tmp_path, stories_dot_txt=b"x")
    with pytest.raises(NotFound, match=r"storys\.txt does not exist; did you mean 'stories\.txt'"):
        find_source(str(tmp_path / "storys.txt"))
    with pytest.raises(NotFound, match="did you mean 'shakespeare'"):
        find_source("shakespear")


def test_bad_utf8_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9 " * 10)
    assert text_of(find_source(str(path)).train) == (b"caf\xe9 " * 10)[:45]


def test_tiny_ships() -> None:
    source = find_source("tiny")
    assert source.train_bytes + source.val_bytes >= 50_000
    text = text_of(source.train) + text_of(source.val)
    assert text.startswith(b"THE SONNETS")
    assert text.isascii()


def test_shakespeare_is_found_without_importing_its_package() -> None:
    source = find_source("shakespeare", holdout=("hamlet_gut.txt",))
    assert [span.path.name for span in source.val] == ["hamlet_gut.txt"]
    assert source.train_bytes + source.val_bytes == 5_057_198
    assert not any(span.path.name.endswith("_gut_f.txt") for span in source.train)


def test_the_default_corpus(tmp_path: Path) -> None:
    for state in ("does not exist", "is empty"):
        name, notice = default_corpus(tmp_path)
        assert name == "tiny"
        assert notice is not None
        assert state in notice
        (tmp_path / "training_data").mkdir(exist_ok=True)
    write(tmp_path / "training_data", a_dot_txt=b"text")
    assert default_corpus(tmp_path) == (str(tmp_path / "training_data"), None)


def test_a_sample_of_a_small_corpus_is_its_train_part(tmp_path: Path) -> None:
    source = find_source("tiny")
    assert b"".join(source.sample()) == text_of(source.train)


def test_a_sample_of_a_large_corpus_is_spread_over_the_train_part(tmp_path: Path) -> None:
    lines = b"".join(b"%07d\n" % i for i in range(100_000))
    path = tmp_path / "a.txt"
    path.write_bytes(lines)
    source: Source = find_source(str(path), val_fraction=0.5)
    pieces = list(source.sample(limit=80_000, piece=4_000))
    assert 60_000 <= sum(map(len, pieces)) <= 80_000
    firsts = [int(piece[:7]) for piece in pieces]
    assert firsts == sorted(firsts)
    assert firsts[0] < 10_000
    assert 40_000 < firsts[-1] < 50_000  # nothing held out


def test_what_is_no_regular_file_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, a_dot_txt=b"0123456789")
    os.mkfifo(tmp_path / "pipe.txt")  # opening it would wait for ever
    assert find_source(str(tmp_path)).train_bytes == 9


# ---------------------------------------------------------------- JSONL and the made-up corpus


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_lines_of_json_are_documents(tmp_path: Path) -> None:
    texts = [f"text {i} – naïve\nsecond line" for i in range(20)]
    path = jsonl(tmp_path / "a.jsonl", *({"text": t, "id": i} for i, t in enumerate(texts)), "", {"text": ""})
    source = find_source(str(path), 0.25)
    train, val = (list(read_jsonl(part[0])) for part in (source.train, source.val))
    assert [text.decode() for text in train + val] == texts
    assert 3 <= len(val) <= 6
    assert (source.train_bytes, source.val_bytes) == tuple(sum(map(len, part)) for part in (train, val))
    assert b"".join(source.sample()) == b"".join(train)


def test_text_and_lines_of_json_in_one_folder(tmp_path: Path) -> None:
    jsonl(tmp_path / "b.jsonl", {"text": "from the lines"})
    (tmp_path / "a.txt").write_text("plain")
    source = find_source(str(tmp_path), holdout=("a.txt",))
    assert (source.train_bytes, source.val_bytes) == (len("from the lines"), 5)


@pytest.mark.parametrize("bad", ["{", '{"txt": "a"}', '{"text": 3}', "[]", '"text"', "null"])
def test_a_line_that_is_no_json_is_named(tmp_path: Path, bad: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "good"}, bad, {"text": "good too"})
    with pytest.raises(FastweightsError, match=r'a\.jsonl: the line at byte 17 is not \{"text": "…"\}'):
        find_source(str(path))


def test_the_made_up_corpus_is_the_same_everywhere(tmp_path: Path) -> None:
    source = find_source("synthetic", cache=tmp_path)
    assert source.name == "synthetic"
    assert source.sha256 == find_source("synthetic", cache=tmp_path / "other").sha256
    text = (tmp_path / "synthetic.txt").read_bytes()
    assert 400_000 <= len(text) < 401_000
    assert hashlib.sha256(text).hexdigest() == SYNTHETIC
    (tmp_path / "synthetic.txt").write_bytes(text[:99])  # not whole: made again
    assert find_source("synthetic", cache=tmp_path).sha256 == source.sha256
    assert synthetic_text(1000) != synthetic_text(1000, seed=1)
