"""The precision in which a model is served."""

from collections.abc import Mapping

from kubedistill.contract import Hardware
from kubedistill.json_values import Json
from kubedistill_runtime.fit.sizes import text_config

_HALF = {"float16": "Float16", "half": "Float16"}


def serving_dtype(wanted: str, *, config: Mapping[str, Json], hardware: Hardware) -> str:
    """Return the dtype for an engine; for Auto, Float32 on CPUs and the checkpoint's own on GPUs.

    A Float32 checkpoint is served in BFloat16 on GPUs, whose fast kernels take no Float32. Of a quantized checkpoint,
    such as FP8, it is the dtype of activations; the engine reads its quantization from the configuration.
    """
    if wanted != "Auto":
        return wanted
    if not hardware.has_gpus:
        return "Float32"
    return _HALF.get(str(_declared_dtype(config)).removeprefix("torch."), "BFloat16")


def _declared_dtype(config: Mapping[str, Json]) -> Json:
    """Return the dtype in a configuration, as transformers 4 or 5 writes it; None if it does not say."""
    text = text_config(config)
    places = (config.get("dtype"), config.get("torch_dtype"), text.get("dtype"), text.get("torch_dtype"))
    return next((one for one in places if one), None)
