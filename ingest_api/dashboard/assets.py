"""Owns the dashboard's style sheets and scripts: read once, named by their digest, and kept by browsers for a year."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Final

PREFIX: Final = "/dashboard/static"
FOLDER: Final = Path(__file__).parent / "static"
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'",
}
DIGEST_CHARS: Final = 12


@dataclasses.dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served."""

    name: str
    body: bytes
    content_type: str

    @property
    def url(self) -> str:
        """Its address, which changes with its bytes."""
        return f"{PREFIX}/{self.digest}/{self.name}"

    @property
    def digest(self) -> str:
        """The first characters of its SHA-256."""
        return hashlib.sha256(self.body).hexdigest()[:DIGEST_CHARS]


def load(folder: Path) -> dict[str, Asset]:
    """Read every file of a type that is served; licences and notes are not."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in CONTENT_TYPES:
            name = path.relative_to(folder).as_posix()
            found[name] = Asset(name, path.read_bytes(), CONTENT_TYPES[path.suffix])
    return found


ASSETS: Final = load(FOLDER)
URLS: Final = {name: asset.url for name, asset in ASSETS.items()}
BY_ADDRESS: Final = {(asset.digest, asset.name): asset for asset in ASSETS.values()}
