"""The table of settings is the one home of names, defaults and limits: Python and the command line agree with it."""

import inspect
import math
import re
from typing import get_args

import numpy as np
import pytest
from typer.main import get_command

from tightbound import VAE
from tightbound.cli import app as cli
from tightbound.data import as_table
from tightbound.estimator.checking import check_choice, check_number, check_settings
from tightbound.estimator.config import make_plan
from tightbound.estimator.initialisation import choose_encoding
from tightbound.estimator.settings import DEFAULTS, SETTINGS

PARAMETERS = inspect.signature(VAE.__init__).parameters
NOT_ON_THE_COMMAND_LINE = {
    "verbose": "--quiet says it",
    "encoder_network": "a function",
    "decoder_network": "a function",
    "checkpoint": "beside the model's folder, always",
}


def options(command="fit"):
    return {each.name: each for each in get_command(cli.app).commands[command].params}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_estimator_has_every_setting_with_its_default(setting):
    assert PARAMETERS[setting.name].default == setting.default
    assert getattr(VAE(), setting.name) == setting.default


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name != "self"])
def test_every_parameter_is_an_option_with_the_same_default(name):
    if name in NOT_ON_THE_COMMAND_LINE:
        assert name not in options()
        return
    option = options()[name]
    assert option.default == PARAMETERS[name].default == DEFAULTS[name]
    assert option.opts[0] == "--" + name.replace("_", "-")
    assert option.help


def test_every_parameter_is_documented():
    described = VAE.__doc__[VAE.__doc__.index("Args:") : VAE.__doc__.index("Attributes:")]
    for name in PARAMETERS:
        assert name == "self" or re.search(rf"\b{name}\b[^\n]*:", described), name


def test_every_choice_is_documented_and_offered():
    for setting in SETTINGS:
        if setting.choices:
            assert setting.default in setting.choices
            annotation = inspect.signature(cli.fit).parameters[setting.name].annotation
            assert get_args(get_args(annotation)[0]) == setting.choices
            assert all(re.search(rf'"?\b{choice}\b', VAE.__doc__) for choice in setting.choices), setting.name


def test_the_defaults_are_accepted():
    check_settings(DEFAULTS)
    check_settings({})


@pytest.mark.parametrize(
    "settings",
    [
        {"latent_dim": 3, "hidden_sizes": (8, 4), "epochs": 1, "patience": 0, "validation_fraction": 0},
        {"hidden_sizes": 8, "learning_rate": 1, "validation_fraction": 0.9, "kl_warmup_steps": 0},
        {"hidden_sizes": [np.int64(8)], "latent_dim": np.int32(2), "learning_rate": np.float32(1e-3)},
        {"hidden_sizes": np.array([8, 8]), "epochs": 10.0, "binarize": np.True_},
        {"hidden_sizes": ()},
    ],
)
def test_sensible_values_are_accepted(settings):
    check_settings(settings)


NUMBERS = [setting for setting in SETTINGS if setting.least is not None]


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_numbers_that_make_no_sense_are_refused(setting):
    bad = [setting.least - 1, math.nan, math.inf, -math.inf, "3", [3], np.array([3, 4]), True, 1j]
    bad += [setting.most * 2] if setting.most < math.inf else []
    bad += [setting.least + 0.5] if setting.kind is int else []
    bad += [None] if setting.default is not None else []
    for value in bad:
        with pytest.raises(ValueError, match=f"^{setting.name} must be a .*; {re.escape(setting.usual)}\\.$"):
            check_settings({setting.name: value})
    check_settings({setting.name: setting.least})


@pytest.mark.parametrize("setting", [each for each in SETTINGS if each.choices], ids=lambda setting: setting.name)
@pytest.mark.parametrize("value", ["", "Gaussian ", None, 1, float, ["elbo"]])
def test_words_that_are_no_choice_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"^{setting.name} must be one of {', '.join(setting.choices)}; got "):
        check_settings({setting.name: value})


@pytest.mark.parametrize("sizes", ["300", "abc", (0,), (8, -1), (8, 8.5), (None,), 0, 2.5, (math.inf,), ("8",)])
def test_layers_that_make_no_sense_are_refused(sizes):
    with pytest.raises(ValueError, match=r"hidden_sizes must be a whole number of at least 1; got .*is usual\.$"):
        check_settings({"hidden_sizes": sizes})


@pytest.mark.parametrize("value", ["yes", None, 2])
def test_a_flag_is_true_or_false(value):
    with pytest.raises(ValueError, match=r"^binarize must be True or False; got .*; choose one of the two\.$"):
        check_settings({"binarize": value})


def test_limits_are_inclusive_and_said_in_full():
    for value in (2, 5):
        check_number("n", value, 2, 5, "3 is usual")
    for value in (1, 6, 2.5):
        with pytest.raises(ValueError, match=rf"^n must be a whole number between 2 and 5; got {value}; 3 is usual\.$"):
            check_number("n", value, 2, 5, "3 is usual")
    with pytest.raises(ValueError, match="between 0 and 4294967295; got -1"):
        check_settings({"random_state": -1})
    check_choice("objective", "iwae")


def test_methods_of_scoring_are_those_that_there_are() -> None:
    """The light table cannot import them, and must not part from them."""
    from tightbound.evidence import METHODS, TOLERANCE

    (setting,) = (s for s in SETTINGS if s.name == "scoring_method")
    annotation = inspect.signature(cli.score).parameters["method"].annotation
    assert set(setting.choices) == set(METHODS) == set(get_args(get_args(get_args(annotation)[0])[0]))
    assert DEFAULTS["tolerance"] == TOLERANCE


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
    choices = {**DEFAULTS, **settings}
    table, encoding, _ = choose_encoding(as_table(np.random.default_rng(0).normal(size=(617, 3))), choices)
    plan = make_plan(choices, encoding, encoding.encode(table, dtype="float32", draw=True), None, 0)
    steps = epochs * (-(-len(plan.train) // 100))
    assert (plan.epochs, plan.recipe.optimiser.learning_rate) == (epochs, rate)
    assert plan.recipe.optimiser.total_steps == steps and plan.patience == max(20, epochs // 4)
