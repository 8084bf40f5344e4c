"""Options of the published command lines: their spellings, their defaults, who said what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mots_pretrained.errors import UnknownNameError, UserError


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text in ("yes", "true", "t", "y", "1"):
        return True
    if text in ("no", "false", "f", "n", "0"):
        return False
    raise UserError("yes or no is allowed")


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise UserError("a whole number is allowed")
    return int(value)


def _count(value: Any) -> int:
    if _whole(value) < 1:
        raise UserError("a whole number of at least 1 is allowed")
    return _whole(value)


def _numbers(count: int | None, kind: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def parse(value: Any) -> tuple[Any, ...]:
        parts = value.strip("[]() ").split(",") if isinstance(value, str) else list(value)
        if count is not None and len(parts) != count:
            raise UserError(f"{count} numbers separated by commas are allowed")
        return tuple(kind(part) for part in parts)

    return parse


def _one_of(**spellings: Any) -> Callable[[Any], Any]:
    """Accept a few texts, in any case, and return what each stands for."""
    known = {text.lower(): meaning for text, meaning in spellings.items()}

    def parse(value: Any) -> Any:
        if str(value).lower() not in known:
            raise UserError(f"{' or '.join(spellings)} is allowed")
        return known[str(value).lower()]

    return parse


def _mode(value: Any) -> int:
    if _whole(value) not in (0, 1, 2):
        raise UserError("0, 1 or 2 is allowed")
    return _whole(value)


class _Option:
    """How an option is read, and its published default."""

    def __init__(self, parse: Callable[[Any], Any], default: Any) -> None:
        self.parse, self.default = parse, default


OPTIONS: dict[str, _Option] = {
    "res_depth": _Option(_whole, 50),
    "dyn_head_dep_wid": _Option(_numbers(2, _whole), (3, 8)),
    "using_transformer": _Option(_boolean, True),
    "position_embedding": _Option(_one_of(sine="sine", learned="learned"), "sine"),
    "enc_layers": _Option(_whole, 3),
    "dec_layers": _Option(_whole, 3),
    "dim_feedforward": _Option(_whole, 768),
    "hidden_dim": _Option(_whole, 192),
    "dropout": _Option(float, 0.1),
    "nheads": _Option(_count, 8),
    "num_queries": _Option(_whole, 7),
    "num_feature_levels": _Option(_whole, 3),
    "dec_n_points": _Option(_count, 4),
    "enc_n_points": _Option(_count, 4),
    "normalize_before": _Option(_boolean, False),
    "add_memory": _Option(_mode, 2),
    "weight_std": _Option(_boolean, False),
    "num_classes": _Option(_whole, 2),
    "norm_cfg": _Option(_one_of(IN="IN", BN="BN", SyncBN="SyncBN", GN="GN"), "IN"),
    # Published training builds with ReLU and published testing with LeakyReLU; no key tells.
    "activation_cfg": _Option(
        _one_of(relu="relu", LeakyReLU="leaky_relu", leaky_relu="leaky_relu"), "relu"
    ),
    "layers": _Option(_numbers(None, _whole), (1, 2, 2, 2, 2)),
    "input_size": _Option(_numbers(3, _whole), (64, 192, 192)),
    "spacing": _Option(_numbers(3, float), (1.5, 0.8, 0.8)),  # ours: no published option says it
}
"""The options that say what a network is or eats."""

_OTHERS = frozenset(
    {
        *(
            "deepnorm",
            "pre_norm",
            "two_stage",
            "batch_size",
            "FP16",
            "num_workers",
            "learning_rate",
        ),
        *("lr_tr_mult", "lr_linear_proj_mult", "weight_decay", "power", "momentum", "num_epochs"),
        *("itrs_each_epoch", "optimizer", "random_seed", "random_mirror", "random_scale"),
        *("isSD", "isHD", "ifGa", "save_path", "val_list"),
    }
)
"""Published options without effect on what a network computes."""


class Arguments:
    """Published options as given, checked against what the weights tell.

    Attributes:
        inferred: Options that the weights told.
        given: Options that the caller gave and the weights do not tell.
        assumed: Options at their published defaults.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {}
        self.inferred: dict[str, Any] = {}
        self.given: dict[str, Any] = {}
        self.assumed: dict[str, Any] = {}
        for name, value in values.items():
            if name in OPTIONS:
                self._values[name] = _read(name, value)
            elif name not in _OTHERS:
                raise UnknownNameError(
                    f"unknown published argument {name!r}; those that matter are "
                    f"{', '.join(OPTIONS)}"
                )

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def infer(self, name: str, value: Any) -> Any:
        """Note what the weights tell and return it.

        Raises:
            ValueError: If the caller said otherwise.
        """
        if self._values.get(name, value) != value:
            raise UserError(
                f"the checkpoint has {name} {_text(value)}, the argument says "
                f"{_text(self._values[name])}; leave it out"
            )
        self.given.pop(name, None)
        self.inferred[name] = value
        return value

    def take(self, name: str, *, default: Any = None) -> Any:
        """Return what the caller gave, or the default, which is noted as assumed."""
        if name in self._values:
            self.given[name] = self._values[name]
            return self._values[name]
        value = OPTIONS[name].default if default is None else default
        self.assumed[name] = value
        return value

    def require(self, name: str, only: Any) -> None:
        """Raise a ValueError if the caller asks for a variant that isn't built."""
        if self._values.get(name, only) != only:
            raise UserError(
                f"{name} {_text(self._values[name])} cannot be converted; only {_text(only)} can"
            )


def _read(name: str, value: Any) -> Any:
    try:
        return OPTIONS[name].parse(value)
    except (ValueError, TypeError) as error:
        reason = str(error) if str(error).endswith("allowed") else "a number is allowed"
        raise UserError(f"{name} cannot be {value!r:.80}: {reason}") from None


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
