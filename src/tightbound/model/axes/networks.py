"""Networks of encoder and decoder."""

import numbers
from collections.abc import Callable
from typing import Any, final

from tightbound.model.axes.member import Member, member
from tightbound.model.axes.parameters import parameter


@member
class Network(Member):
    """How numbers flow from x to those of q, and from z to those of p(x given z)."""

    axis = "network"
    shelf = "networks"

    @property
    def replaced(self) -> tuple[str, ...]:
        """Which of "encoder" and "decoder" are of the user's own making."""
        return ()

    @property
    def made_here(self) -> Member:
        """What makes those that are not."""
        return self

    @property
    def activity(self) -> str:
        """The nonlinearity."""
        return "silu"

    @property
    def residual(self) -> bool:
        """Whether there is a way around each layer."""
        return False

    def sizes(self, n_features: int) -> tuple[int, ...]:
        """Widths of the hidden layers for so many columns."""
        del n_features
        return ()


@member
class Dense(Network):
    """Layers in which everything meets everything."""

    hidden_sizes: Any = parameter(
        None, "widths of the hidden layers (300, 300, 300; 128, 128 below 100 columns)", kind=tuple
    )
    activation: str = parameter("silu", "nonlinearity", choices=("elu", "gelu", "relu", "silu", "softplus", "tanh"))

    @property
    def activity(self) -> str:
        """As given."""
        return self.activation

    def sizes(self, n_features: int) -> tuple[int, ...]:
        """The widths for so many columns."""
        if self.hidden_sizes is None:
            return (300, 300, 300) if n_features >= 100 else (128, 128)
        sizes = (self.hidden_sizes,) if isinstance(self.hidden_sizes, numbers.Real) else tuple(self.hidden_sizes)
        return tuple(int(size) for size in sizes)


@final
@member
class Residual(Dense):
    """Dense layers, each beside a way around it."""

    word = "residual"

    @property
    def residual(self) -> bool:
        """There is."""
        return True


@final
@member
class MLP(Dense):
    """Dense layers, one after the other."""

    word = "mlp"


@final
@member
class Linear(Network):
    """One affine map, without hidden layers."""

    word = "linear"


@final
@member
class Custom(Network):
    """Networks of your own: f(in_size, out_size, *, key) returns a callable from a vector to a vector."""

    word = "custom"
    encoder: Callable[..., Any] | None = parameter(None, "makes the encoder's (None: the network named below)")
    decoder: Callable[..., Any] | None = parameter(None, "makes the decoder's (None: the network named below)")
    others: Network = parameter(Residual(), "the network that is not replaced")

    @property
    def replaced(self) -> tuple[str, ...]:
        """Those that were given."""
        return tuple(name for name in ("encoder", "decoder") if getattr(self, name) is not None)

    @property
    def own(self) -> bool:
        """Where one was given."""
        return bool(self.replaced)

    def asked_for(self, given: Member | None) -> tuple[str, ...]:
        """The sides that are not there."""
        there = given.replaced if isinstance(given, Network) else ()
        absent = [side for side in self.replaced if side not in there]
        return (f"networks.Custom({', '.join(f'{side}={getattr(self, side)}' for side in absent)})",) if absent else ()

    def with_own(self, given: Member) -> Member:
        """Its networks on the sides that had such ones."""
        return self.set_params(**{side: getattr(given, side) for side in self.replaced})

    @property
    def made_here(self) -> Member:
        """The others."""
        return self.others


MEMBERS: tuple[type[Network], ...] = (Residual, MLP, Linear, Custom)
