"""The model card: README.md beside weights, with the header that the Hugging Face Hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError

USE = """\
For research on partially labelled data and transfer learning: as it is, or as pretrained weights
under a head of one's own. It takes one scan of the kind described under Input.
"""

NOT_RECORDED = "Not recorded."

LIMITS = """\
Research software, not a medical device. Scores hold for the data that they were measured on; no
accuracy on patients is claimed.
"""

UNKNOWN = "unknown"
"""The Hub's name for a licence that nobody has stated."""


@dataclass(frozen=True)
class Description:
    """What a card says besides the configuration; all may be left out.

    Attributes:
        name: The model's name.
        summary: One or two sentences on what it is.
        training: What it was trained on and how, with the command if there is one.
        scores: Mean Dice, 0 to 1, by category, as measured on ``dataset``.
        dataset: What the scores were measured on.
        license: Of the weights, by the Hub's name for it; "other" for weights that are not ours.
    """

    name: str = ""
    summary: str = ""
    training: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    dataset: str = ""
    license: str = ""


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
            f"# {name}",
            "",
            said.summary or f"A {config.architecture} network stored by mots_pretrained.",
            "",
            "```python",
            "import mots_pretrained as mots",
            "",
            f'network = mots.load("{name}")  # or the path of this folder',
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
            "## Intended use",
            "",
            USE,
            "## Training",
            "",
            said.training or NOT_RECORDED,
            "",
            _seen_line(seen),
            "",
            *_scores(said.scores, said.dataset),
            "## Limits",
            "",
            LIMITS,
            "## Source",
            "",
            "Xie, Zhang, Xia, Shen: Learning from partially labeled data for multi-organ and tumor",
            "segmentation, arXiv 2211.06894. Code: Apache-2.0. Weights: "
            + ("as their authors say." if license == "other" else f"{license}."),
            "",
        ]
    )


def renewed_card(
    own: str | None, config: ModelConfig, said: Description, *, name: str, told: str, seen: str
) -> str:
    """Write a card for weights that may have one already, and lose nothing that it says.

    Args:
        own: The card that lies beside the weights. It stays as it is, but for what it says of
            scans, a training that was not recorded, and the licence if there is a new one.
        config: The network's configuration.
        said: What is to be said anew; with more than a licence, the card is written anew with
            this and with what ``own`` says besides.
        name: The model's name where nothing else gives one.
        told: What training.json says of the training, in words.
        seen: Statement on the scans that the weights were trained on.

    Raises:
        ValueError: If the header of ``own`` is not valid.
    """
    if own is None:
        known = Description(name=name, training=told)
    else:
        check_card(own)
        if said == Description(name=said.name, license=said.license):
            return _refreshed(own, license=said.license, told=told, seen=seen)
        known = read_card(own)
        known = replace(known, training=known.training or told)
    given = {key: value for key, value in vars(said).items() if value}
    if "scores" in given and "dataset" not in given:
        given["dataset"] = ""  # the old scores' is not theirs
    return model_card(config, replace(known, **given), seen=seen)


def read_card(text: str) -> Description:
    """Read what a card says besides the configuration, as far as :func:`model_card` wrote it."""
    from huggingface_hub import ModelCard

    data: Any = ModelCard(text).data
    results = data.eval_results or []
    title = re.search(r"^# (.+)$\s*^((?:.|\n)*?)\s*^```python$", text, re.MULTILINE)
    training = re.search(
        r"^## Training\s+((?:.|\n)*?)\s*^(?:Seen in training:|## )", text, re.MULTILINE
    )
    told = training[1] if training else ""
    return Description(
        name=title[1] if title else "",
        summary=title[2] if title else "",
        training="" if told == NOT_RECORDED else told,
        scores={r.metric_name.removeprefix("Dice, "): r.metric_value for r in results},
        dataset=results[0].dataset_name if results else "",
        license=str(data.license or ""),
    )


def _refreshed(own: str, *, license: str, told: str, seen: str) -> str:
    text = re.sub(r"(?m)^Seen in training: .*$", lambda _: _seen_line(seen), own)
    text = text.replace(
        f"## Training\n\n{NOT_RECORDED}\n", f"## Training\n\n{told or NOT_RECORDED}\n"
    )
    if license:
        text = re.sub(r"(?m)^license: .*$", f"license: {license}", text, count=1)
        text = re.sub(r"(?m)( Weights: )[^.\n]*\.$", rf"\g<1>{license}.", text)
    return text


def _seen_line(seen: str) -> str:
    return f"Seen in training: {seen or 'not recorded.'}"


def read_scores(path: str | Path) -> dict[str, float]:
    """Read the Dice by category of what ``mots evaluate --json`` printed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no such numbers.
    """
    try:
        dice = json.loads(Path(path).read_text("utf-8"))["dice"]
        scores = {str(name): float(value) for name, value in dice.items() if value is not None}
        sound = bool(scores) and all(0 <= score <= 1 for score in scores.values())
    except (ValueError, TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise UserError(
            f"{path} holds no scores; give the output of `mots evaluate --json`, with Dice of "
            '0 to 1 by category under "dice"'
        )
    return scores


def check_card(text: str) -> None:
    """Refuse a card whose header the Hub would refuse.

    Raises:
        ValueError: If the header is no YAML, names no licence, or its model-index is not valid.
    """
    from huggingface_hub import ModelCard

    try:
        data: Any = ModelCard(text, ignore_metadata_errors=False).data
    except Exception as error:  # YAML's errors, and the card's own of several types
        first = " ".join(str(error).split())
        raise UserError(f"the header of README.md is not valid: {first:.200}") from error
    if not data.license:
        raise UserError("the header of README.md names no license; add license: mit or so")
    for result in data.eval_results or []:
        if not isinstance(result.metric_value, int | float):
            raise UserError(
                f"README.md: {result.metric_name} has value {result.metric_value!r}, no number"
            )


def _header(config: ModelConfig, name: str, said: Description) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    source = said.dataset or "not recorded"
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
        license=said.license or UNKNOWN,
        library_name="mots_pretrained",
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


def _scores(scores: Mapping[str, float], dataset: str) -> list[str]:
    if not scores:
        return []
    rows = [f"| {category} | {score:.3f} |" for category, score in scores.items()]
    title = f"## Scores ({dataset})" if dataset else "## Scores"
    return [title, "", "| category | Dice |", "|---|---|", *rows, ""]


def _times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
