"""`python -m tests.image`: build the image twice, which needs the network, and say where its tests find both."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.image.builder import Builder
from tests.image.sizes import sizes, table
from tests.lab.command_log import CommandFailed
from tests.lab.debian import NoDebianArchive
from tests.lab.images import Image
from tests.lab.progress import Reporter
from tests.lab.system_programs import MissingPrograms

TAGS = ("first", "second")


def note() -> Path:
    """Where it is written down what was built."""
    return Builder.in_cache().folder / "built.json"


def built() -> dict[str, Image]:
    """Return the images of the last build by tag. Raises FileNotFoundError where there was none."""
    return {
        tag: Image(
            root=Path(fields["root"]),
            environment=fields["environment"],
            entrypoint=tuple(fields["entrypoint"]),
            user=(fields["user"][0], fields["user"][1]),
        )
        for tag, fields in json.loads(note().read_text()).items()
    }


def main() -> int:
    """Build, and tell where what was built lies."""
    builder = Builder.in_cache()
    note().unlink(missing_ok=True)
    try:
        with Reporter() as progress:
            builder.base(progress)
            builder.forget_builds()
            sources = builder.sources()
            images = {tag: builder.build(sources, tag, progress) for tag in TAGS}
    except (CommandFailed, MissingPrograms, NoDebianArchive) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    note().write_text(json.dumps({tag: {**asdict(image), "root": str(image.root)} for tag, image in images.items()}))
    print(f"built twice: {images[TAGS[0]].root}\n{table(sizes(images[TAGS[0]].root))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
