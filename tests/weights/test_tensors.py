"""A safetensors file of ours names a checksum, by which damage is found; others are read too."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mots_pretrained.errors import UserError
from mots_pretrained.files import remove_drafts, replacing_by_name
from mots_pretrained.weights.tensors import read_tensors, write_tensors

TENSORS = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "half": torch.tensor([0.5], dtype=torch.bfloat16),
    "count": torch.tensor(3),
    "none": torch.zeros(0, 4),
}


def test_small_tensors_lie_where_torch_would_put_them(tmp_path):
    """Else a network computes other last digits once it is stored and loaded."""
    tensors = {f"{size:06d}": torch.arange(float(size)) for size in (1, 3, 14, 1000, 100_001)}
    write_tensors(tmp_path / "x.safetensors", tensors, {"told": "any"})
    read, _ = read_tensors(tmp_path / "x.safetensors")
    assert {value.data_ptr() % 64 for value in read.values() if len(value) < 10_000} == {0}
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


def test_what_was_written_is_read(tmp_path):
    write_tensors(tmp_path / "x.safetensors", TENSORS, {"told": "ä\n"})
    tensors, metadata = read_tensors(tmp_path / "x.safetensors")
    assert metadata == {"told": "ä\n"}
    assert {*tensors} == {*TENSORS}
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)


def test_the_checksum_is_the_crc_32_of_all_that_the_file_says(tmp_path):
    import zlib

    write_tensors(tmp_path / "x.safetensors", {"w": torch.tensor([1.0])}, {"a": "b"})
    said = b"[('a', 'b')]" + b"w torch.float32 (1,)" + b"\x00\x00\x80\x3f"
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata() == {"a": "b", "crc32": f"{zlib.crc32(said):08x}"}


def test_the_same_content_gives_the_same_bytes(tmp_path):
    texts = {f"name {number}": 'ü\n\x7f"\\' for number in range(9)}
    for name in ("a", "b"):
        write_tensors(tmp_path / name, TENSORS, dict(reversed(texts.items())))
    written = (tmp_path / "a").read_bytes()
    assert written == (tmp_path / "b").read_bytes()
    assert written.index(b"crc32") < written.index(b"name 0") < written.index(b"name 8")
    tensors, metadata = read_tensors(tmp_path / "a")
    assert metadata == texts
    assert torch.equal(tensors["a.weight"], TENSORS["a.weight"])


def test_every_flipped_bit_is_found_or_changes_nothing(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"told": "x"})
    sound = path.read_bytes()
    found = 0
    for place in range(0, 8 * len(sound), 3):
        data = bytearray(sound)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            tensors, metadata = read_tensors(path)
        except UserError:
            found += 1
            continue
        assert metadata["told"] == "x"
        assert {*tensors} == {*TENSORS}
        assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    assert found > 0.8 * 8 * len(sound) / 3


def test_files_of_other_programs_have_no_checksum_and_are_read(tmp_path):
    save_file(TENSORS, tmp_path / "x.safetensors", metadata={"format": "pt"})
    tensors, metadata = read_tensors(tmp_path / "x.safetensors")
    assert metadata == {"format": "pt"}
    assert torch.equal(tensors["a.weight"], TENSORS["a.weight"])


def test_what_the_system_refuses_is_the_system_s_error(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        write_tensors(tmp_path / "none" / "x.safetensors", TENSORS, {})
    assert caught.value.errno == errno.ENOENT


def test_what_the_library_writes_of_its_own_goes_with_the_draft(tmp_path, monkeypatch):
    """A process killed within save_file leaves it; a later run clears it away."""

    def killed(tensors, path, metadata):
        Path(path).with_name(".tmpAB12CD").write_bytes(b"half")
        monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
        raise SystemExit

    def write():
        with replacing_by_name(tmp_path / "net.safetensors") as draft:
            write_tensors(draft, {"w": torch.ones(1)}, {})

    monkeypatch.setattr("safetensors.torch.save_file", killed)
    with pytest.raises(SystemExit):
        write()
    monkeypatch.undo()
    (left,) = tmp_path.iterdir()
    assert [path.name for path in left.iterdir()] == [".tmpAB12CD"]
    left.rename(left.with_name(left.name.replace(f"{os.getpid()}", "999999999", 1)))
    remove_drafts(tmp_path)
    assert not [*tmp_path.iterdir()]
