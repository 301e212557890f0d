"""A folder of images of one size as a table of pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tightbound.data.errors import complain, unreadable
from tightbound.data.names import Choice
from tightbound.data.read.memory import table_from_array
from tightbound.data.table import Table

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


def read_image_folder(place: str, choice: Choice) -> Table:
    """All images of a folder, sorted by name: (n, h, w) when all are grey, else (n, h, w, 3), uint8.

    When the images lie in sub-folders, one level down, the names of these are the labels. Transparent pixels are
    shown on white.

    Raises:
        DataError: when there are no images, one cannot be read, one differs in size from the first, or columns are to
            be set aside.
    """
    files = _image_files(place)
    source = os.path.basename(os.path.abspath(place))
    if not files:
        raise complain(
            f"Folder {place}",
            f"hold images ({', '.join(SUFFIXES)})",
            "it holds none",
            "name the folder with the images",
        )
    pixels = [_pixels(file) for file in files]
    for file, image in zip(files, pixels, strict=True):
        if image.shape[:2] != pixels[0].shape[:2]:
            raise complain(
                f"Folder {place}",
                f"hold images of one size, {_size(pixels[0])} pixels as in {files[0].name}",
                f"{file.relative_to(place)} has {_size(image)}",
                "resize or remove the images that differ",
            )
    if any(image.ndim == 3 for image in pixels):
        pixels = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in pixels]
    folders = [str(file.parent.relative_to(place)) for file in files]
    labels = np.array(folders) if set(folders) != {"."} else None
    return table_from_array(np.stack(pixels), choice, source=source, labels=labels)


def _image_files(place: str) -> list[Path]:
    """The images in the folder itself or, where there are none, in its sub-folders (one level down, no deeper)."""
    try:
        entries = sorted(Path(place).iterdir())
        files = [entry for entry in entries if _is_image(entry)]
        if not files:
            files = [file for entry in entries if entry.is_dir() for file in sorted(entry.iterdir()) if _is_image(file)]
    except OSError as error:
        raise unreadable(place, error) from None
    return files


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _pixels(file: Path) -> np.ndarray:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            return _eight_bit(ImageOps.exif_transpose(image), file)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, EOFError):
        reason = "it is damaged, or no image"
    except OSError as error:
        reason = f"it cannot be read ({error})"
    raise complain(f"Image {file}", "be a whole image file", reason, "mend or remove it")


def _eight_bit(image: Image.Image, file: Path) -> np.ndarray:
    """Grey (h, w) or colour (h, w, 3) pixels in 8 bits."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        raise complain(
            f"Image {file}",
            "have 8 bits for each colour of a pixel",
            f"its mode is {image.mode!r}, which has more",
            "convert it to 8 bits, or give the values as an .npy array",
        )
    grey = image.mode in ("1", "L", "LA")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        layer: Any = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer)
    return np.asarray(image.convert("L" if grey else "RGB"))
