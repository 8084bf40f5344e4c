"""The page of predicted scans: what it holds, that it escapes names, and who is an outlier."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from dicom_series import voxels, write_series
from predicted_folder import predict_into, volume_of, write_volumes

from mots_pretrained.cli import main
from mots_pretrained.files import write_json
from mots_pretrained.images.reading import read_volume
from mots_pretrained.inference.cohort import find_scans
from mots_pretrained.inference.outputs import save_prediction
from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.report.html import asset
from mots_pretrained.report.prediction_page import write_prediction_page
from mots_pretrained.report.results import read_results

EVIL = "<script>alert(1)<b onclick='x'>&amp"


def own_parts(page: Path) -> str:
    """A page without the viewer that is bundled."""
    return page.read_text("utf-8").replace(asset("niivue.js"), "")


def data_of(page: Path) -> dict:
    text = re.search(r'id="data">(.*?)</script>', own_parts(page), re.DOTALL)
    assert text is not None
    return json.loads(text[1])


def test_a_page_holds_scan_labels_volumes_and_doubts(tmp_path, capsys):
    out = predict_into(tmp_path, "ct")
    assert main(["report", "-i", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"page": str(out / "report.html"), "scans": 1, "with_pictures": 1}
    (scan,) = data_of(out / "report.html")["scans"]
    volumes = json.loads((out / "ct_volumes.json").read_text())["volumes_ml"]
    assert {label["name"]: label["ml"] for label in scan["labels"]} == volumes
    texts = [doubt["text"] for doubt in scan["doubts"]]
    assert any("in 140 training scans it measured 1.0 to 2.0 ml" in text for text in texts)
    spleen = scan["labels"][3]
    assert (spleen["doubted"], spleen["range"]) == (True, "training: 1 to 2 ml")
    marks, image = volume_of(scan["marks"]), volume_of(scan["image"])
    assert marks.shape == image.shape
    assert set(np.unique(marks.dataobj)) == {0, 1, 2, 3, 4}
    assert np.asarray(image.dataobj).std() > 20
    # what is read off the page's label map is the volume told, but for the rounding of the grid
    liver = (np.asarray(marks.dataobj) == 1).sum() * abs(np.linalg.det(marks.affine[:3, :3])) / 1000
    assert liver == pytest.approx(volumes["liver"], rel=0.05)


def test_names_are_text_and_nothing_is_fetched(tmp_path):
    out = predict_into(tmp_path, "ct")
    file = out / "ct_volumes.json"
    told = json.loads(file.read_text())
    rename = lambda d: {EVIL if k == "liver" else k: v for k, v in d.items()}  # noqa: E731
    told |= {key: rename(told[key]) for key in ("labels", "volumes_ml", "categories")}
    told |= {"scan": EVIL, "model": EVIL}
    told["doubts"].append({"kind": "volume", "text": EVIL, "category": EVIL})
    write_json(file, told)
    write_json(out / "b_volumes.json", {**told, "scan": "b"})
    (out / "failures.csv").write_text(f'file,kind,reason\n"{EVIL}",{EVIL},"{EVIL}"\n')
    page = out / "report.html"
    assert write_prediction_page(read_results(out), page, title=EVIL) == 2
    text = own_parts(page)
    assert "<script>alert" not in text
    assert "<b onclick" not in text
    assert html.escape(EVIL) in text
    assert data_of(page)["scans"][1]["name"] == EVIL
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")
    assert "</script" not in asset("niivue.js").lower()


def test_scans_that_moved_are_found_and_lost_ones_leave_their_labels(tmp_path, capsys):
    out = predict_into(tmp_path, "ct")
    (tmp_path / "in").rename(tmp_path / "moved")
    page = tmp_path / "page.html"
    with pytest.warns(UserWarning, match=r"1 of 1 scans .*; ct: .*\(it is no longer there"):
        assert write_prediction_page(read_results(out), page, title="lost") == 0
    assert "labels are shown alone" in data_of(page)["scans"][0]["about"]
    assert not np.asarray(volume_of(data_of(page)["scans"][0]["image"]).dataobj).any()
    assert main(["report", "-i", str(out), "--scans", str(tmp_path / "moved"), "-q"]) == 0
    (scan,) = data_of(out / "report.html")["scans"]
    assert np.asarray(volume_of(scan["image"]).dataobj).any()


def test_pictures_are_bounded_and_scans_beyond_are_listed(tmp_path, capsys):
    out = predict_into(tmp_path, "a", "b", "c")
    assert main(["report", "-i", str(out), "--megabytes", "0.001", "--size", "16"]) == 0
    assert "1 of 3 scans have their pictures" in capsys.readouterr().out
    scans = data_of(out / "report.html")["scans"]
    assert [scan["image"] is not None for scan in scans] == [True, False, False]
    assert max(volume_of(scans[0]["marks"]).shape) <= 16
    assert own_parts(out / "report.html").count("<tr data-scan=") == 3


def test_an_outlier_is_marked_in_the_table(tmp_path):
    for number, ml in enumerate([100, 101, 99, 102, 98, 100, 101, 300]):
        write_volumes(tmp_path, f"s{number}", ml)
    write_prediction_page(read_results(tmp_path), tmp_path / "r.html", title="t")
    assert own_parts(tmp_path / "r.html").count('class="outlier"') == 1


@pytest.mark.parametrize("kind", ["described", "parts of one UID", "uneven", "uneven and tilted"])
def test_a_dicom_series_is_found_again_by_what_its_results_call_it(tmp_path, capsys, kind):
    """Every series with a description was black, and every uneven one, without a word."""
    array = voxels((6, 16, 16))
    places = [0, 8, 16, 32, 40, 48] if "uneven" in kind else None  # one image is missing
    along = (0, 0.2, 1) if "tilted" in kind else None
    more = {"places": places, "along": along, "spacing": (8.0, 8.0), "step": 8.0}
    folder = tmp_path / "in" / "study"
    tags = {"SeriesInstanceUID": "1.2.3", "SeriesDescription": "Abdomen"}
    write_series(folder, array, **more, **tags, AcquisitionNumber=1)
    if kind == "parts of one UID":
        write_series(folder, voxels((6, 16, 16), seed=1), **more, **tags, AcquisitionNumber=2,
                     names=lambda k: f"b{k}")  # fmt: skip
    write_series(tmp_path / "in" / "other", array, **more)
    out = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is uneven and tilted
        for scan in find_scans([tmp_path / "in"], 1):
            volume = read_volume(scan.images[0], series=scan.series)
            volume = dataclasses.replace(volume, name=scan.name)
            labels = (volume.array > 0).astype(np.uint8)
            found = Prediction(labels, volume, {"organ": (1,)})
            told = {"series": scan.series.key}
            save_prediction(found, out, files=scan.images, told=told)
    assert main(["report", "-i", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["with_pictures"] == told["scans"] == (3 if kind == "parts of one UID" else 2)
    for scan in data_of(out / "report.html")["scans"]:
        marks, image = (np.asarray(volume_of(scan[key]).dataobj) for key in ("marks", "image"))
        assert image[marks == 1].mean() > image[marks == 0].mean() + 50  # of the same voxels
