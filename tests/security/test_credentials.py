"""What an address holds beside the place reaches no file, log or message of a run."""

from __future__ import annotations

import functools
import http.server
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.range_server import RangeHandler

from cvr_lightning.cli.main import main

USER, PASSWORD, TOKEN = "some-user", "some-password", "some-token"


@pytest.fixture
def address(shapes: Path, tmp_path: Path) -> Iterator[str]:
    """Shards behind an address with credentials, without what follows the path."""
    shards = tmp_path / "shards"
    main(["pack", str(shards), "--data=Folder", f"--data.root={shapes}"])
    handler = functools.partial(RangeHandler, directory=str(shards))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{USER}:{PASSWORD}@127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_run_on_an_address_stores_and_shows_no_credentials(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    data = ["--data=Shards", f"--data.root={address}/?token={TOKEN}", "--data.num_workers=0"]
    tiny = [
        *("--data.batch_size=5", "--data.sampling.segments=2", "--data.sampling.pframes=2"),
        *("--data.sampling.size=[64,88]", "--data.sampling.crop=64"),
    ]
    quiet = ["--trainer.num_sanity_val_steps=0", "--trainer.enable_progress_bar=false"]
    where = [f"--trainer.default_root_dir={tmp_path}", "--run=run"]
    run = tmp_path / "run"
    main(["fit", *data, *tiny, *quiet, *where, "--trainer.max_epochs=1"])
    test = ["test", f"--ckpt_path={run}/checkpoints/last.ckpt", *quiet]
    main([*test, *data])
    with pytest.raises(SystemExit):
        main(test)  # a checkpoint sends no one to an address
    with pytest.raises(SystemExit):
        main(["fit", *data, f"--data.root={address}/none?token={TOKEN}", *where, "--run=other"])
    assert f"http://{address.rpartition('@')[2]}" in (run / "config.yaml").read_text(encoding="utf-8")
    for name in ("config.yaml", "results.json", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):
        assert (run / name).is_file()
    kept = {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    captured = capsys.readouterr()
    kept["shown"] = f"{captured.out}{captured.err}{caplog.text}".encode()
    for secret in (USER, PASSWORD, TOKEN):
        assert [name for name, content in kept.items() if secret.encode() in content] == []
