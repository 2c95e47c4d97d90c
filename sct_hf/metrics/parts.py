"""Parts of a table of images and labels, so that float64 takes bounded memory whatever their number."""

_ENTRIES = 2**20  # of a part: 8 MB an array


def label_parts(images: int, labels: int) -> list[slice]:
    """Slices of labels, in order, each of about a million pairs of image and label."""
    return _slices(labels, _ENTRIES // max(images, 1))


def image_parts(images: int, labels: int) -> list[slice]:
    """Slices of images, in order, each of about a million pairs of image and label."""
    return _slices(images, _ENTRIES // max(labels, 1))


def _slices(count: int, size: int) -> list[slice]:
    size = max(size, 1)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
