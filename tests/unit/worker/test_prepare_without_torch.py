"""Preparing needs no GPU and no torch, whose import costs seconds and hundreds of megabytes."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
from pando_worker.prepare import prepare_job
from pando_worker.prepare.encode import Encoder
from pando_worker.prepare.examples import Chat, Message
from pando_worker.tokenizer import load_tokenizer

encoder = Encoder(load_tokenizer(Path(sys.argv[1])))
encoded = encoder.encode(Chat((Message("user", "Hello!"), Message("assistant", "Hi."))))
assert sum(encoded.targets) > 1
assert "torch" not in sys.modules, "torch was imported"
"""


def test_prepare_needs_no_torch(tmp_path: Path, byte_tokenizer: object) -> None:
    byte_tokenizer.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
