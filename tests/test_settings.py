"""The settings are the one home of names, defaults and limits: Python and the command line agree with them."""

import inspect
import math
import re
from typing import get_args

import numpy as np
import pytest
from typer.main import get_command

from tightbound import VAE, likelihoods, networks
from tightbound.cli import app as cli
from tightbound.cli.options import ScoringOptions
from tightbound.data import as_table
from tightbound.estimator.config import make_config
from tightbound.estimator.initialisation import choose_encoding
from tightbound.estimator.settings import PARAMETERS, RANDOM_STATE, Settings
from tightbound.model.axes import AXES
from tightbound.model.axes.parameters import check_choice, check_number

ARGUMENTS = inspect.signature(VAE.__init__).parameters
NOT_ON_THE_COMMAND_LINE = {"verbose": "--quiet says it", "checkpoint": "beside the model's folder, always"}


def options(command="fit"):
    return {each.name: each for each in get_command(cli.app).commands[command].params}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_estimator_has_every_setting_with_its_default(name):
    assert ARGUMENTS[name].default == PARAMETERS[name].default
    assert getattr(VAE(), name) == PARAMETERS[name].default


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "self"])
def test_every_parameter_is_an_option_with_the_same_default(name):
    if name in NOT_ON_THE_COMMAND_LINE:
        assert name not in options()
        return
    option = options()[name]
    assert option.default == ARGUMENTS[name].default == {**PARAMETERS, "random_state": RANDOM_STATE}[name].default
    assert option.opts[0] == "--" + name.replace("_", "-")
    assert option.help


def test_an_estimator_has_few_parameters():
    assert len(ARGUMENTS) - 1 <= 30


def test_every_parameter_is_documented():
    described = VAE.__doc__[VAE.__doc__.index("Args:") : VAE.__doc__.index("Attributes:")]
    for name in ARGUMENTS:
        assert name == "self" or re.search(rf"\b{name}\b[^\n]*:", described), name


def test_every_choice_is_documented_and_offered():
    for name, each in PARAMETERS.items():
        words = AXES[name].words if name in AXES else each.choices
        assert not words or each.default in words
        assert all(re.search(rf'"?\b{word}\b', VAE.__doc__) for word in words), name
        assert all(word in options()[name].help for word in words), name


@pytest.mark.parametrize(
    "settings",
    [
        {"latent_dim": 3, "network": "mlp(hidden_sizes=(8, 4))", "epochs": 1, "patience": 0, "validation_fraction": 0},
        {"network": "residual(hidden_sizes=8)", "learning_rate": 1, "objective": "elbo(kl_warmup_steps=0)"},
        {"network": networks.Residual(hidden_sizes=[np.int64(8)]), "latent_dim": np.int32(2)},
        {"network": networks.MLP(hidden_sizes=np.array([8, 8])), "epochs": 10.0, "learning_rate": np.float32(1e-3)},
        {"network": "residual(hidden_sizes=())", "likelihood": likelihoods.Bernoulli(binarize=np.True_)},
    ],
)
def test_sensible_values_are_accepted_and_kept(settings):
    made = Settings(**settings)
    again = Settings.from_json(made.to_json())
    assert again.to_json() == made.to_json()
    assert again.network.sizes(5) == made.network.sizes(5)


NUMBERS = {**{name: each for name, each in PARAMETERS.items() if each.least is not None}, "random_state": RANDOM_STATE}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_make_no_sense_are_refused(name):
    each = NUMBERS[name]
    bad = [each.least - 1, math.nan, math.inf, -math.inf, "3", [3], np.array([3, 4]), True, 1j]
    bad += [each.most * 2] if each.most < math.inf else []
    bad += [each.least + 0.5] if each.kind is int else []
    bad += [None] if each.default is not None else []
    for value in bad:
        with pytest.raises(ValueError, match=f"^{name} must be a .*; {re.escape(each.usual)}\\.$"):
            each.check(name, value)
    each.check(name, each.least)


@pytest.mark.parametrize("name", [name for name, each in PARAMETERS.items() if each.choices or name in AXES])
@pytest.mark.parametrize("value", ["", "Gaussian ", None, 1, float, ["elbo"]])
def test_words_that_are_no_choice_are_refused(name, value):
    if value is float and name in AXES:
        return  # a maker of one's own, for all that can be known before it is called
    words = AXES[name].words if name in AXES else PARAMETERS[name].choices
    with pytest.raises(ValueError, match=f"^{name} must be one of {', '.join(words)}; got "):
        Settings(**{name: value})


@pytest.mark.parametrize("sizes", ["300", "abc", (0,), (8, -1), (8, 8.5), (None,), 0, 2.5, (math.inf,), ("8",)])
def test_layers_that_make_no_sense_are_refused(sizes):
    with pytest.raises(
        ValueError, match=r"hidden_sizes .* must be a whole number between 1 and 100000; got .*is usual\.$"
    ):
        networks.MLP(hidden_sizes=sizes)


@pytest.mark.parametrize("value", ["yes", None, 2])
def test_a_flag_is_true_or_false(value):
    with pytest.raises(ValueError, match=r"^binarize of .* must be True or False; got .*; choose one of the two\.$"):
        likelihoods.Bernoulli(binarize=value)


def test_limits_are_inclusive_and_said_in_full():
    for value in (2, 5):
        check_number("n", value, 2, 5, "3 is usual")
    for value in (1, 6, 2.5):
        with pytest.raises(ValueError, match=rf"^n must be a whole number between 2 and 5; got {value}; 3 is usual\.$"):
            check_number("n", value, 2, 5, "3 is usual")
    with pytest.raises(ValueError, match="between 0 and 4294967295; got -1"):
        RANDOM_STATE.check("random_state", -1)
    check_choice("objective", "iwae", ("elbo", "iwae"))


def test_methods_of_scoring_are_those_that_there_are() -> None:
    """The light table cannot import them, and must not part from them."""
    from tightbound.evidence import METHODS, TOLERANCE

    annotation = ScoringOptions.__dataclass_fields__["method"].type
    offered = get_args(get_args(get_args(annotation)[0])[0])
    assert set(PARAMETERS["scoring_method"].choices) == set(METHODS) == set(offered)
    assert PARAMETERS["tolerance"].default == TOLERANCE


@pytest.mark.parametrize(
    ("settings", "epochs", "rate"),
    [
        ({"likelihood": "gaussian"}, 1000, 0.0015),
        ({"likelihood": "columns"}, 500, 0.006),
        ({"likelihood": "columns", "objective": "iwae"}, 1000, 0.0015),
        ({"likelihood": "columns", "epochs": 7}, 7, 0.006),
        ({"likelihood": "columns", "learning_rate": 0.01}, 500, 0.01),
    ],
)
def test_how_long_and_how_fast_a_fit_learns_depends_on_what_it_learns(settings, epochs, rate):
    """555 training rows are 6 steps an epoch, of which 10,000 would be more than the most epochs."""
    chosen = Settings(**settings)
    table, encoding, _ = choose_encoding(as_table(np.random.default_rng(0).normal(size=(617, 3))), chosen)
    config = make_config(chosen, encoding, encoding.encode(table, dtype="float32", draw=True), None, 0)
    steps = epochs * (-(-len(config.train) // 100))
    assert (config.epochs, config.recipe.optimiser.learning_rate) == (epochs, rate)
    assert config.recipe.optimiser.total_steps == steps and config.patience == max(20, epochs // 4)
