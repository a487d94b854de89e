"""Certificates of a test bed: each device proves its name to the server, the server its address.

A folder of files for one test bed: an authority made for it alone, and what that authority signed.
Its own key is never written, so nobody can add a device to a folder later, thieves included.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from card.base.errors import ScenarioError
from card.base.whole_files import remedy_of, write_whole

_AUTHORITY = "ca"
_SERVER = "server"
_MAX_DAYS = 825
_CLOCKS_APART = timedelta(hours=1)


def make_certificates(
    folder: Path | str,
    *,
    server_names: Sequence[str],
    devices: Sequence[str],
    days: int = 30,
) -> Path:
    """Make the authority of a test bed and the certificates of its server and devices.

    Parameters
    ----------
    folder
        New or empty; gets `ca.pem`, and `server` and each device as `.pem` with a `.key` that only
        its owner may read. A device needs `ca.pem` and its own two files, no other's.
    server_names
        Host names and IP addresses by which devices reach the server.
    devices
        Names of the devices, as in the scenario.
    days
        How long the certificates hold [day].

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ScenarioError
        If the folder has files or cannot be written, or a name or `days` cannot be used.
    """
    folder = Path(folder)
    if not 1 <= days <= _MAX_DAYS:
        raise ScenarioError(f"days = {days} is not allowed; give 1 to {_MAX_DAYS}.")
    subjects = [_subject(name) for name in devices]
    for name in devices:
        if list(devices).count(name) > 1 or name in (_AUTHORITY, _SERVER):
            raise ScenarioError(f"device {name!r} has the name of another; give each its own.")
    if not server_names:
        raise ScenarioError("no server name was given; give the host name or IP address.")
    alternatives = x509.SubjectAlternativeName([_server_name(name) for name in server_names])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise ScenarioError(
            f"{folder} cannot be used ({error.strerror}); name another, or {remedy_of(error)}."
        ) from None
    if occupied:
        raise ScenarioError(
            f"{folder} has files already, and certificates are never overwritten; name a new"
            " folder, or remove that one first."
        )
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _Authority(key, _name("card test bed"), days)
    files = {f"{_AUTHORITY}.pem": authority.own()}
    files |= authority.signed(
        _SERVER, _name(_SERVER), ExtendedKeyUsageOID.SERVER_AUTH, alternatives
    )
    for name, subject in zip(devices, subjects, strict=True):
        files |= authority.signed(name, subject, ExtendedKeyUsageOID.CLIENT_AUTH)
    _write_all(folder, files)
    return folder


def server_credentials(folder: Path | str) -> grpc.ServerCredentials:
    """What `transport.listen` takes: devices must show a certificate of the same authority.

    Raises
    ------
    ScenarioError
        If a file is missing or cannot be read, or the certificate does not hold today.
    """
    authority, certificate, key = _load(Path(folder), _SERVER)
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=True
    )


def device_credentials(folder: Path | str, device: str) -> grpc.ChannelCredentials:
    """What `transport.connect` takes; raises what `server_credentials` does.

    Parameters
    ----------
    folder
        With at least `ca.pem` and the two files of the device.
    device
        Its name.
    """
    _subject(device)
    authority, certificate, key = _load(Path(folder), device)
    return grpc.ssl_channel_credentials(authority, key, certificate)


class _Authority:
    """Signs the certificates of one test bed."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, name: x509.Name, days: int) -> None:
        self._key = key
        self._name = name
        now = datetime.now(UTC)
        self._valid = (now - _CLOCKS_APART, now + timedelta(days=days))

    def own(self) -> bytes:
        """Certificate of the authority itself, in PEM."""
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_usage(signs_certificates=True), True)
        return self._signed(builder)

    def signed(
        self,
        stem: str,
        subject: x509.Name,
        purpose: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> dict[str, bytes]:
        """Key and certificate of a holder, by the names of their files."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(signs_certificates=False), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
        if alternatives:
            builder = builder.add_extension(alternatives, False)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {f"{stem}.key": secret, f"{stem}.pem": self._signed(builder)}

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._valid[0])
            .not_valid_after(self._valid[1])
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
            .add_extension(own, False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _subject(device: str) -> x509.Name:
    """Of a device, whose name is also a file's."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", device):
        raise ScenarioError(
            f"device {device[:80]!r} cannot have a certificate; give a name of at most 64 letters,"
            " digits, dots, dashes and underscores."
        )
    return _name(device)


def _server_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        # an address with a slip in it is no host name
        if not re.fullmatch(rf"({label}\.)*{label}", name) or re.fullmatch(r"[\d.]+", name):
            raise ScenarioError(
                f"server name {name[:80]!r} is not allowed; give a host name or an IP address,"
                " without a port."
            ) from None
        return x509.DNSName(name)


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files or none: a folder with some of them could not be used, nor filled again."""
    try:
        for name, content in files.items():
            write_whole(folder / name, content, 0o600 if name.endswith(".key") else 0o644)
    except OSError as error:
        for name in files:
            (folder / name).unlink(missing_ok=True)
        raise ScenarioError(
            f"{folder} cannot be written ({error.strerror}); name another, or {remedy_of(error)}."
        ) from None


def _load(folder: Path, stem: str) -> tuple[bytes, bytes, bytes]:
    """Certificate of the authority, then certificate and key of a holder, checked."""
    try:
        files = (f"{_AUTHORITY}.pem", f"{stem}.pem", f"{stem}.key")
        authority, certificate, key = ((folder / name).read_bytes() for name in files)
    except OSError as error:
        raise ScenarioError(
            f"{error.filename} cannot be read ({error.strerror}); make certificates with card"
            f" certs, and name the folder that has {', '.join(files)}."
        ) from None
    for name, data in zip(files, (authority, certificate), strict=False):
        try:
            found = x509.load_pem_x509_certificate(data)
        except (ValueError, UnsupportedAlgorithm):
            raise ScenarioError(f"{folder / name} is not a certificate; copy it anew.") from None
        begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
        if not begins <= datetime.now(UTC) <= ends:
            raise ScenarioError(
                f"{folder / name} holds from {begins:%Y-%m-%d} to {ends:%Y-%m-%d} only; make new"
                " certificates with card certs, or set this machine's clock."
            )
    try:
        secret = serialization.load_pem_private_key(key, password=None)
        same = secret.public_key() == found.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ScenarioError(f"{folder / files[2]} is not a private key; copy it anew.") from None
    if not same:
        raise ScenarioError(f"{folder / files[2]} is not the key of {files[1]}; copy both anew.")
    return authority, certificate, key
