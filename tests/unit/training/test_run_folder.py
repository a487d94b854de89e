"""A folder of a run belongs to one server at a time, however that ends."""

import os
import signal
import subprocess
import sys

import pytest

from card.base.errors import ScenarioError
from card.training.run_folder import LOCK, claimed

HOLDER = """
import sys, time
from pathlib import Path
from card.training.run_folder import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")
def test_of_a_living_process_is_refused_with_its_id_and_free_once_it_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ScenarioError, match=f"is in use by process {holder.pid}; "):
            claimed(tmp_path).__enter__()
        assert (tmp_path / LOCK).read_text() == f"{holder.pid}\n"
        holder.send_signal(signal.SIGKILL)
    with claimed(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_is_made_and_may_be_claimed_again(tmp_path):
    for _ in range(2):
        with claimed(tmp_path / "a" / "run"):
            pass
    assert (tmp_path / "a" / "run" / LOCK).is_file()


def test_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    for folder in (tmp_path / "run", tmp_path / "run" / "deeper"):
        with pytest.raises(ScenarioError, match=r"cannot be used .*; give a folder"):
            claimed(folder).__enter__()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_that_may_not_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ScenarioError, match=r"cannot be used \(Permission denied\)"):
        claimed(tmp_path).__enter__()
