"""A member of an axis is a value: a small frozen class of plain parameters, written as a word and read back."""

import ast
import dataclasses
import numbers
import types
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar, dataclass_transform, final

from tightbound.model.axes.parameters import Parameter, parameter, parameters_of

_T = TypeVar("_T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def member(cls: type[_T]) -> type[_T]:
    """The class as a frozen dataclass whose parameters are given by name."""
    return dataclasses.dataclass(frozen=True, kw_only=True, repr=False)(cls)


@member
class Member:
    """One member of one axis, with the parameters that belong to it alone.

    It has the manners of a scikit-learn estimator (`get_params`, `set_params`), but is never changed: `set_params`
    returns another one. `str` gives the word that makes it, `repr` the Python that does.
    """

    axis: ClassVar[str]
    word: ClassVar[str]
    phrase: ClassVar[str] = ""
    """How a sentence about a model calls it."""
    needs: ClassVar[str] = ""
    """What it goes with, where that is not everything."""
    home: ClassVar[str] = ""
    """What makes it, as `module:name`, called with its parameters by the room that needs the object."""
    shelf: ClassVar[str] = ""
    """The public module that it is reached by: tightbound.priors."""

    def __post_init__(self) -> None:
        for name, each in parameters_of(self).items():
            each.check(f"{name} of the {self.axis} {self.word!r}", getattr(self, name))

    @classmethod
    def sentence(cls) -> str:
        """The first line of the docstring: what help says."""
        return (cls.__doc__ or "").split("\n")[0]

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Its parameters by name."""
        return parameters_of(cls)

    def describe(self) -> str:
        """How a sentence about a model calls it."""
        return self.phrase

    @property
    def own(self) -> bool:
        """Whether code of the user's makes it."""
        return False

    def asked_for(self, given: "Member | None") -> tuple[str, ...]:
        """Of a saved member: names of the user's own code that it needs and `given` does not have."""
        del given
        return ()

    def with_own(self, given: "Member") -> "Member":
        """Of a saved member: the same with the user's own code in its place."""
        del given
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters and their values."""
        del deep
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}

    def set_params(self, **changes: Any) -> Any:
        """The same member with other parameters; raises `ValueError` for one that it does not have."""
        check_names(type(self), changes)
        return dataclasses.replace(self, **changes)

    def changed(self) -> dict[str, Any]:
        """The parameters that are not at their defaults."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if not _usual(self, each)}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which `axes.from_json` makes it again."""
        return {"member": self.word, **{name: plain(value) for name, value in self.get_params().items()}}

    def __str__(self) -> str:
        return self.word + _arguments(self) if self.changed() else self.word

    def __repr__(self) -> str:
        return f"{self.shelf}.{type(self).__name__}{_arguments(self) or '()'}"

    def _repr_html_(self) -> str:
        return f"<code>{self!r}</code>"


@final
@member
class Own(Member):
    """A member of the user's own making: continuous, and in no need of an encoder."""

    axis = "own member"
    word = "own"
    discrete: ClassVar[bool] = False
    fewest_latents: ClassVar[int] = 1
    needs_encoder: ClassVar[bool] = False
    owned: ClassVar[bool] = False
    two_draws: ClassVar[bool] = False
    is_flow: ClassVar[bool] = False
    width: ClassVar[int] = 1
    value: Any = parameter(None, "what the user gave")
    name: str = parameter("", "its class or function", kind=str)

    @classmethod
    def of(cls, value: Any) -> "Own":
        """That object, with the name by which a saved model asks for it again."""
        kind = value if isinstance(value, type | types.FunctionType) else type(value)
        return cls(value=value, name=f"{kind.__module__}.{kind.__qualname__}")

    @property
    def own(self) -> bool:
        """It does."""
        return True

    def asked_for(self, given: Member | None) -> tuple[str, ...]:
        """Its name, unless it is there."""
        return () if given is not None and given.own else (self.name,)

    def with_own(self, given: Member) -> Member:
        """That one."""
        return given

    def describe(self) -> str:
        """By its name."""
        return f"the user's own {self.name}"

    def to_json(self) -> dict[str, Any]:
        """Its name alone: code is never saved."""
        return {"member": self.word, "name": self.name}

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return repr(self.value)


def check_names(kind: type[Member], given: Any) -> None:
    """Refuse parameters that a member does not have (`ValueError`)."""
    own = kind.parameters()
    for name in given:
        if name not in own:
            has = f"it has {', '.join(own)}" if own else "it has none"
            raise ValueError(f"The {kind.axis} {kind.word!r} must be given parameters of its own; got {name!r}; {has}.")


def read(axis: str, text: str) -> tuple[str, dict[str, Any]]:
    """A word and the parameters in brackets after it; evaluates nothing but literals (`ValueError` for other text).

    Example: `read("prior", "mixture(n_components=20)")` is `("mixture", {"n_components": 20})`.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args:
            return tree.func.id, {str(each.arg): _literal(each.value) for each in tree.keywords if each.arg}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise ValueError(
        f"{axis} must be a word, or a word with its parameters in brackets, word(name=value, ...); got {text!r}; "
        f"`tightbound axes {axis}` shows what there is."
    )


def _literal(node: ast.expr) -> Any:
    """A literal, or a bare word: shells eat quotation marks."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def _usual(member: Member, each: dataclasses.Field[Any]) -> bool:
    value = getattr(member, each.name)
    return value is each.default or (type(value) is type(each.default) and bool(value == each.default))


def _arguments(member: Member) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in member.changed().items())
    return f"({given})" if given else ""


def plain(value: Any) -> Any:
    """Plain JSON values; of code its name."""
    if isinstance(value, Member):
        return value.to_json()
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, numbers.Real):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    if isinstance(value, Iterable):
        return [plain(each) for each in value]
    return bool(value) if value in (True, False) else Own.of(value).name
