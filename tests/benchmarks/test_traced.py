"""Every measured figure in README, docs and cards is a row of a CSV in benchmarks/results.

A figure is written here with the lines that it is the mean of. What looks like a measurement in the
text and is neither such a figure nor a setting fails; so does a figure that the rows contradict.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest

from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import from_lines
from mots_pretrained.weights.card_renewal import read_card

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
CARDS = sorted((ROOT / "hub").glob("*/README.md"))
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "hub" / "README.md",
    *CARDS,
]


@dataclass(frozen=True)
class Rows:
    """The mean value of some lines of a CSV file, or a number of a training's record."""

    file: str
    where: dict[str, str]
    digits: int = 2
    factor: float = 1.0

    def shown(self) -> str:
        if self.file.endswith(".json"):
            record = json.loads((ROOT / self.file).read_text("utf-8"))
            return f"{self.factor * record[self.where['metric']]:.{self.digits}f}"
        with (RESULTS / self.file).open(newline="", encoding="utf-8") as file:
            lines = [x for x in csv.DictReader(file) if self.where.items() <= x.items()]
        assert lines, f"{self.file} has no line of {self.where}"
        values = [float(x["value"]) for x in lines if x["value"]]  # absent organs have none
        return f"{self.factor * fmean(values):.{self.digits}f}"


@dataclass(frozen=True)
class Reached:
    """The mean over seeds of what an arm of ``time_to_quality.py`` scores in the end."""

    arm: str

    def shown(self) -> str:
        scores = {
            line["seed"]: float(line["value"])
            for line in lines_of("time_to_quality.csv")
            if (line["row"], line["metric"]) == (self.arm, "mean_dice")
        }
        assert len(scores) == 3
        return f"{fmean(scores.values()):.2f}"


TABLE9 = "table09_evidence_phantom.csv"


@dataclass(frozen=True)
class MeanDice:
    """The mean over categories of a row of Table 9, or of another part of its CSV."""

    row: str
    table: str = "table09"

    def shown(self) -> str:
        return f"{fmean(means(from_lines(of_table9(self.row, self.table))).values()):.2f}"


@dataclass(frozen=True)
class Seeds:
    """How many seeds of a row Table 9 has."""

    row: str

    def shown(self) -> str:
        return str(len({line["seed"] for line in of_table9(self.row)}))


def of_table9(row: str, table: str = "table09") -> list[dict[str, str]]:
    return [x for x in lines_of(TABLE9) if (x["table"], x["row"]) == (table, row)]


def ahead_of(row: str) -> tuple[Rows, ...]:
    where = {"table": "table09 compared", "row": f"TransDoDNet - {row}"}
    return tuple(Rows(TABLE9, where | {"metric": m}) for m in ("difference", "low", "high"))


def ahead_by(pair: str, table: str = "organs") -> tuple[Rows, ...]:
    where = {"table": f"adaptation {table} compared", "row": pair}
    values = ("difference", "low", "high")
    return tuple(Rows("adaptation.csv", where | {"metric": m}, digits=3) for m in values)


@dataclass(frozen=True)
class Figure:
    """Words of a page, whose braces stand for rows."""

    page: str
    text: str
    rows: tuple[Rows | Reached | MeanDice | Seeds, ...]

    def shown(self) -> str:
        return self.text.format(*(rows.shown() for rows in self.rows))


def peak(network: str, categories: str) -> Rows:
    setting = {
        "small": "transdodnet.phantom, 4 x 3 x 3 mm, windows 48x96x96; ",
        "paper": "the paper's size, 1.5 x 0.8 x 0.8 mm, windows 64x256x256; ",
    }[network] + categories
    return Rows("memory.csv", {"setting": setting, "metric": "peak_gib"}, digits=1)


def dice(model: str, category: str) -> Rows:
    return Rows("models.csv", {"row": model, "category": category, "metric": "dice"})


def minutes(model: str) -> Rows:
    return Rows(f"hub/{model}/training.json", {"metric": "seconds"}, digits=0, factor=1 / 60)


def cohort(how: str, file: str = "cohort.csv") -> tuple[Rows, ...]:
    metrics = ("wall_seconds", "cpu_seconds")
    return tuple(Rows(file, {"row": how, "metric": m}, digits=1) for m in metrics)


def inference(network: str, words: str, arm: str, *, reckoned: bool = False) -> Figure:
    """A line of the table of one scan: seconds in both precisions, and memory in float32."""
    row = {"row": f"{network}, 512x512x200"}
    rest = ", reckoned from the windows run" if reckoned else ""
    seconds = {"metric": "reckoned_seconds" if reckoned else "seconds"}
    name = "shipped" if network == "shipped" else "paper's size"
    return Figure(
        "docs/cost.md",
        f"| {name} | {words} | {{}} | {{}} | {{}}",
        (
            *(
                Rows(
                    "inference.csv",
                    row | seconds | {"setting": f"{arm}, {precision}, 2 threads{rest}"},
                    digits=1,
                )
                for precision in ("float32", "bfloat16")
            ),
            Rows(
                "inference.csv",
                row | {"metric": "peak_gib_above", "setting": f"{arm}, float32, 2 threads"},
            ),
        ),
    )


def adapted(table: str, row: str) -> Rows:
    return Rows("adaptation.csv", {"table": f"adaptation {table}", "row": row, "metric": "dice"})


def minutes_to(aim: float, arm: str) -> Rows:
    where = {"row": arm, "metric": f"minutes_to_{aim}"}
    return Rows("time_to_quality.csv", where, digits=1)


def stored(how: str) -> Rows:
    return Rows("store.csv", {"setting": how, "metric": "megabytes"}, digits=0)


FIGURES = (
    Figure("docs/cost.md", "| one `mots` over the folder | {} | {} |", cohort("one run")),
    Figure(
        "docs/cost.md",
        "| one process, one scan after the other | {} | {} |",
        cohort("one process, in turn"),
    ),
    Figure("docs/cost.md", "| a `mots` a scan | {} | {} |", cohort("single runs, summed")),
    Figure(
        "docs/cost.md",
        "the three ways took {}, {} and {} seconds",
        tuple(
            cohort(how, "cohort_avx2.csv")[0]
            for how in ("one run", "one process, in turn", "single runs, summed")
        ),
    ),
    *(
        figure
        for network in ("shipped", "paper")
        for figure in (
            inference(
                *(network, "plain loop, eight mirror images, all tasks (reckoned)", "plain loop"),
                reckoned=True,
            ),
            inference(network, "MONAI's inferer, eleven masks", "monai"),
            inference(network, "`mots`, eleven categories", "ours"),
            inference(network, "`mots`, liver and its tumour alone", "ours, one task"),
        )
    ),
    Figure(
        "docs/cost.md",
        "({} against {} MB for 200 x 512 x 512",
        (stored("blosc2 store"), stored("compressed NIfTI, read whole")),
    ),
    Figure(
        "README.md",
        "{} GiB for one category and {} for eleven with the shipped networks (4 x 3 x 3 mm), "
        "{} and {} GiB at the paper's size",
        tuple(peak(n, c) for n in ("small", "paper") for c in ("1 category", "11 categories")),
    ),
    Figure(
        "README.md",
        "with a Dice of {}, {} and {}, pancreas and hepatic vessels with {} and {}, tumours of the "
        "liver and beside its vessels with {} and {};",
        tuple(
            dice("transdodnet.phantom", name)
            for name in (
                *("liver", "spleen", "kidney", "pancreas", "hepatic_vessel", "liver_tumour"),
                "hepatic_vessel_tumour",
            )
        ),
    ),
    Figure(
        "README.md",
        "has a mean Dice of {} after {} minutes. The same network from random weights reaches 0.5 "
        "after {} minutes and has {} after 20, some 950 steps of one patch; MONAI's DynUNet, in "
        "the shape that nnU-Net would plan, from random weights, {} after 20 minutes",
        (
            *(Reached("head"), minutes_to(0.5, "head")),
            *(minutes_to(0.5, "random"), Reached("random"), Reached("dynunet")),
        ),
    ),
    Figure(
        "README.md",
        "with a mean Dice of {} and is ahead of each rival: by {} of DoDNet [{}, {}], by {} of "
        "Multi-Nets [{}, {}], whose seven networks share these steps, by {} of Cond-Dec [{}, {}]",
        (
            MeanDice("TransDoDNet"),
            *(found for row in ("DoDNet", "Multi-Nets", "Cond-Dec") for found in ahead_of(row)),
        ),
    ),
    *(
        Figure(
            "docs/methods.md",
            f"| {row} | {{}} | {{}} | {{}} | {{}} [{{}}, {{}}] |",
            (Seeds(row), MeanDice(row), MeanDice(row, "table09 elsewhere"), *ahead_of(row)),
        )
        for row in ("Multi-Nets", "TAL", "Multi-Head", "Cond-Input", "Cond-Dec", "DoDNet")
    ),
    Figure(
        "docs/methods.md",
        "| TransDoDNet | {} | {} | {} | |",
        (
            Seeds("TransDoDNet"),
            MeanDice("TransDoDNet"),
            MeanDice("TransDoDNet", "table09 elsewhere"),
        ),
    ),
    Figure(
        "docs/adaptation.md",
        "learned the aorta to a Dice of {}",
        (Rows("new_organ.csv", {"row": "one query", "category": "aorta", "metric": "dice"}),),
    ),
    *(
        Figure("docs/finetune.md", f"{words} | {{}} |", (adapted(*where),))
        for words, where in {
            "| ` | 4, all organs": ("organs", "head levels"),
            "300 steps of one patch | 4, all organs": ("organs", "all after head levels"),
            "no fitted head, the full rate | 4, all organs": ("organs", "random weights"),
            "as a learning curve compares | 4, all organs": (
                *("organs", "random weights, head fitted first"),
            ),
            "on random weights | 4, all organs": ("organs", "random weights, head alone"),
            "(`head=linear`) | 4, all organs": ("organs", "head linear"),
            "| ` | 8, all organs": ("incomplete", "all organs"),
            "| ` | 8, four organs each, drawn at random": ("incomplete", "some organs"),
            "background | 8, four organs each": ("incomplete", "the rest as background"),
        }.items()
    ),
    Figure(
        "docs/finetune.md",
        "gave {} more than random ones trained as a network from scratch is (paired 95 % interval "
        "{} to {}), and {} more than random ones trained in the very same way ({} to {}): a head "
        "fitted to random features is no help. With the head alone they gave {} more",
        (
            *ahead_by("all after head levels - random weights"),
            *ahead_by("all after head levels - random weights, head fitted first"),
            ahead_by("head levels - random weights, head alone")[0],
        ),
    ),
    Figure(
        "docs/finetune.md",
        "({}, {} to {})",
        ahead_by("all after head levels - head levels"),
    ),
    *(
        Figure("docs/adaptation.md", f"| {words} | {{}} |", (adapted("channels", row),))
        for words, row in {
            "`random`": "random first layer",
            "`first_scaled`": "first_scaled",
            "`first`": "first",
            "`zero_new`": "zero_new",
        }.items()
    ),
    *(
        Figure(
            "docs/adaptation.md",
            f"`{way}` gave {{}} ({{}} to {{}})",
            ahead_by(f"{way} - random first layer", "channels"),
        )
        for way in ("first", "first_scaled", "zero_new")
    ),
    Figure(
        "docs/adaptation.md",
        "reached a Dice of {} on six others, and the gallbladder {}",
        tuple(
            Rows(
                "adaptation.csv",
                {"row": "aorta and gallbladder", "category": name, "metric": "dice"},
            )
            for name in ("aorta", "gallbladder")
        ),
    ),
    Figure(
        "hub/backbone.phantom_byol3d/README.md",
        "with an R2 of {}, off random ones with {}",
        tuple(Rows("linear_probe.csv", {"row": x, "metric": "r2"}) for x in ("BYOL-3D", "random")),
    ),
    *(
        Figure(f"hub/{name}/README.md", f"{before}{{}} minutes", (minutes(name),))
        for name, before in {
            "backbone.phantom_byol3d": "as random weights begin. ",
            "dodnet.phantom": "exponential average. ",
            "transdodnet.phantom_singlept": "exponential average. ",
        }.items()
        # Cards of 0.1.0 tell them.
        if before in re.sub(r"\s+", " ", (ROOT / "hub" / name / "README.md").read_text("utf-8"))
    ),
)
"""What is measured, page after page."""

SETTINGS = {
    "docs/cost.md": [
        *("1 GB/s", "21 MB before compression"),  # supposed; 160 x 256 x 256 x 2 bytes
        "take 96 of 100 seconds",  # network_seconds of seconds in inference.csv
    ],
    "docs/evaluate.md": ["0.05, 0.1, ... 0.95, 0.97, 0.98 and 0.99"],
    "docs/hub.md": ["Dice over 0.999", "bfloat16 by 0.25", "may deviate by 0.001"],  # tests hold it
    "docs/report.md": ["0.45 pixels"],
    "docs/predict.md": [
        *("0.45 pixels", "below 6 GB", "about 0.5 GB of planes", "128 MiB"),  # chosen in the code
        "this is 2 GB in memory",  # 11 x 100 million halves
        "a Dice above 0.99",  # a test holds it
    ],
    "docs/prepare.md": ["0.04 HU"],  # a part of the step that is stored
    "docs/determinism.md": ["within 0.001 HU"],  # a bound that a test holds
    "docs/differences.md": ["3 x 0.76 x 0.76 mm", "LeakyReLU(0.01)", "decay is 0.999"],
    "docs/pretrain.md": ["reaches 0.999", "| averaged weights (EMA) | 0.999 |"],
}
"""What looks like a measurement and is chosen, or a bound that tests hold."""

_MEASURED = re.compile(
    r"(?<![\w.,/=-])0\.\d{2,}(?![\w.]*\w)"
    r"|\b\d[\d.,]* (?:GiB|MiB|GB|MB|minutes?|seconds?|hours?)\b"
)


def prose(page: Path) -> str:
    """Return a page without code, front matter, a card's scores and thresholds; blanks made one."""
    text = page.read_text("utf-8")
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    if page in CARDS:
        text = re.sub(r"^\| .*\|$|^Thresholds of .*$", " ", text, flags=re.MULTILINE)
    return re.sub(r"\s+", " ", re.sub(r"`[^`\n]*`", "`", text))


def shortened(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"`[^`\n]*`", "`", text))


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure.page}: {figure.text[:40]}")
def test_a_figure_is_what_its_rows_say(figure: Figure) -> None:
    assert shortened(figure.shown()) in prose(ROOT / figure.page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_looks_measured_is_traced(page: Path) -> None:
    name, text = page.relative_to(ROOT).as_posix(), prose(page)
    known = [figure.shown() for figure in FIGURES if figure.page == name]
    for words in (*known, *SETTINGS.get(name, ())):
        text = text.replace(shortened(words), "")
    found = [text[max(0, m.start() - 40) : m.end() + 20] for m in _MEASURED.finditer(text)]
    assert not found, f"no row of a CSV is named for: {found}"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.name)
def test_a_cards_scores_are_rows(card: Path) -> None:
    text, model = card.read_text("utf-8"), card.parent.name
    tabled = dict(re.findall(r"^\| (\w+) \| (\d\.\d{3}) \|", text, re.MULTILINE))
    listed = {name: f"{value:.4f}" for name, value in read_card(text).scores.items()}
    rows = scores(model)
    assert {name: f"{value:.3f}" for name, value in rows.items()} == tabled
    assert {name: f"{value:.4f}" for name, value in rows.items()} == listed


def scores(model: str) -> dict[str, float]:
    """Return a model's Dice by category: of its cases where these are known, else as noted."""
    for name in ("models.csv", "models_0_1_0.csv"):
        if (RESULTS / name).is_file():
            lines = [x for x in lines_of(name) if x["table"] == "models" and x["row"] == model]
            if lines and lines[0]["case"]:
                return means(from_lines(lines))
            if lines:
                return {line["category"]: float(line["value"]) for line in lines}
    return {}


def means(results: Results) -> dict[str, float]:
    found = {name: results.mean(name) for name in results.categories}
    return {name: value for name, value in found.items() if value is not None}


def lines_of(name: str) -> Iterator[dict[str, str]]:
    with (RESULTS / name).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def test_a_figure_without_a_row_is_found() -> None:
    text = "It reaches 0.83 after 5 minutes, with rate=0.001 and `0.55`, in version 0.1.0."
    assert [m[0] for m in _MEASURED.finditer(shortened(text))] == ["0.83", "5 minutes"]
