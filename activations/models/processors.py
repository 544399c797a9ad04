"""Reading a checkpoint's processor, also where what it has for videos cannot be read here."""

from __future__ import annotations

from typing import Any

from activations.models.loading import Checkpoint
from radiology.errors import InputError


def read_processor(checkpoint: Checkpoint, config: Any) -> Any:
    """The processor that makes ids and pixels of text and images.

    Video processors of transformers need torchvision. Radiographs are no videos: where that is what is missing, the
    processor is read without it.

    Raises:
        InputError: the checkpoint has none, or one for text or images alone.
    """
    from transformers import AutoProcessor
    from transformers.utils import is_torchvision_available

    still = None if is_torchvision_available() else _without_videos(config)
    processor: Any = checkpoint.read((still or AutoProcessor).from_pretrained, "processor")
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise InputError(
            f"model {checkpoint.name!r}: has a {type(processor).__name__} in the place of a processor of images and "
            "text; processor_config.json or preprocessor_config.json is missing"
        )
    return processor


def _without_videos(config: Any) -> Any | None:
    """The configuration's processor class less its video processor; None if it has none."""
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    try:
        base: Any = PROCESSOR_MAPPING[type(config)]
    except KeyError:
        return None
    if "video_processor" not in base.get_attributes():
        return None

    def get_attributes(cls: Any) -> list[str]:
        return [name for name in base.get_attributes() if name != "video_processor"]

    return type(base.__name__, (base,), {"get_attributes": classmethod(get_attributes)})
