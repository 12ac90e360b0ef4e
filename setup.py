"""What pyproject.toml cannot say: the schemas of manifests/crds travel inside the package."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SCHEMAS = Path("manifests", "crds")


class BuildWithSchemas(build_py):
    """Copies the schemas at build time, so that the source tree holds them once."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for schema, packaged in self._copies():
                self.mkpath(str(packaged.parent))
                self.copy_file(str(schema), str(packaged))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *(str(packaged) for _, packaged in self._copies())]

    def _copies(self) -> list[tuple[Path, Path]]:
        target = Path(self.build_lib, "allocator", "offline", "crds")
        return [(schema, target / schema.name) for schema in sorted(SCHEMAS.glob("*.yaml"))]


setup(cmdclass={"build_py": BuildWithSchemas})
