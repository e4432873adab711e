"""Transformers 4 in addition to the 5 of the environment: each version in a folder of its own under build/, made once.

It reuses torch, numpy and safetensors of the environment; what it needs in another version comes from the package
registry. A version is the oldest that knows one of the architectures that tests load with it.

    PYTHONPATH=tests .venv/bin/python -m support.old_transformers        build all of them (5 seconds, 60 MB each)
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[2] / "build" / "transformers"
# Without dependencies: what is not named here is in the environment in a version that they accept.
PACKAGES = {
    "4.37.0": ("transformers==4.37.0", "tokenizers==0.15.2", "huggingface_hub==0.36.0"),
    "4.43.1": ("transformers==4.43.1", "tokenizers==0.19.1", "huggingface_hub==0.36.0"),
    "4.49.0": ("transformers==4.49.0", "tokenizers==0.21.1", "huggingface_hub==0.36.0"),
    "4.50.0": ("transformers==4.50.0", "tokenizers==0.21.1", "huggingface_hub==0.36.0"),
}
_READ = """
import json, sys
import numpy as np, torch, transformers
version, ids, jobs = json.loads(sys.argv[1])
assert transformers.__version__ == version, transformers.__version__
for folder, target in jobs:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, torch_dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    settings = {name: getattr(model.config, name, None) for name in ("rope_theta", "rope_scaling")}
    settings["torch_dtype"] = str(transformers.AutoConfig.from_pretrained(folder).torch_dtype)
    np.savez(target, logits_LV=logits.numpy(), settings=json.dumps(settings))
"""


def build(version: str) -> Path:
    """Return the folder of a version, which is to be put first on the path; installs it where it is missing."""
    folder = FOLDER / version
    if folder.exists():
        return folder
    staging = FOLDER / f".{version}-{uuid.uuid4().hex}"
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", staging, "--no-deps"]
    try:
        subprocess.run(
            [*command, *PACKAGES[version]], env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"}, check=True, timeout=300
        )
        if not folder.exists():
            staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def read_models(
    version: str, folders: Mapping[str, Path], *, ids_L: Sequence[int], scratch: Path
) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Load model folders with a version; returns the logits of the ids and the settings that it read, by name."""
    targets = {name: scratch / f"{version}-{number}.npz" for number, name in enumerate(folders)}
    jobs = [(str(folders[name]), str(target)) for name, target in targets.items()]
    path = os.pathsep.join([str(build(version)), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _READ, json.dumps([version, list(ids_L), jobs])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"transformers {version} failed:\n{done.stderr}")
    read = {name: np.load(target) for name, target in targets.items()}
    return {name: (arrays["logits_LV"], json.loads(str(arrays["settings"]))) for name, arrays in read.items()}


if __name__ == "__main__":
    for one in PACKAGES:
        sys.stdout.write(f"{build(one)}\n")
