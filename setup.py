"""What pyproject.toml cannot say: the manifests and overlays travel inside the package."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# An image is built without kustomize/ (.dockerignore): it has no kubectl to render overlays with.
FOLDERS = ("manifests", "kustomize")


class BuildWithManifests(build_py):
    """Copies both folders at build time, so that the source tree holds them once."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, packaged in self._copies():
                self.mkpath(str(packaged.parent))
                self.copy_file(str(source), str(packaged))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *(str(packaged) for _, packaged in self._copies())]

    def _copies(self) -> list[tuple[Path, Path]]:
        target = Path(self.build_lib, "allocator", "shipped")
        files = (path for folder in FOLDERS for path in sorted(Path(folder).rglob("*")) if path.is_file())
        return [(path, target / path) for path in files]


setup(cmdclass={"build_py": BuildWithManifests})
