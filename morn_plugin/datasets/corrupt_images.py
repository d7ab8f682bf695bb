"""Finds the images of a data set that are missing or cannot be read."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mmengine.dist import all_gather_object, get_rank, get_world_size

from .transforms.loading import ImageError, LoadCheckedImage


def find_corrupt_images(paths: Sequence[str], load: LoadCheckedImage) -> dict[str, str]:
    """Read every image once, as training would.

    The work is divided among the processes of a distributed run, and among threads in each.

    Args:
        paths: All images of the data set, the same in every process.
        load: Reads an image; the first step of the data set's pipeline.

    Returns:
        Path of each image that cannot be read, to what is wrong with it. The same in every process.
    """

    def find_problem(path: str) -> str | None:
        try:
            load(dict(img_path=path))
        except (ImageError, OSError) as error:
            return str(error)
        return None

    mine = paths[get_rank() :: get_world_size()]
    with ThreadPoolExecutor(max_workers=4) as pool:
        problems = list(pool.map(find_problem, mine))

    found = [(path, text) for path, text in zip(mine, problems, strict=True) if text]
    shares = all_gather_object(found)
    return dict(sorted(pair for share in shares for pair in share))
