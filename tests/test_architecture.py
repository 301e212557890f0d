"""The house of docs/design.md, held by reading the source: who imports whom, how long things are, what is documented.

Each rule collects every violation, so that one run shows all of them.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "tightbound"

# A room may import itself and the rooms named here, at module level and lazily alike: no function gets around an arrow.
_INNER = {"model", "learn", "evidence", "tasks"}
MAY_IMPORT: dict[str, set[str]] = {
    "model": set(),
    "data": set(),
    "learn": {"model"},
    "evidence": {"model", "learn"},
    "tasks": {"model", "learn", "evidence"},
    "estimator": _INNER | {"data"},
    "report": _INNER | {"data", "estimator"},
    "cli": _INNER | {"data", "estimator", "report"},
    "__init__": _INNER | {"data", "estimator", "report"},  # fetched when they are first used
    "__main__": {"cli"},
}

# A heavy library, and the only modules that may import it.
AT_HOME: dict[str, tuple[str, ...]] = {
    "sklearn": (
        "tightbound.estimator",
        "tightbound.evidence.reference.gaussians",
        "tightbound.evidence.diagnostics.twosample",
        "tightbound.data.read.files",
    ),
    "matplotlib": ("tightbound.report",),
    "typer": ("tightbound.cli",),
    "pandas": ("tightbound.data.cells.storage",),
    "torch": (),
}

# Of these, only inside a function: the first is no dependency of ours, the second is slow to import.
ON_DEMAND = {"pandas": PACKAGE, "sklearn": PACKAGE / "data"}

NEVER = ("jax._src", "jax.experimental", "pickle", "cloudpickle", "dill")

LONGEST_FUNCTION = 50
# scikit-learn reads an estimator's parameters off its constructor, one for every setting: only its body counts.
SIGNATURE_IS_A_TABLE = {("tightbound.estimator.vae", "__init__")}
LONGEST_FILE = 600


@dataclass(frozen=True)
class Source:
    """One file of the package."""

    path: Path
    name: str  # dotted: tightbound.model.families
    tree: ast.Module

    @property
    def layer(self) -> str:
        """The part of the house that it belongs to: model, data, ..., cli, or __init__ for the top."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "__init__"

    def at(self, node: ast.AST) -> str:
        """A place that an editor can jump to."""
        return f"{self.path.relative_to(PACKAGE.parents[1])}:{getattr(node, 'lineno', 1)}"


@dataclass(frozen=True)
class Import:
    """One name that a file imports, and whether importing the file imports it."""

    target: str  # dotted and absolute: jax.numpy, tightbound.model.families.AbstractFamily
    node: ast.AST
    lazy: bool


def read(path: Path) -> Source:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(path, name, ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(source: Source) -> list[Import]:
    """Every import of a file, those inside functions and behind TYPE_CHECKING included, with relative ones resolved."""
    package = source.name if source.path.name == "__init__.py" else source.name.rpartition(".")[0]

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (Import(f"{base}.{alias.name}", node, lazy) for alias in node.names)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(node)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, lazy)

    return list(walk(source.tree, lazy=False))


def starts(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def layer_of(target: str) -> str | None:
    """The layer that an imported name of ours lies in; None for names of the top, such as `tightbound.__version__`."""
    parts = target.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in {*LAYERS, *MAY_IMPORT} else None


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(source: Source, function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    start = first.lineno if (source.name, function.name) in SIGNATURE_IS_A_TABLE else function.lineno
    lines = (function.end_lineno or start) - start + 1
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


SOURCES = [read(path) for path in sorted(PACKAGE.rglob("*.py"))]
LAYERS = {source.layer for source in SOURCES}


def fail_if(violations: list[str]) -> None:
    assert not violations, "\n".join(["", *dict.fromkeys(violations)])


def test_there_is_a_package() -> None:
    assert SOURCES
    assert (PACKAGE / "py.typed").exists()


def test_every_file_belongs_to_a_layer() -> None:
    fail_if(
        [
            f"{source.path}: '{source.layer}' is no part of the house; give it a row in MAY_IMPORT, with its arrows"
            for source in SOURCES
            if source.layer not in MAY_IMPORT
        ]
    )


def test_arrows() -> None:
    violations = []
    for source in SOURCES:
        for found in imports(source):
            if not starts(found.target, "tightbound"):
                continue
            layer = layer_of(found.target)
            allowed = MAY_IMPORT.get(source.layer, set()) | {source.layer}
            if layer is None:
                if not (found.target.startswith("tightbound.__") or found.lazy):
                    violations.append(f"{source.at(found.node)}: imports the top, {found.target}; name the module")
            elif layer not in allowed:
                violations.append(f"{source.at(found.node)}: {source.layer} may not import {layer}")
    fail_if(violations)


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one node (Tarjan, 1972, by repeated reachability)."""

    def reached(start: str) -> set[str]:
        found, waiting = set(), [start]
        while waiting:
            for target in graph[waiting.pop()]:
                if target not in found:
                    found.add(target)
                    waiting.append(target)
        return found

    reach = {name: reached(name) for name in graph}
    rings = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    return sorted((set(ring) for ring in rings if len(ring) > 1), key=len)


def modules_imported(source: Source) -> set[str]:
    """The files of ours that a file imports, wherever in it: of a package's name, the package's own file."""
    names = {each.name for each in SOURCES}
    found = set()
    for each in imports(source):
        target = each.target if each.target in names else each.target.rpartition(".")[0]
        if target in names and target != source.name:
            found.add(target)
    return found


# Inside data: cells as they came, what each column holds, tables of codes, readers. Nothing looks up.
STAIRS_OF_DATA = ("cells", "types", "schema", "table", "read")


def stair(name: str) -> int | None:
    part = name.removeprefix("tightbound.data.").split(".")[0]
    return STAIRS_OF_DATA.index(part) if starts(name, "tightbound.data") and part in STAIRS_OF_DATA else None


def test_data_goes_up_the_stairs() -> None:
    violations = []
    for source in SOURCES:
        here = stair(source.name)
        for found in imports(source):
            there = stair(found.target)
            if here is not None and there is not None and there > here:
                violations.append(f"{source.at(found.node)}: {source.name} may not import {found.target}")
    fail_if(violations)


def test_no_circles() -> None:
    """No file imports itself by way of others, be it inside a function."""
    graph = {source.name: modules_imported(source) for source in SOURCES}
    graph["tightbound"] = set()  # its names are fetched when they are first used
    fail_if([f"in a circle: {', '.join(sorted(ring))}" for ring in circles(graph)])


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
    assert circles({"a": {"b"}, "b": set()}) == []


@pytest.mark.parametrize("library", AT_HOME)
def test_heavy_libraries_stay_at_home(library: str) -> None:
    fail_if(
        [
            f"{source.at(found.node)}: only {', '.join(AT_HOME[library]) or 'nobody'} may import {library}"
            for source in SOURCES
            for found in imports(source)
            if starts(found.target, library) and not any(starts(source.name, home) for home in AT_HOME[library])
        ]
    )


@pytest.mark.parametrize("library", ON_DEMAND)
def test_optional_libraries_are_imported_on_demand(library: str) -> None:
    fail_if(
        [
            f"{source.at(found.node)}: import {library} inside the function that needs it"
            for source in SOURCES
            for found in imports(source)
            if starts(found.target, library) and not found.lazy and source.path.is_relative_to(ON_DEMAND[library])
        ]
    )


def test_no_private_jax_and_no_pickle() -> None:
    violations = [
        f"{source.at(found.node)}: imports {found.target}"
        for source in SOURCES
        for found in imports(source)
        if any(starts(found.target, name) for name in NEVER)
    ]
    violations += [
        f"{source.at(node)}: uses {ast.unparse(node)}"
        for source in SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in NEVER
    ]
    fail_if(violations)


def test_no_long_functions() -> None:
    fail_if(
        [
            f"{source.at(function)}: {function.name} has {length(source, function)} lines; most: {LONGEST_FUNCTION}"
            for source in SOURCES
            for function in functions(source.tree)
            if length(source, function) > LONGEST_FUNCTION
        ]
    )


def test_no_long_files() -> None:
    lengths = {source.path: len(source.path.read_text(encoding="utf-8").splitlines()) for source in SOURCES}
    fail_if([f"{path}: {n} lines, the most is {LONGEST_FILE}" for path, n in lengths.items() if n > LONGEST_FILE])


def test_everything_public_is_documented() -> None:
    violations = []
    for source in SOURCES:
        if ast.get_docstring(source.tree) is None:
            violations.append(f"{source.at(source.tree)}: the module has no docstring")
        for node in source.tree.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            overload = any(ast.unparse(each).endswith("overload") for each in node.decorator_list)
            if not node.name.startswith("_") and not overload and ast.get_docstring(node) is None:
                violations.append(f"{source.at(node)}: {node.name} has no docstring")
    fail_if(violations)


def test_no_escape_from_the_design() -> None:
    """Pure functions and final classes: no asking what an object has, no calling what was overridden."""
    violations = []
    for source in SOURCES:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Assert):
                violations.append(f"{source.at(node)}: an assert; raise ValueError or TypeError with its sentence")
            elif isinstance(node, ast.Global):
                violations.append(f"{source.at(node)}: a global statement")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                inner = source.layer in ("model", "learn", "evidence")
                if inner and node.func.id in ("hasattr", "super"):
                    violations.append(f"{source.at(node)}: {node.func.id}() in {source.layer}")
    fail_if(violations)


def modules_after(code: str) -> set[str]:
    """Run code in a fresh interpreter; the top-level modules that it leaves imported."""
    script = f"import sys\n{code}\nprint('MODULES', *sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {"jax", "equinox", "optax", "sklearn", "scipy", "polars", "pandas", "matplotlib", "PIL", "numpy"}
    assert modules_after("import tightbound") & heavy == set()


def test_help_imports_nothing_heavy() -> None:
    pytest.importorskip("tightbound.cli.app")
    code = """
sys.argv = ["tightbound", "--help"]
from tightbound.cli.app import main
try:
    main()
except SystemExit as end:
    if end.code: raise"""
    heavy = {"jax", "equinox", "optax", "sklearn", "scipy", "polars", "matplotlib"}
    assert modules_after(code) & heavy == set()


def test_public_names_exist() -> None:
    import tightbound

    missing = [name for name in getattr(tightbound, "__all__", []) if not hasattr(tightbound, name)]
    assert missing == []


BAD = """
from . import distributions
from ..learn import objectives
from tightbound.data import files
import jax._src.core

def f():
    from tightbound import estimator
    return estimator
"""


def test_the_reader_of_imports_can_fail() -> None:
    source = Source(PACKAGE / "model" / "bad.py", "tightbound.model.bad", ast.parse(BAD))
    found = [(each.target, each.lazy) for each in imports(source)]
    assert found == [
        ("tightbound.model.distributions", False),
        ("tightbound.learn.objectives", False),
        ("tightbound.data.files", False),
        ("jax._src.core", False),
        ("tightbound.estimator", True),
    ]
    assert [layer_of(target) for target, _ in found] == ["model", "learn", "data", None, "estimator"]
