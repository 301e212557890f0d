"""Measure the source of the package: how much there is, how long its parts are, what imports itself.

    python scripts/house.py [SRC ...]      one column for each folder: python scripts/house.py ../old/src src

A function's lines go from `def` to its end without the docstring; one within another counts with it, and by itself.
Suppressions are `type: ignore` and `noqa`. A circle is a set of files that import each other by way of others, be it
inside a function; of a package that only fetches names when they are used, the root, nothing is asked.
"""

import ast
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "tightbound"
LONGEST_SHOWN = 5

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method of a file."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    return function.end_lineno - function.lineno + 1 - documented * (first.end_lineno - first.lineno + 1)


def module_name(path: Path, src: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(src).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST, package: str, names: set[str]) -> Iterator[str]:
    """The modules of ours that a file of this package imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            targets = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            module = target if target in names else target.rpartition(".")[0]
            if module in names:
                yield module


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of nodes that reach each other."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    reach = {name: reached(name) for name in graph}
    rings = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    return sorted((set(ring) for ring in rings), key=len, reverse=True)


def import_graph(trees: dict[Path, ast.Module], src: Path) -> dict[str, set[str]]:
    """Which module imports which."""
    names = {path: module_name(path, src) for path in trees}
    graph = {}
    for path, tree in trees.items():
        name = names[path]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        graph[name] = set() if name == PACKAGE else set(imported(tree, package, set(names.values()))) - {name}
    return graph


def measure(src: Path) -> dict[str, str]:
    """What the table says of one folder."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((src / PACKAGE).rglob("*.py"))}
    if not texts:
        sys.exit(f"{src} must be the folder that holds {PACKAGE}/; there is none; give another.")
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lines = {path: len(text.splitlines()) for path, text in texts.items()}
    lengths = sorted((length(function), function.name) for tree in trees.values() for function in functions(tree))
    sizes = [size for size, _ in lengths]
    total = sum(lines.values())
    suppressed = sum(len(re.findall(r"#\s*(?:type:\s*ignore|noqa)", text)) for text in texts.values())
    rings = circles(import_graph(trees, src))
    longest = sorted(lines, key=lambda path: -lines[path])[:LONGEST_SHOWN]
    return {
        "lines": f"{total:,}",
        "files": f"{len(lines)}",
        "functions": f"{len(sizes):,}",
        "  median lines": f"{statistics.median(sizes):g}",
        "  90th percentile": f"{statistics.quantiles(sizes, n=10)[-1]:g}",
        "  over 50": f"{sum(size > 50 for size in sizes)}",
        "  longest": f"{lengths[-1][0]} {lengths[-1][1]}",
        "suppressions": f"{suppressed}",
        "  a thousand lines": f"{1000 * suppressed / total:.2f}",
        "isinstance(": f"{sum(text.count('isinstance(') for text in texts.values())}",
        "import circles": f"{len(rings)}" + (f" (of {', '.join(str(len(ring)) for ring in rings)})" if rings else ""),
        **{
            f"longest file {place}": f"{lines[path]} {path.relative_to(src / PACKAGE)}"
            for place, path in enumerate(longest, 1)
        },
    }


def main() -> None:
    """Print one column for every folder."""
    places = [Path(each).resolve() for each in sys.argv[1:] or ["src"]]
    columns = [measure(place) for place in places]
    for name in columns[0]:
        print(f"{name:<20}" + "".join(f"{column[name]:<40}" for column in columns).rstrip())


if __name__ == "__main__":
    main()
