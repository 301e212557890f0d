"""How XLA compiles on a CPU: a program of ours takes longer to compile than to run, unless XLA does less."""

import importlib.metadata
import importlib.util
import os

QUICK = "--xla_backend_optimization_level=1"
# Each fused loop through LLVM directly and not through MLIR first: half the time, and the loops run as fast.
QUICKER = "--xla_cpu_use_fusion_emitters=false"
# XLA ends the process at a flag that it does not know: only where it is known to know it.
KNOWN_TO = "0.10."


def compile_quickly() -> None:
    """Have XLA compile in half the time, to programs that run as fast (measured: docs/performance.md).

    To be called before JAX makes its first array. What XLA_FLAGS says already stays; with an accelerator, nothing new.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if os.environ.get("JAX_PLATFORMS") != "cpu" and importlib.util.find_spec("jax_plugins") is not None:
        return
    wanted = [QUICK]
    if importlib.metadata.version("jaxlib").startswith(KNOWN_TO):
        wanted.append(QUICKER)
    new = [flag for flag in wanted if flag.split("=")[0] not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *new]).strip()
