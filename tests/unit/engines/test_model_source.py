"""Models as people name them: folders, hub ids and GGUF files; the hub is a small server on this machine."""

import json
import os
import shutil
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moi.cli import main
from moi_bench import engines
from moi_bench.engine import worker
from moi_engines import load_engine
from moi_engines.hub import choose, explain
from moi_engines.model_source import model_name, resolve_model

COMMIT, OLDER = "a" * 40, "b" * 40


class Hub(ThreadingHTTPServer):
    """Serves `repos`: id -> files at main; the tag v1 holds the same. `refusals`: id -> (status, code of the hub)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.sent: Counter[str] = Counter()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        owner, name, *rest = parts[2:] if api else parts
        repo = f"{owner}/{name}"
        files = self.server.repos.get(repo)
        if repo in self.server.refusals and (not api or self.server.refusals[repo][0] == 500):
            return self._send(*self.server.refusals[repo])
        if files is None:
            return self._send(401, "RepoNotFound")
        if api and rest[:1] == ["tree"]:
            return self._json(
                [{"type": "file", "oid": path, "size": len(data), "path": path} for path, data in files.items()]
            )
        if rest[1:2] and rest[1] not in ("main", "v1", COMMIT, OLDER):
            return self._send(404, "RevisionNotFound")
        if api:
            sibling = [{"rfilename": path, "size": len(data), "blobId": path} for path, data in files.items()]
            return self._json({"id": repo, "sha": OLDER if "v1" in rest else COMMIT, "siblings": sibling})
        path, commit = "/".join(rest[2:]), rest[1]
        self.server.sent[path] += self.command == "GET"
        return self._send(200, "", files[path], {"ETag": f'"{hash((path, files[path]))}"', "X-Repo-Commit": commit})

    def _json(self, value):
        self._send(200, "", json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status, code, body=b"", headers=()):
        self.send_response(status)
        for key, value in {**dict(headers), "X-Error-Code": code, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


def set_endpoint(monkeypatch, url):
    """As HF_ENDPOINT does, which huggingface_hub reads when it is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{url}{template}")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    set_endpoint(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def offline(monkeypatch):
    return lambda: monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def last_line(capsys):
    """What a command said; one line and no traceback."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


def test_a_hub_id_is_downloaded_once_and_decodes_as_its_folder(hub, offline, tiny_model):
    hub.repos["org/model"] = files_of(tiny_model("llama"))
    folder = resolve_model("org/model")
    (got,) = load_engine("torch", "org/model").generate(["12"])
    (expected,) = load_engine("torch", tiny_model("llama")).generate(["12"])
    assert got == expected
    assert model_name(folder) == "org/model"
    assert hub.sent["model.safetensors"] == 1
    offline()
    assert resolve_model("org/model") == folder


def test_bench_engines_measures_a_hub_id_at_its_revision(hub, tiny_model, monkeypatch, tmp_path):
    """The worker, a process of its own, is given the folder; the row names the hub id."""
    hub.repos["org/model"] = files_of(tiny_model("llama"))
    folders = []

    def work(name, cases, repeats, threads):
        folders.extend(Path(case.model) for case in cases)
        yield from (worker.failed(case, "failed", "not run") for case in cases)

    monkeypatch.setattr(engines, "_work", work)
    flags = ["--engine", "torch", "--batch", "1", "--out", str(tmp_path / "rows.json")]
    assert main(["bench", "engines", "--model", "org/model", "--revision", "v1", *flags]) == 1
    assert [folder.name for folder in folders] == [OLDER]
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert (row["case"]["model"], row["case"]["name"]) == ("org/model", "org/model B=1 context=16")


def test_only_what_is_needed_is_downloaded(hub, tiny_model):
    more = {"pytorch_model.bin": b"x", "original/consolidated.pth": b"x", "onnx/model.onnx": b"x", "README.md": b"x"}
    hub.repos["org/model"] = {**files_of(tiny_model("llama")), **more}
    folder = resolve_model("org/model")
    assert {file.name for file in folder.iterdir()} == set(files_of(tiny_model("llama")))


def test_a_revision_is_a_folder_of_its_own(hub, tiny_model):
    hub.repos["org/model"] = files_of(tiny_model("llama"))
    assert resolve_model("org/model", "v1").name == OLDER
    assert resolve_model("org/model").name == COMMIT


def test_what_is_here_goes_before_the_hub(hub, tiny_model, tmp_path, monkeypatch):
    hub.repos["org/model"] = {"config.json": b"{}", "model.safetensors": b""}
    shutil.copytree(tiny_model("llama"), tmp_path / "org" / "model")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("org/model") == Path("org/model")
    with pytest.raises(ValueError, match=r"revision='v1' is not allowed; org/model is here"):
        resolve_model("org/model", "v1")
    assert not hub.sent


@pytest.mark.parametrize(
    "name", ["./x", "../x", "/nowhere/x", "~/no such model", "a/b/c", "x/", "x.gguf", "a\\b", "a\nb"]
)
def test_what_only_a_path_can_be_is_never_looked_for_on_the_hub(monkeypatch, tmp_path, name):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")  # whatever lies beside the checkout
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("moi_engines.model_source.download", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(FileNotFoundError, match=r"does not exist$"):
        resolve_model(name)
    with pytest.raises(FileNotFoundError, match=r"^model folder nowhere does not exist"):
        resolve_model(Path("nowhere"))


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((403, "GatedRepo"), r"org/model .* is gated: accept its licence at http\S+/org/model, then `hf auth login`"),
        ((401, ""), r"answered 401: the token is not valid"),
        ((500, ""), r"answered 500; try again later"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line_with_the_way_out(hub, tiny_model, capsys, refusal, message):
    hub.repos["org/model"], hub.refusals["org/model"] = files_of(tiny_model("llama")), refusal
    with pytest.raises(OSError, match=message) as caught:
        resolve_model("org/model")
    assert "\n" not in str(caught.value)
    assert main(["generate", "--model", "org/model", "--prompt", "12"]) == 2
    assert last_line(capsys).startswith("moi generate: error: model folder org/model does not exist; on the hub it ")


def test_missing_repositories_and_revisions_are_named(hub, tiny_model):
    hub.repos["org/model"] = files_of(tiny_model("llama"))
    with pytest.raises(OSError, match=r"org/modle .* does not exist, or is private: check the spelling"):
        resolve_model("org/modle")
    with pytest.raises(OSError, match=r"org/model .* has no revision 'v9'"):
        resolve_model("org/model", "v9")


def test_offline_says_what_is_not_in_the_cache(hub, offline, tiny_model):
    hub.repos["org/model"] = files_of(tiny_model("llama"))
    offline()
    with pytest.raises(OSError, match=r"org/model .* is not in the cache .*hub and HF_HUB_OFFLINE is set"):
        resolve_model("org/model")


def test_a_hub_that_cannot_be_reached_is_an_error_only_for_what_is_not_cached(hub, tiny_model, monkeypatch):
    hub.repos["org/model"] = files_of(tiny_model("llama"))
    folder = resolve_model("org/model")
    set_endpoint(monkeypatch, "http://127.0.0.1:9")
    assert resolve_model("org/model") == folder
    with pytest.raises(OSError, match=r"http://127.0.0.1:9 cannot be reached .*: check the network, or name a folder"):
        resolve_model("org/other")


def test_a_cached_model_whose_download_did_not_end_is_said(hub, offline, tiny_model):
    hub.repos["org/model"] = files_of(tiny_model("llama"))
    (resolve_model("org/model") / "model.safetensors").unlink()
    offline()
    with pytest.raises(FileNotFoundError, match=r"model folder .* has no weights"):
        load_engine("torch", "org/model")


def test_a_full_disk_is_said_before_anything_is_downloaded(hub, tiny_model, monkeypatch):
    hub.repos["org/model"] = files_of(tiny_model("llama"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1))
    with pytest.raises(OSError, match=r"is too large for the disk: .* has 0.0 GiB free; HF_HOME moves the cache"):
        resolve_model("org/model")
    assert not hub.sent


def test_gguf_files_of_a_repository_are_chosen_by_a_part_of_their_name(hub):
    hub.repos["org/model"] = {"m-Q4_K_M.gguf": b"GGUF", "m-Q8_0.gguf": b"GGUF", "config.json": b"{}"}
    with pytest.raises(OSError, match=r"holds 2 GGUF files; name one as org/model:FILE.gguf .*m-Q4_K_M.gguf, m-Q8_0"):
        resolve_model("org/model")
    with pytest.raises(OSError, match=r"holds 0 GGUF files that fit 'Q5'; .* \(there are: m-Q4_K_M.gguf, m-Q8_0.gguf"):
        resolve_model("org/model:Q5")
    with pytest.raises(ValueError, match=r"GGUF file .*m-Q8_0.gguf cannot be read"):
        resolve_model("org/model:q8_0")
    assert hub.sent == {"m-Q8_0.gguf": 1}


def test_shards_and_the_safetensors_of_two_kinds_are_chosen():
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    names = ["config.json", "tokenizer.json", "pytorch_model.bin", "consolidated.safetensors", "tf_model.h5", *shards]
    assert sorted(choose(names, "r", None)) == [
        "config.json",
        *shards[:2],
        "model.safetensors.index.json",
        "tokenizer.json",
    ]
    assert choose(["config.json", "pytorch_model.bin"], "r", None) == ["config.json", "pytorch_model.bin"]
    with pytest.raises(FileNotFoundError, match="the hub's r has no weights that can be read"):
        choose(["config.json", "tf_model.h5"], "r", None)


@settings(deadline=None)  # the first call imports
@given(st.text(max_size=40))
def test_any_text_for_a_model_ends_in_one_line(text):
    try:
        resolve_model(text)
    except (OSError, ValueError) as error:
        said = str(error)
    else:
        said = "" if Path(os.path.expanduser(text)).exists() else "found what\nis not there"
    assert len(said.splitlines()) <= 1


def test_errors_of_any_other_kind_keep_their_message():
    assert explain(RuntimeError("two\nlines"), "org/model", None).endswith("two lines")


@pytest.mark.parametrize("flags", [["--revision", "x"], ["--model", ".", "--revision", "x"]])
def test_a_revision_without_a_hub_id_is_refused(capsys, flags):
    assert main(["generate", "--prompt", "1", *flags]) == 2
    assert "revision" in last_line(capsys)


def test_an_option_the_engine_does_not_have_is_named():
    with pytest.raises(ValueError, match="device is not an option of the engine onnxruntime; its options: provider, "):
        load_engine("onnxruntime", "x", device="cpu")
