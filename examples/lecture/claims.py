"""What the scripts of this folder share: a claim that must hold, and where a picture goes."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from tightbound.report.style import to_png


def claim(condition: object, sentence: str) -> None:
    """Print the sentence if it is true; otherwise end the script with it (exit status 1)."""
    if not condition:
        raise SystemExit(f"This claim does not hold: {sentence}")
    print(f"Holds: {sentence}")


def save(figure: Figure, name: str) -> None:
    """Write the figure as NAME.png into the folder given on the command line, docs/pictures/lecture without one."""
    default = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "lecture"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.png").write_bytes(to_png(figure, dpi=120))
    print(f"Picture: {folder / name}.png")
