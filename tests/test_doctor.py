"""What works here is found, and what does not."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import PackageNotFoundError

from mots_pretrained import doctor
from mots_pretrained.doctor import as_json, examine


def found(**options: bool) -> dict[tuple[str, str], doctor.Check]:
    return {(check.part, check.name): check for check in examine(**options)}


def test_all_that_is_needed_works_here():
    checks = found()
    assert {c.name: c.told for c in checks.values() if c.works is False} == {}
    assert ("package", "torch") in checks
    assert re.search(r"precision auto is (bfloat16|float32)$", checks["device", "cpu"].told)
    assert ("self-test", "transdodnet.phantom") in checks
    assert ("cache", "hub") in checks
    assert {"dicom", "export", "peft", "tensorboard"} <= {n for p, n in checks if p == "extra"}


def test_what_is_missing_or_broken_is_told(monkeypatch):
    version, imported = doctor.version, importlib.import_module

    def missing(name: str) -> str:
        if name in ("peft", "scipy"):
            raise PackageNotFoundError(name)
        return version(name)

    def broken(name: str) -> object:
        if name == "nibabel":
            raise OSError("a library of the system is not there")
        return imported(name)

    monkeypatch.setattr(doctor, "version", missing)
    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    checks = found(self_test=False)
    assert checks["extra", "peft"].works is None  # an extra may be left out
    assert "pip install 'mots_pretrained[peft]'" in checks["extra", "peft"].told
    assert checks["package", "scipy"].works is False
    assert "a library of the system" in checks["package", "nibabel"].told
    assert as_json([*checks.values()])["works"] is False


def test_a_cache_that_cannot_be_written_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    check = found(self_test=False)["cache", "hub"]
    assert check.works is False
    assert str(tmp_path) in check.told
