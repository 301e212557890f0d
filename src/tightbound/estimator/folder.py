"""A model is a folder: model.json (what it is) and weights.safetensors (its numbers). Loading executes nothing."""

import dataclasses
import os
import warnings
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray
from safetensors.numpy import save as save_arrays

from tightbound import learn
from tightbound.data import DataError, Encoding, atomic_folder, encoding_from_json, set_aside
from tightbound.estimator.fitted import FittedModel, TrainingSummary, precision
from tightbound.estimator.settings import Settings
from tightbound.estimator.untrusted import REFUSED, read_arrays, read_json, with_nan
from tightbound.model import Specification, Start, axes, build, strict_json

FORMAT = "tightbound model"
FORMAT_VERSION = 4
_MOST_QUOTED = 200
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
DIGEST = "digest"
IDENTITY = "checkpoint"
"""Among the extra values: whose checkpoint was done with when the model was saved."""
OWN = ("network", "prior", "posterior")
"""Axes of which a model may have members of the user's own making."""


def save_model(
    path: str | os.PathLike[str],
    model: FittedModel,
    *,
    overwrite: bool = False,
    extra: dict[str, Any] | None = None,
    files: dict[str, bytes] | None = None,
) -> None:
    """Write the model's folder; it appears whole or not at all.

    Args:
        path: the folder. It must not exist unless `overwrite` is set and it holds a model.
        model: what to save.
        extra: further JSON values for model.json ("estimator").
        files: further files for the folder (the report).

    Raises `ValueError` for a path that is taken, and where the disk refuses.
    """
    target = Path(path)
    check_target(target, overwrite)
    _check_own_q(model)
    arrays = learn.named_arrays(eqx.filter(model.pair, eqx.is_array))
    contents = {
        MODEL_FILE: sealed(_description(model, arrays, extra or {})),
        WEIGHTS_FILE: save_arrays(arrays),
        **(files or {}),
    }
    atomic_folder(target, contents)


def sealed(description: dict[str, Any]) -> bytes:
    """What model.json says, with a digest of all of it."""
    open_part = {name: value for name, value in description.items() if name != DIGEST}
    return strict_json.dumps({**open_part, DIGEST: strict_json.digest(open_part)}, indent=1).encode()


def check_target(path: str | os.PathLike[str], overwrite: bool, option: str = "overwrite=True") -> None:
    """Refuse a place where saving would lose something (`ValueError`); ask before a long fit, not after.

    `option` is what says that it may be overwritten, in the words of the face that was used.
    """
    target = Path(path)
    if not target.exists():
        return
    if not overwrite:
        raise ValueError(
            f"The model's folder {target} must not exist yet, but it does; choose another name, or overwrite it "
            f"({option})."
        )
    if not (target.is_dir() and (target / MODEL_FILE).exists()):
        raise ValueError(
            f"Only a model can be overwritten, but {target} is not one (it has no {MODEL_FILE}); choose another name."
        )


def saved_from(path: str | os.PathLike[str]) -> str | None:
    """The identity of the fit that ended in the model of a folder; None where there is no such word."""
    try:
        extra = _read_description(Path(path)).get("extra", {})
        return extra.get(IDENTITY) if isinstance(extra, dict) else None
    except DataError:
        return None


def load_model(path: str | os.PathLike[str], **own: Any) -> tuple[FittedModel, dict[str, Any]]:
    """The model in a folder, and the `extra` values it was saved with.

    A model with members of the user's own making (`network`, `prior`, `posterior`) needs the same again, by name of the
    axis; nothing that the folder holds is executed.
    Raises `ValueError` (one sentence) for a folder that is missing, foreign, newer or damaged.
    """
    folder = Path(path)
    description = _read_description(folder)
    try:
        spec, encoding, summary = _parts(description)
    except REFUSED as error:
        raise _damaged(folder / MODEL_FILE, error) from error
    spec = _with_own(spec, own, folder)
    with precision(spec.dtype):
        try:
            template, static = _template(spec, encoding)
        except REFUSED as error:
            raise _damaged(folder / MODEL_FILE, error) from error
        try:
            arrays = read_arrays(folder / WEIGHTS_FILE, learn.named_leaves(template))
            pair = eqx.combine(learn.with_arrays(template, arrays), static)
            if description.get("weights_digest") != learn.digest(arrays):
                raise ValueError(f"its numbers are not those that {MODEL_FILE} was written with")
        except (ValueError, OSError) as error:
            raise _damaged(folder / WEIGHTS_FILE, error) from error
    if bad := with_nan(arrays):
        warnings.warn(
            f"The model in {folder} must have numbers as weights, but {bad[0]} holds NaN, and so will all that comes "
            "of it; fit again.",
            UserWarning,
            stacklevel=3,
        )
    return FittedModel(pair, spec, encoding, summary), description.get("extra", {})


def _parts(description: dict[str, Any]) -> tuple[Specification, Encoding, TrainingSummary]:
    """What model.json says, each part checked by itself and with the others."""
    spec = Specification.from_json(description["specification"])
    encoding = encoding_from_json(description["encoding"])
    summary = _summary_from_json(description["training"])
    if spec.n_features != encoding.n_features or spec.likelihood.word != encoding.likelihood:
        raise ValueError("specification and encoding do not belong together")
    return spec, encoding, summary


def _with_own(spec: Specification, own: dict[str, Any], folder: Path) -> Specification:
    """The specification with the user's own members in their places; refuses to do without them (`ValueError`)."""
    given = {axis: axes.as_member(axis, value) for axis, value in own.items() if value is not None}
    absent = [f"{axis}={name}" for axis in OWN for name in getattr(spec, axis).asked_for(given.get(axis))]
    if absent:
        raise ValueError(
            f"The model in {folder} was built with members of your own, whose code is not saved; give load the same "
            f"again: {', '.join(absent)}."
        )
    return dataclasses.replace(spec, **{axis: getattr(spec, axis).with_own(each) for axis, each in given.items()})


def _template(spec: Specification, encoding: Encoding) -> tuple[Any, Any]:
    """The shapes of a model's arrays, and all that is no array."""

    def built(key: PRNGKeyArray) -> learn.Pair:
        parts = build(spec, start=Start.template(spec.n_features, encoding.floor), key=key)
        return learn.tied(learn.Pair(parts.p, learn.make_inference(spec, parts)))

    # Nothing is drawn that would be overwritten at once: a command starts two seconds sooner. A user's own factory may
    # need numbers, not shapes.
    own = any(getattr(spec, axis).own for axis in OWN)
    shapes = built(jax.random.key(0)) if own else eqx.filter_eval_shape(built, jax.random.key(0))
    return eqx.partition(shapes, lambda leaf: eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct))


def _check_own_q(model: FittedModel) -> None:
    if model.refined_by is not None:
        raise ValueError(
            "A model to be saved must have the q that it was fitted with, but this one's was refined; save the "
            "original, and refine it again after loading."
        )


def _description(model: FittedModel, arrays: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    from tightbound import __version__

    fields = dataclasses.fields(model.summary)
    summary = {each.name: getattr(model.summary, each.name) for each in fields}
    summary["settings"] = model.summary.settings.to_json()
    summary["history"] = [dataclasses.astuple(record) for record in model.summary.history]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "tightbound_version": __version__,
        "specification": model.specification.to_json(),
        "encoding": model.encoding.to_json(),
        "training": summary,
        "extra": extra,
        "weights_digest": learn.digest(arrays),
    }


def _summary_from_json(values: dict[str, Any]) -> TrainingSummary:
    return TrainingSummary(
        **{
            **values,
            "history": tuple(learn.EpochRecord(*record) for record in values["history"]),
            "messages": tuple(values["messages"]),
            "settings": Settings.from_json(values["settings"]),
            "reference": tuple(float(score) for score in values.get("reference", ())),
            "reference_gaps": tuple(map(str, values.get("reference_gaps", ()))),
        }
    )


def _read_description(folder: Path) -> dict[str, Any]:
    place = folder / MODEL_FILE
    try:
        description = read_json(place)
    except OSError as error:
        reason = _absence(folder) if not folder.exists() else f"it has no readable {MODEL_FILE}"
        raise DataError(
            f"The model's folder {folder} must be one that tightbound has saved, but {reason}; check the path."
        ) from error
    except REFUSED as error:
        raise _damaged(place, error) from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DataError(f"{place} must describe a tightbound model, but it is something else; check the path.")
    version = description.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _damaged(place, ValueError(f"its format version is {version!r}"))
    if version != FORMAT_VERSION:
        raise DataError(
            f"The model in {folder} must have format version {FORMAT_VERSION}; it has {_short(str(version))}, written "
            f"by tightbound {_short(str(description.get('tightbound_version')))}; install that version."
        )
    open_part = {name: value for name, value in description.items() if name != DIGEST}
    if description.get(DIGEST) != strict_json.digest(open_part):
        raise _damaged(place, ValueError("it does not have the digest that was written with it"))
    return description


def _absence(folder: Path) -> str:
    earlier = set_aside(folder)
    return f"{earlier[0]} holds the model that it was to replace" if earlier else "it does not exist"


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} must be as tightbound saved it, but it is damaged or incomplete ({_first_line(error)}); "
        "restore it from a copy, or fit again."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {_short(lines[0])}" if lines else type(error).__name__


def _short(words: str) -> str:
    """What a foreign file says, no longer than a person reads."""
    return words if len(words) <= _MOST_QUOTED else f"{words[:_MOST_QUOTED]}..."
