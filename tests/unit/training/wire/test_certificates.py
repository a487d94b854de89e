"""Who may join a test bed: holders of a certificate of its own authority, by that name alone."""

import shutil
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("torch")

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from streams import listen

from card.base.errors import ScenarioError
from card.training.wire import certificates
from card.training.wire import transport as wire
from card.training.wire.certificates import (
    device_credentials,
    make_certificates,
    server_credentials,
)
from card.training.wire.limits import Limits
from card.training.wire.stream import PeerGone
from card.training.wire.transport import connect
from card.training.wire.wire_pb2 import Hello

LIMITS = Limits(frame_bytes=2**16)
SOON_S = 10.0  # far longer than a handshake on loopback
DEVICES = ["device-1", "device-2"]
SERVER_NAMES = ["localhost", "127.0.0.1", "edge.example.org", "::1"]


def made(folder, **changes):
    arguments = {"server_names": SERVER_NAMES, "devices": DEVICES, **changes}
    return make_certificates(folder, **arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made(tmp_path_factory.mktemp("certificates") / "bed")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Another test bed's folder, with the same names."""
    return made(tmp_path_factory.mktemp("certificates") / "stranger")


@pytest.fixture
def server(folder):
    """A server of the test bed that tells each device the name in its certificate."""

    def on_join(stream, name):
        stream.receive("hello", timeout_s=SOON_S)
        stream.send(Hello(device=name))

    with listen("127.0.0.1:0", server_credentials(folder), LIMITS, on_join) as server:
        yield server


def name_at(address, credentials):
    """Name by which the server knows whoever joins with these credentials."""
    with connect(address, credentials, LIMITS, timeout_s=SOON_S) as stream:
        stream.send(Hello())
        return stream.receive("hello", timeout_s=SOON_S).device


def raw(folder, stem, authority=None):
    """Credentials without the checks that a device makes of its own files."""
    return grpc.ssl_channel_credentials(
        ((authority or folder) / "ca.pem").read_bytes(),
        (folder / f"{stem}.key").read_bytes(),
        (folder / f"{stem}.pem").read_bytes(),
    )


def certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


class TestJoining:
    @pytest.mark.parametrize("device", DEVICES)
    def test_the_server_knows_a_device_by_its_certificate(self, folder, server, device):
        assert name_at(server.address, device_credentials(folder, device)) == device

    def test_the_server_may_be_named_by_any_of_its_names(self, folder, server):
        port = server.address.rsplit(":", 1)[1]
        credentials = device_credentials(folder, "device-1")
        assert name_at(f"localhost:{port}", credentials) == "device-1"

    def test_a_server_by_another_name_is_not_trusted(self, folder, server):
        port = server.address.rsplit(":", 1)[1]
        with pytest.raises(PeerGone, match="its certificate or this end's was not accepted"):
            name_at(f"127.0.0.2:{port}", device_credentials(folder, "device-1"))

    def test_a_device_of_another_authority_cannot_join(self, folder, server, stranger):
        with pytest.raises(PeerGone, match="its certificate or this end's was not accepted"):
            name_at(server.address, raw(stranger, "device-1", authority=folder))

    def test_a_server_of_another_authority_is_not_trusted(self, server, stranger):
        with pytest.raises(PeerGone, match="its certificate or this end's was not accepted"):
            name_at(server.address, device_credentials(stranger, "device-1"))

    def test_a_device_without_certificate_cannot_join(self, folder, server):
        bare = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes())
        with pytest.raises(PeerGone, match="its certificate or this end's was not accepted"):
            name_at(server.address, bare)

    def test_a_device_without_tls_cannot_join(self, server):
        with pytest.raises(PeerGone, match="cannot reach"):
            name_at(server.address, None)

    def test_a_device_with_tls_does_not_join_a_server_without(self, folder):
        with (
            listen("127.0.0.1:0", None, LIMITS, lambda stream, name: None) as bare,
            pytest.raises(PeerGone, match="cannot reach"),
        ):
            name_at(bare.address, device_credentials(folder, "device-1"))

    def test_an_expired_device_cannot_join(self, tmp_path, folder, stranger, monkeypatch):
        # a server that trusts three test beds, one of which was made too long ago
        old = made_earlier(tmp_path, monkeypatch, timedelta(days=40))
        trusted = b"".join((bed / "ca.pem").read_bytes() for bed in (folder, stranger, old))
        own = (folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes()
        credentials = grpc.ssl_server_credentials([own], trusted, require_client_auth=True)
        with listen("127.0.0.1:0", credentials, LIMITS, lambda stream, name: None) as server:
            for bed in (folder, stranger):
                connect(server.address, raw(bed, "device-1", folder), LIMITS).close()
            with pytest.raises(PeerGone, match="its certificate or this end's was not acc"):
                connect(server.address, raw(old, "device-1", folder), LIMITS)

    def test_a_device_cannot_pose_as_the_server(self, folder):
        pair = [((folder / "device-1.key").read_bytes(), (folder / "device-1.pem").read_bytes())]
        posing = grpc.ssl_server_credentials(pair, (folder / "ca.pem").read_bytes(), True)
        with (
            listen("127.0.0.1:0", posing, LIMITS, lambda stream, name: None) as false,
            pytest.raises(PeerGone, match="its certificate or this end's was not accepted"),
        ):
            name_at(false.address, device_credentials(folder, "device-2"))

    def test_the_server_cannot_pose_as_a_device(self, folder, server):
        with pytest.raises(PeerGone, match="its certificate or this end's was not accepted"):
            name_at(server.address, raw(folder, "server"))

    def test_an_error_prints_no_log_of_grpc(self, folder, server, stranger):
        code = (
            "import sys; from card.training.wire.certificates import *\n"
            "from card.training.wire.limits import Limits\n"
            "from card.training.wire.stream import PeerGone\n"
            "from card.training.wire.transport import connect\n"
            "own = device_credentials(sys.argv[2], 'device-1')\n"
            "try: connect(sys.argv[1], own, Limits(2**16))\n"
            "except PeerGone as error: print(error)"
        )
        command = [sys.executable, "-c", code, server.address, str(stranger)]
        root = Path(wire.__file__).parents[3]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
        assert result.stderr == ""
        assert len(result.stdout.splitlines()) == 1


def made_earlier(tmp_path, monkeypatch, ago):
    """A folder as `make_certificates` made it some time ago."""

    class Earlier(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - ago

    with monkeypatch.context() as patch:
        patch.setattr(certificates, "datetime", Earlier)
        return made(tmp_path / "earlier", days=30)


class TestFolder:
    def test_has_just_the_files_that_are_needed(self, folder):
        stems = ["server", *DEVICES]
        wanted = {"ca.pem", *(f"{s}.pem" for s in stems), *(f"{s}.key" for s in stems)}
        assert {path.name for path in folder.iterdir()} == wanted

    def test_has_keys_that_only_their_owner_reads(self, folder):
        keys = list(folder.glob("*.key"))
        assert len(keys) == 3
        assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}

    def test_with_files_is_never_overwritten(self, folder):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(ScenarioError, match=r"has files already.* name a new folder"):
            made(folder)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before

    def test_on_a_full_disk_stays_empty(self, tmp_path, little_room):
        with pytest.raises(ScenarioError, match=r"cannot be written .File too large.*make room"):
            made(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_that_is_a_file_is_refused(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ScenarioError, match="cannot be used"):
            made(tmp_path / "file")

    def test_of_another_bed_has_nothing_in_common(self, folder, stranger):
        for path in folder.iterdir():
            assert path.read_bytes() != (stranger / path.name).read_bytes()

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"days": 0}, "days = 0 is not allowed; give 1 to 825"),
            ({"days": 10**6}, "days = 1000000 is not allowed"),
            ({"devices": ["a/b"]}, "'a/b' cannot have a certificate"),
            ({"devices": ["../up"]}, "cannot have a certificate"),
            ({"devices": [""]}, "cannot have a certificate"),
            ({"devices": ["d" * 65]}, "at most 64 letters"),
            ({"devices": ["one", "one"]}, "'one' has the name of another"),
            ({"devices": ["server"]}, "'server' has the name of another"),
            ({"devices": ["ca"]}, "'ca' has the name of another"),
            ({"server_names": []}, "no server name was given"),
            ({"server_names": ["host:50051"]}, "'host:50051' is not allowed.*without a port"),
            ({"server_names": ["300.1.1.1"]}, "'300.1.1.1' is not allowed"),
            ({"server_names": [""]}, "give a host name or an IP address"),
        ],
    )
    def test_is_not_made_for_names_or_days_that_cannot_be(self, tmp_path, changes, said):
        with pytest.raises(ScenarioError, match=said):
            made(tmp_path / "new", **changes)
        assert not (tmp_path / "new").exists()


class TestCertificates:
    def test_hold_as_long_as_asked(self, tmp_path):
        folder = made(tmp_path / "new", days=3)
        end = datetime.now(UTC) + timedelta(days=3)
        for path in folder.glob("*.pem"):
            assert abs(certificate(path).not_valid_after_utc - end) < timedelta(minutes=1)

    def test_have_one_purpose_each(self, folder):
        def purposes(stem):
            found = certificate(folder / f"{stem}.pem").extensions
            return list(found.get_extension_for_class(x509.ExtendedKeyUsage).value)

        assert purposes("server") == [ExtendedKeyUsageOID.SERVER_AUTH]
        assert purposes("device-1") == [ExtendedKeyUsageOID.CLIENT_AUTH]

    def test_of_holders_cannot_sign_others(self, folder):
        for path in folder.glob("*.pem"):
            found = certificate(path).extensions
            authority = found.get_extension_for_class(x509.BasicConstraints).value.ca
            signs = found.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
            assert authority == signs == (path.name == "ca.pem")

    def test_are_accepted_by_another_tls_than_grpc_s(self, folder):
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        inbound, outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(inbound, outbound, server_hostname="edge.example.org")
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(folder / "server.pem", folder / "server.key")
        server = serving.wrap_bio(outbound, inbound, server_side=True)
        for end in (client, server):
            with pytest.raises(ssl.SSLWantReadError):
                end.do_handshake()
        client.do_handshake()
        assert dict(client.getpeercert()["subject"][0]) == {"commonName": "server"}


class TestLoading:
    @pytest.fixture
    def copy(self, folder, tmp_path):
        return Path(shutil.copytree(folder, tmp_path / "copy"))

    @pytest.mark.parametrize("name", ["ca.pem", "device-1.pem", "device-1.key"])
    def test_names_a_missing_file(self, copy, name):
        (copy / name).unlink()
        with pytest.raises(ScenarioError, match=rf"{name} cannot be read .*card certs"):
            device_credentials(copy, "device-1")

    @pytest.mark.parametrize("name", ["ca.pem", "server.pem", "server.key"])
    def test_names_a_damaged_file(self, copy, name):
        (copy / name).write_bytes((copy / name).read_bytes()[:60])
        with pytest.raises(ScenarioError, match=rf"{name} is not a .*; copy it anew"):
            server_credentials(copy)

    def test_tells_that_a_key_is_another_s(self, copy):
        shutil.copy(copy / "device-2.key", copy / "device-1.key")
        with pytest.raises(ScenarioError, match=r"device-1\.key is not the key of device-1\.pem"):
            device_credentials(copy, "device-1")

    @pytest.mark.parametrize("ago", [40, -40])
    def test_tells_that_a_certificate_does_not_hold_today(self, tmp_path, monkeypatch, ago):
        folder = made_earlier(tmp_path, monkeypatch, timedelta(days=ago))
        with pytest.raises(ScenarioError, match=r"holds from 20.* only; make new certificates"):
            device_credentials(folder, "device-1")

    def test_needs_only_a_device_s_own_files(self, folder, tmp_path):
        for name in ("ca.pem", "device-1.pem", "device-1.key"):
            shutil.copy(folder / name, tmp_path)
        assert device_credentials(tmp_path, "device-1")

    def test_of_a_device_with_the_name_of_a_path_is_refused(self, folder):
        with pytest.raises(ScenarioError, match="cannot have a certificate"):
            device_credentials(folder / "nowhere", "../bed/device-1")
