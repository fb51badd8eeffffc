"""Checkpoints of packs in training, in a folder that all workers share: a disk, a network drive, or s3://bucket/path.

A pack is resumed from them on any node, by any driver, so that what goes away costs at most the time since the last
one. A worker that does not see the folder trains without.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises for what it refuses to read
from typing import TYPE_CHECKING, Any

import bench
from bench.errors import store_error
from bench.files import open_private, private_folder
from bench.lazy import torch

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_MARKER = "in-use"


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """One file a pack, by its id.

    token: what the driver wrote into the folder; who finds it shares the folder.
    variant: device and path of attention; rounding differs between them, and a pack goes on as it began.
    every_s: seconds of training between two checkpoints of a pack.
    """

    uri: str
    token: str
    variant: str
    every_s: float = 60.0

    def start(self) -> None:
        """Make the folder and put the token in. Raises StoreError if it can't be written."""
        try:
            files, folder = self._folder()
            if files.type_name == "local":
                private_folder(Path(folder))
            files.create_dir(folder, recursive=True)
            with self._opened(files, f"{folder}/{_MARKER}") as file:
                file.write(self.token.encode())
        except (OSError, ValueError) as error:
            raise store_error(f"checkpoints {self.uri!r}: {' '.join(str(error).split())[:300]}", error) from error

    def is_shared(self) -> bool:
        """Whether this process sees the driver's folder."""
        try:
            files, folder = self._folder()
            with files.open_input_stream(f"{folder}/{_MARKER}") as file:
                return file.read() == self.token.encode()
        except (OSError, ValueError):
            return False

    def save(self, pack_id: str, state: dict[str, Any]) -> None:
        """Keep the state of a pack, in place of its last one; a kill leaves the old one or the new one, whole."""
        files, folder = self._folder()
        path = self._path(folder, pack_id)
        content = {"bench": bench.__version__, "state": state}
        if files.type_name != "local":  # object stores show a file once it is whole
            with self._opened(files, path) as file:
                torch.save(content, file)
            return
        temporary = f"{path}.new-{os.getpid()}"
        try:
            with self._opened(files, temporary) as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise

    def load(self, pack_id: str) -> dict[str, Any] | None:
        """The last state of a pack; None if there is none that this version can read."""
        try:
            files, folder = self._folder()
            with files.open_input_file(self._path(folder, pack_id)) as file:
                content = torch.load(file, weights_only=True)
            return content["state"] if content["bench"] == bench.__version__ else None
        except (OSError, ValueError, RuntimeError, KeyError, EOFError, TypeError, UnpicklingError):
            return None

    def remove(self, pack_id: str) -> None:
        """Forget a pack that is finished."""
        files, folder = self._folder()
        path = self._path(folder, pack_id)
        if files.get_file_info(path).is_file:
            files.delete_file(path)

    def clear(self) -> None:
        """Remove the folder with all that is left in it."""
        files, folder = self._folder()
        if files.get_file_info(folder).type.name == "Directory":
            files.delete_dir(folder)

    def _folder(self) -> tuple[FileSystem, str]:
        from pyarrow.fs import FileSystem, LocalFileSystem

        if "://" not in self.uri:
            return LocalFileSystem(), os.path.abspath(self.uri)
        files, folder = FileSystem.from_uri(self.uri)
        return files, folder.rstrip("/")

    @staticmethod
    def _opened(files: FileSystem, path: str) -> Any:
        return open_private(Path(path), "wb") if files.type_name == "local" else files.open_output_stream(path)

    def _path(self, folder: str, pack_id: str) -> str:
        return f"{folder}/{pack_id}-{self.variant}.pt"
