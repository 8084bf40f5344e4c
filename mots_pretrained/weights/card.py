"""The model card: README.md beside weights, with the header that the Hugging Face Hub reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mots_pretrained.config import ModelConfig

USE = """\
For research on partially labelled data and transfer learning: as it is, or as pretrained weights
under a head of one's own. It takes one scan of the kind described under Input.
"""

THRESHOLDS = "Thresholds of probability, chosen on validation cases: "
"""What the card's line on thresholds begins with."""

ABSENT = "| category | Dice | clean without it | false ml |"
"""Head of the card's table of scores with false volumes."""

NOT_RECORDED = "Not recorded."

NO_DATASET = "not recorded"
"""Name in the header of the data of scores where none is given, for the Hub wants one."""

LIMITS = """\
Research software, not a medical device. Scores hold for the data that they were measured on; no
accuracy on patients is claimed.
"""

LIBRARY_NAME = "mots_pretrained"
"""What cards name as their library, by which the Hub finds them."""

PASSED_ON = "Whoever uses the weights or passes them on has to know which of these holds."

PAPER = "https://arxiv.org/abs/2211.06894"
"""The Hub lists a repository whose card links it with the paper."""

UNKNOWN = "unknown"
"""The Hub's name for a licence that nobody has stated."""


@dataclass(frozen=True)
class Description:
    """What a card says besides the configuration; all may be left out.

    Attributes:
        name: The model's name, by which it is loaded.
        summary: One or two sentences on what it is.
        training: What it was trained on and how, with the command if there is one.
        scores: Mean Dice, 0 to 1, by category, as measured on ``dataset``.
        dataset: What the scores were measured on.
        absent: By category, of the cases without it, the share in which nothing was predicted,
            and the median volume in ml that was.
        license: Of the weights, by the Hub's name for it; "other" for weights that are not ours.
        license_name: What a licence is called that is "other" to the Hub.
        license_link: Where its text is.
        license_statements: Who says what of the licence, a sentence each.
        base_model: Hub repository of the weights that the training began from.
        datasets: Hub repositories of the data that it was trained on.
        title: What the card is headed with in place of the name.
    """

    name: str = ""
    summary: str = ""
    training: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    dataset: str = ""
    absent: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    license: str = ""
    license_name: str = ""
    license_link: str = ""
    license_statements: tuple[str, ...] = ()
    base_model: str = ""
    datasets: tuple[str, ...] = ()
    title: str = ""


def model_card(config: ModelConfig, said: Description | None = None, *, seen: str = "") -> str:
    """Write the text of a model card.

    Args:
        config: The network's configuration; its contract and its labels are listed.
        said: What else is known.
        seen: Statement on the scans that the weights were trained on.

    Returns:
        Markdown with a YAML header; with scores, the header holds a model-index.

    Example:
        >>> print(model_card(ModelConfig(), Description(license="mit")).splitlines()[2])
        license: mit
    """
    said = said or Description()
    name, license = said.name or "model", said.license or UNKNOWN
    return "\n".join(
        [
            "---",
            _header(config, name, said),
            "---",
            "",
            f"# {said.title or name}",
            "",
            said.summary or f"A {config.architecture} network stored by mots_pretrained.",
            "",
            "```python",
            "import mots_pretrained as mots",
            "",
            loading(name),
            "```",
            "",
            "## Input",
            "",
            *_contract(config),
            "",
            "## Output",
            "",
            *_outputs(config),
            "",
            *thresholds_line(config),
            "## Intended use",
            "",
            USE,
            "## Training",
            "",
            said.training or NOT_RECORDED,
            "",
            seen_line(seen),
            "",
            *_scores(said),
            *_licence(said.license_statements),
            "## Limits",
            "",
            LIMITS,
            "## Source",
            "",
            "Xie, Zhang, Xia, Shen: Learning from partially labeled data for multi-organ and tumor",
            f"segmentation, [arXiv 2211.06894]({PAPER}). Code: Apache-2.0. Weights: "
            + ("as their authors say." if license == "other" else f"{license}."),
            "",
        ]
    )


def loading(name: str) -> str:
    """Return the line of a card that loads the network."""
    return f'network = mots.load("{name}")  # or the path of this folder'


def loaded(card: str) -> str:
    """Return the name that a card of ours loads the network by; empty of another card."""
    found = _LOADED.search(card)
    return "" if found is None else found[1]


_LOADED = re.compile(re.escape(loading("NAME")).replace("NAME", r"((?:(?!\", )[^\n])*?)"))
"""That line with any name, and no further argument, which somebody wrote."""


def renamed(card: str, name: str, *, title: str = "") -> str:
    """Return a card of ours for weights of another name, such as a repository's.

    A title stays where it is neither the name in the line that loads the network nor that of a
    fold: somebody wrote it.

    Args:
        card: Its text.
        name: What loads the network now.
        title: In place of the name as title.
    """
    known, title = loaded(card), title or name
    if not known:
        return card
    whole = re.escape(re.sub(r"/fold_\d+$", "", known))
    old = rf"(?:{re.escape(known)}|{whole}, fold_\d+)"
    card = _LOADED.sub(lambda _: loading(name), card)
    for before, new in (("# ", title), ("- name: ", name)):  # the title, and the header's results
        line = f"{before}{new}".replace("\\", r"\\")
        card = re.sub(rf"(?m)^{before}(['\"]?){old}\1$", line, card, count=1)
    return card


def organs_card(
    organs: Sequence[str],
    base_sha256: str,
    repository: str,
    *,
    scans: int | None = None,
    base_model: str = "",
    license: str = "",
    license_name: str = "",
    license_link: str = "",
) -> str:
    """Write the card of organs that were added to a network.

    Args:
        organs: Their names.
        base_sha256: Hash of the weights that they were learned on.
        repository: Hub repository that the card is for.
        scans: Number of the scans that they were learned from; None: not recorded.
        base_model: Hub repository, or catalogue name, of those weights.
        license: Of the organs' weights, by the Hub's name for it.
        license_name: What a licence is called that is ``other`` to the Hub.
        license_link: Where its text is.
    """
    from huggingface_hub import ModelCardData

    on_hub = "/" in base_model
    count = f"{scans} scan{'' if scans == 1 else 's'}, whose hashes the file holds, beside those of"
    seen = "" if scans is None else f"{count} the network."
    header = ModelCardData(
        base_model=base_model if on_hub else None,
        base_model_relation="adapter" if on_hub else None,
        license=license or UNKNOWN,
        license_name=license_name or None,
        license_link=license_link or None,
        library_name=LIBRARY_NAME,
        pipeline_tag="image-segmentation",
        tags=["medical-imaging", "3d", "segmentation", "added-organs"],
    ).to_yaml()
    return f"""\
---
{header}
---

# {repository}

{", ".join(organs)}: learned by a head on the features of a network that stays as it is.

```python
import mots_pretrained as mots

net = mots.load("{base_model or "the network that they were learned on"}", add=["{repository}"])
```

They are refused on other weights than those with SHA-256 {base_sha256}.

{seen_line(seen)}

## Source

Xie, Zhang, Xia, Shen: Learning from partially labeled data for multi-organ and tumor
segmentation, [arXiv 2211.06894]({PAPER}).
"""


def seen_line(seen: str) -> str:
    """Return the card's line on the scans that the weights were trained on."""
    return f"Seen in training: {seen or 'not recorded.'}"


SEEN = (
    "Seen in training: "
    r"(?:not recorded|Procedural phantoms only; no scan of anybody was seen|"
    r"\d+ training scans?(?: of .*|, and what .*)?)\."
)
"""Pattern of that line as it is written here; in other words it is somebody's own."""


def thresholds_line(config: ModelConfig) -> list[str]:
    """Return the card's line on thresholds, and an empty one; nothing if all are 0.5."""
    if not config.thresholds:
        return []
    told = ", ".join(f"{name} {value:g}" for name, value in config.thresholds.items())
    return [f"{THRESHOLDS}{told}; else 0.5.", ""]


def _header(config: ModelConfig, name: str, said: Description) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    source = said.dataset or NO_DATASET
    results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=source,
            dataset_name=source,
            metric_type="dice",
            metric_name=f"Dice, {category}",
            metric_value=round(score, 4),
        )
        for category, score in said.scores.items()
    ]
    return ModelCardData(
        base_model=said.base_model or None,
        datasets=list(said.datasets) or None,
        metrics=["dice"] if results else None,
        license=said.license or UNKNOWN,
        license_name=said.license_name or None,
        license_link=said.license_link or None,
        library_name=LIBRARY_NAME,
        pipeline_tag="image-segmentation",
        tags=["medical-imaging", "3d", "segmentation", config.architecture],
        model_name=name if results else None,
        eval_results=results or None,
    ).to_yaml()


def _contract(config: ModelConfig) -> list[str]:
    contract = config.preprocessing
    scaled = (
        f"clipped to [{contract.clip[0]:g}, {contract.clip[1]:g}] HU and scaled to [-1, 1]"
        if contract.intensity == "ct"
        else "z-scored a channel"
    )
    return [
        f"- channels: {', '.join(contract.channels)}",
        f"- spacing: {_times(contract.spacing)} mm (feet to head, front to back, right to left)",
        f"- intensities {scaled}",
        f"- training patch {_times(contract.patch)}, test window {_times(contract.window)} voxels",
        "",
        "`Predictor` brings a scan into this form and the result back onto the scan's own grid.",
    ]


def _outputs(config: ModelConfig) -> list[str]:
    if config.architecture == "segmenter":
        kind = "exclude each other" if config.exclusive else "may overlap"
        return [f"Classes, which {kind}: {', '.join(config.classes)}."]
    if config.architecture == "backbone":
        return ["Feature maps; put a head on them with `Segmenter`."]
    return [
        f"- {task.name}: {', '.join(task.categories) or 'organ and tumour'}"
        for task in config.tasks
    ]


def _scores(said: Description) -> list[str]:
    if not said.scores:
        return []
    title = f"## Scores ({said.dataset})" if said.dataset else "## Scores"
    if not said.absent:
        rows = [f"| {category} | {score:.3f} |" for category, score in said.scores.items()]
        return [title, "", "| category | Dice |", "|---|---|", *rows, ""]
    rows = []
    for category in dict.fromkeys((*said.scores, *said.absent)):
        dice = f"{said.scores[category]:.3f}" if category in said.scores else "-"
        share, volume = said.absent.get(category, (None, None))
        false = "- | -" if share is None else f"{share:.2f} | {volume:.2f}"
        rows.append(f"| {category} | {dice} | {false} |")
    return [
        *(title, ""),
        "Of the cases without a category: the share in which nothing was predicted, and the median",
        "volume that was.",
        *("", ABSENT, "|---|---|---|---|", *rows, ""),
    ]


def _licence(statements: tuple[str, ...]) -> list[str]:
    if not statements:
        return []
    said = [f"- {statement}" for statement in statements]
    return ["## Licence of the weights", "", *said, "", PASSED_ON, ""]


def _times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
