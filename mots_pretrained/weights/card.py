"""The model card: README.md beside weights, with the header that the Hugging Face Hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError

USE = """\
For research on partially labelled data and transfer learning: as it is, or as pretrained weights
under a head of one's own. It takes one scan of the kind described under Input.
"""

LIMITS = """\
Research software, not a medical device. Trained on procedural phantoms unless the training data
above says otherwise; then no patient's data was seen, and no accuracy on patients is claimed.
"""


def model_card(
    config: ModelConfig,
    *,
    name: str = "model",
    summary: str = "",
    training: str = "",
    scores: Mapping[str, float] | None = None,
    dataset: str = "",
    license: str = "apache-2.0",
) -> str:
    """Write the text of a model card.

    Args:
        config: The network's configuration; its contract and its labels are listed.
        name: Name of the model.
        summary: One or two sentences on what it is.
        training: What it was trained on and how, with the command if there is one.
        scores: Mean Dice, 0 to 1, by category, as measured on ``dataset``.
        dataset: Where the scores were measured.
        license: Of the weights, by the Hub's name for it; "other" for weights that are not ours.

    Returns:
        Markdown with a YAML header; with scores, the header holds a model-index.

    Example:
        >>> print(model_card(ModelConfig(), name="mine").splitlines()[1])
        license: apache-2.0
    """
    return "\n".join(
        [
            _header(config, name, scores or {}, dataset, license),
            f"# {name}",
            "",
            summary or f"A {config.architecture} network stored by mots_pretrained.",
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
            training or "Not recorded.",
            "",
            *_scores(scores or {}, dataset),
            "## Limits",
            "",
            LIMITS,
            "## Source",
            "",
            "Xie, Zhang, Xia, Shen: Learning from partially labeled data for multi-organ and tumor",
            "segmentation, arXiv 2211.06894. Code: Apache-2.0. "
            + ("Weights: as their authors say." if license == "other" else f"Weights: {license}."),
            "",
        ]
    )


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


def _header(
    config: ModelConfig, name: str, scores: Mapping[str, float], dataset: str, license: str
) -> str:
    lines = [
        "---",
        f"license: {license}",
        "library_name: mots_pretrained",
        "pipeline_tag: image-segmentation",
        "tags:",
        *(f"- {tag}" for tag in ("medical-imaging", "3d", "segmentation", config.architecture)),
    ]
    if scores:
        # JSON strings are YAML strings, so names need no other quoting.
        source = json.dumps(dataset or "not recorded")
        lines += [
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            "  - task: {type: image-segmentation}",
            f"    dataset: {{type: {source}, name: {source}}}",
            "    metrics:",
            *(
                f"    - {{type: dice, name: {json.dumps('Dice, ' + category)}, value: {score:.4f}}}"
                for category, score in scores.items()
            ),
        ]
    return "\n".join([*lines, "---", ""])


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
