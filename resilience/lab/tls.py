"""Certificates for the lab's servers, from an authority made on the spot; needs ``trustme``."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Authority"]


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority whose files live in ``folder``."""

    folder: Path
    ca: object

    @classmethod
    def create(cls, folder: str | Path) -> Authority:
        """Make an authority; its certificate is written to ``folder/ca.pem``."""
        import trustme  # noqa: PLC0415 - a test dependency, not one of the package

        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(Path(folder, "ca.pem")))
        return cls(Path(folder), ca)

    @property
    def file(self) -> Path:
        """The authority's certificate, for clients."""
        return self.folder / "ca.pem"

    def issue(self, *names: str) -> tuple[Path, Path]:
        """Issue a certificate for these host names or IP addresses: files of the chain and of the key.

        Both are one file, named after the first name; fits ``Server(ssl=...)`` and httpx's ``cert=``.
        """
        import trustme  # noqa: PLC0415 - as above

        assert isinstance(self.ca, trustme.CA)  # noqa: S101 - `create` made it
        file = self.folder / f"{names[0].replace('*', '_').replace(':', '_')}.pem"
        self.ca.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(file))
        return file, file

    def context(self) -> ssl.SSLContext:
        """Make a client's context that trusts this authority alone."""
        context = ssl.create_default_context(cafile=str(self.file))
        context.set_alpn_protocols(["http/1.1"])
        return context
