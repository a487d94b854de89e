"""Files of training that lie in a folder are read, or refused by the promised error alone."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from any_bytes import changed
from hypothesis import given, settings
from hypothesis import strategies as st

from card.base.errors import ScenarioError

torch = pytest.importorskip("torch")
pytest.importorskip("grpc")

from card.training import checkpoint
from card.training.wire.certificates import device_credentials, make_certificates

drawn_often = settings(
    max_examples=int(os.environ.get("CARD_EXAMPLES", settings().max_examples // 4))
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    return make_certificates(folder, server_names=["localhost"], devices=["a"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return checkpoint.save(folder, 0, {"w": torch.ones(2)}, {"x": 1})


def damaged(folder, place, data):
    """A copy of a folder of which one file is changed."""
    copy = shutil.copytree(folder, Path(place) / folder.name)
    file = data.draw(st.sampled_from(sorted(copy.iterdir())))
    file.write_bytes(data.draw(changed(file.read_bytes())))
    return copy


@drawn_often
@given(data=st.data())
def test_certificates_are_taken_or_refused(certificates, data):
    with tempfile.TemporaryDirectory() as place:
        try:
            device_credentials(damaged(certificates, place, data), "a")
        except ScenarioError as error:
            assert "\n" not in str(error)  # noqa: PT017


@drawn_often
@given(data=st.data())
def test_a_checkpoint_is_read_or_refused(run, data):
    with tempfile.TemporaryDirectory() as place:
        copy = damaged(run, place, data)
        try:
            found = checkpoint.read(copy)
        except checkpoint.CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert found.state == {"x": 1}
