"""Which network ``mots predict`` runs, and how: what its options say, loaded where it is to run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.inference.predictor import Predictor


@dataclass(frozen=True)
class NetworkChoice:
    """Which network predicts, and how; it may be sent to other machines.

    The attributes are the options of ``mots predict`` of those names, and ``scratch`` a folder for
    what does not fit into memory.
    """

    model: str
    add: tuple[str, ...] = ()
    tasks: tuple[str, ...] | None = None
    overlap: float = 0.5
    flips: bool = False
    batch: int | None = None
    precision: str = "float32"
    compiled: bool = False
    postprocess: bool = False
    probabilities: bool = False
    max_ram: float | None = None
    scratch: str | None = None
    deterministic: bool = False

    def predictor(self, device: str) -> Predictor:
        """Load it onto a device of this machine."""
        from mots_pretrained.inference.predictor import Predictor
        from mots_pretrained.networks import load
        from mots_pretrained.stages import stage
        from mots_pretrained.training.machine import compute_deterministically, prepare_machine

        prepare_machine(device)
        if self.deterministic:
            compute_deterministically(device)
        with stage("load", model=self.model):
            network = load(self.model, add=self.add)
        return Predictor(
            network,
            device=device,
            tasks=self.tasks,
            overlap=self.overlap,
            flips=self.flips,
            batch=self.batch,
            precision=self.precision,  # type: ignore[arg-type]  # it is checked there
            compiled=self.compiled,
            postprocess=self.postprocess,
            probabilities=self.probabilities,
            max_ram=self.max_ram,
            scratch=self.scratch,
        )

    def plain(self) -> NetworkChoice:
        """Return it as a processor is sure to run it, for a cluster whose machines do the work.

        Raises:
            UserError: If there is no such precision, or each machine would choose its own.
        """
        from mots_pretrained.inference.precision import check_precision

        check_precision(self.precision)
        if self.precision == "auto":
            raise UserError(
                "--precision auto may differ between the machines of a cluster; take float32, "
                "bfloat16 or float16 with --engine ray"
            )
        return replace(self, compiled=False, max_ram=None, precision="float32")

    def made_by(self, predictor: Predictor) -> dict[str, Any]:
        """Return what the files of volumes will say of how results were made.

        Args:
            predictor: This network, or what `plain` returns of it.
        """
        precision = predictor.precision if self.precision == "auto" else self.precision
        return {"model": self.model, **protocol(predictor), "precision": precision}


def protocol(predictor: Predictor) -> dict[str, Any]:
    """Return what of the network and its use changes results, as the file of volumes records it."""
    names = ("weights_sha256", "overlap", "flips", "postprocess", "precision")
    told = {name: getattr(predictor, name) for name in names}
    around = {"cleaned_by": list(predictor.cleaned_by)} if predictor.cleaned_by else {}
    return {**told, **around, "thresholds": dict(predictor.config.thresholds)}
