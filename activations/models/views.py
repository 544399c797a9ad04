"""Two other ways to look at a model: through nnsight and through TransformerLens.

The hooks of :mod:`activations.hooks` are the default. The other two see the same weights:

- :func:`nnsight_view` wraps the very module. :func:`trace_arguments` says what the module is given in a pass over a
  batch, and :func:`site_of` finds the part of the view that stands for a site.
- :func:`bridge_view` is the language half as a ``TransformerBridge``. A bridge puts its own modules in the places of
  the model's, so it gets a twin: modules of its own over the same parameters, none of them copied.
  :func:`bridge_arguments` says what the language half is given in a pass over a batch, embedded images included, and
  the residual after block L, the site ``language.L``, is ``blocks.L.hook_resid_post``.

nnsight runs the module's own code and agrees with the hooks to the bit. TransformerLens computes the attention of most
architectures step by step (scores, softmax, weighted sum), where PyTorch fuses the steps, so it agrees to rounding.
"""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from activations.hooks import HookError, resolve_sites
from activations.models.base import ModelInputs
from activations.models.transformer import TransformerReportModel
from radiology.errors import InputError

if TYPE_CHECKING:
    from nnsight import Envoy
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel


def nnsight_view(model: TransformerReportModel) -> Envoy:
    """The model's module for nnsight.

    Trace it with :func:`trace_arguments`::

        with view.trace(**trace_arguments(model, inputs)):
            residual_btd = site_of(view, model, "language.2").output.save()

    A language model without images is wrapped as nnsight's ``TransformersModel``, which also takes text as it is
    (``view.trace("No pleural effusion.")``) and generates; any other as ``NNsight``. nnsight leaves a wrapper around
    each ``forward`` of the module, which outside a trace passes everything on as it is.
    """
    if not _takes_text_alone(model):
        from nnsight import NNsight

        return NNsight(model.module)
    from nnsight.modeling.transformers import TransformersModel

    # the wrapper sets padding side and padding token of the tokenizer it is given
    return TransformersModel(model.module, tokenizer=copy.deepcopy(model.tokenizer), task="text-generation")


def trace_arguments(model: TransformerReportModel, inputs: ModelInputs) -> dict[str, Any]:
    """The arguments with which ``model.forward(inputs)`` calls the module, by name; nothing is computed."""
    return _arguments_of(model.module, model, inputs)


def site_of(view: Envoy, model: TransformerReportModel, site: str) -> Envoy:
    """The part of an nnsight view that stands for a site: its ``output`` is (or is a tuple that starts with) the site.

    Raises:
        InputError: the model has no such site.
    """
    ((_, module),) = resolve_sites(model, [site]).items()
    path = next(path for path, child in model.module.named_modules() if child is module)
    return view.get(path)


def _takes_text_alone(model: TransformerReportModel) -> bool:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    return (
        isinstance(model.module, PreTrainedModel)
        and isinstance(model.tokenizer, PreTrainedTokenizerBase)
        and model.writes
        and not model.parts.vision_blocks
    )


def bridge_view(model: TransformerReportModel) -> TransformerBridge:
    """The language half of a model as a TransformerLens bridge over the same parameters.

    Run it with :func:`bridge_arguments`::

        logits, cache = bridge.run_with_cache(**bridge_arguments(model, inputs))
        cache["blocks.2.hook_resid_post"]  # the site language.2, (B, T, d)

    The model itself stays as it is; hooks on it do not reach the bridge, nor the other way round. The bridge has one
    tensor of its own, a bias of zeros at the output where the model has none. ``enable_compatibility_mode()`` gives the
    bridge processed weights of its own; the model keeps its.

    Raises:
        InputError: no language half, one that lies partly on disk, or an architecture that TransformerLens does not
            have; the message says which.
    """
    from transformer_lens.model_bridge.sources import build_bridge_from_module, detect_tokenizer_bos_eos

    language = _language_half(model)
    architecture = type(language).__name__
    try:
        bridge = build_bridge_from_module(language, architecture, hf_config=language.config, model_name=model.name)
    except Exception as error:  # each adapter of TransformerLens refuses in its own way
        raise InputError(
            f"model {model.name!r}: TransformerLens cannot bridge {architecture} ({type(error).__name__}: {error}); "
            "look through the hooks or nnsight instead"
        ) from error
    if model.tokenizer is not None:
        # Given at once, TransformerLens would load the tokenizer anew by its name to change whether it begins with BOS.
        bridge.tokenizer = copy.deepcopy(model.tokenizer)
        bridge.cfg.tokenizer_prepends_bos, bridge.cfg.tokenizer_appends_eos = detect_tokenizer_bos_eos(bridge.tokenizer)
    return bridge.requires_grad_(False)


def bridge_arguments(model: TransformerReportModel, inputs: ModelInputs) -> dict[str, Any]:
    """What the bridge of a model is run with, by argument name, so that it computes what the model does of ``inputs``.

    Text goes in as token ids. Where a model takes images, its own pass is run up to the language half and what that is
    given is passed on: embeddings with images in their places (B, T, d) as ``input``, and masks.
    """
    if not model.parts.vision_blocks:
        arguments = trace_arguments(model, inputs)
        return {"input": arguments.pop("input_ids"), **arguments}
    arguments = _arguments_of(_decoder(model), model, inputs)
    embeds_btd = arguments.pop("inputs_embeds")
    return {"input": embeds_btd} | {name: value for name, value in arguments.items() if value is not None}


class _Reached(Exception):  # noqa: N818 - not an error: ends a forward pass at the module that was asked for
    pass


def _arguments_of(part: nn.Module, model: TransformerReportModel, inputs: ModelInputs) -> dict[str, Any]:
    """The arguments with which ``part`` is called in a forward pass, by name."""
    arguments: dict[str, Any] = {}

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        names = list(inspect.signature(type(module).forward).parameters)[1:]
        arguments.update(zip(names, args, strict=False), **kwargs)
        raise _Reached

    handle = part.register_forward_pre_hook(note, with_kwargs=True)
    try:
        model.forward(inputs)
    except _Reached:
        return arguments
    finally:
        handle.remove()
    raise HookError(f"model {model.name!r}: the forward pass did not come by its {type(part).__name__}")


def _language_half(model: TransformerReportModel) -> PreTrainedModel:
    """Decoder and head as a causal language model of transformers: modules of its own over the model's parameters."""
    causal, decoder = _causal_class(model), _decoder(model)
    if any(tensor.device.type == "meta" for tensor in decoder.parameters()):
        raise InputError(f"model {model.name!r}: weights that are offloaded cannot be bridged; load the model whole")
    with torch.device("meta"):
        language = causal(copy.deepcopy(decoder.config))
    twins = _twin(nn.ModuleDict({"decoder": decoder, "head": model.parts.head}))  # type: ignore[dict-item]
    setattr(language, causal.base_model_prefix, twins["decoder"])
    language.set_output_embeddings(twins["head"])
    language.config = twins["decoder"].config
    language.set_attn_implementation("eager")  # the one that tells its pattern
    return language.eval()


def _decoder(model: TransformerReportModel) -> Any:
    """The module around the decoder blocks that a causal language model of transformers puts its head on."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    config = _text_config(model)
    base: Any = MODEL_MAPPING[type(config)]
    found = [part for part in _around_blocks(model) if isinstance(part, base)]
    if not found:
        raise InputError(
            f"model {model.name!r}: its decoder blocks are not in a module that transformers would make of "
            f"{type(config).__name__}, so that TransformerLens cannot bridge it"
        )
    return found[-1]


def _causal_class(model: TransformerReportModel) -> Any:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if model.parts.head is None or not model.parts.language_blocks:
        raise InputError(f"model {model.name!r}: it has no language half that TransformerLens could bridge")
    config = _text_config(model)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise InputError(
            f"model {model.name!r}: its decoder ({type(config).__name__}) is not a language model of its own in "
            "transformers, which TransformerLens needs; look through the hooks or nnsight instead"
        )
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def _text_config(model: TransformerReportModel) -> Any:
    """The configuration of the innermost part around the decoder blocks that has one."""
    return [part.config for part in _around_blocks(model) if hasattr(part, "config")][-1]


def _around_blocks(model: TransformerReportModel) -> list[nn.Module]:
    """The modules that hold the decoder blocks, outermost first."""
    paths = dict(model.module.named_modules())
    first = model.parts.language_blocks[0]
    path = next(path for path, part in paths.items() if part is first)
    names = path.split(".")
    return [paths[".".join(names[:depth])] for depth in range(len(names))]


def _twin(module: nn.Module) -> Any:
    """Modules of its own over the same parameters and buffers, without hooks."""
    kept: dict[int, Any] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    for part in module.modules():
        kept |= {
            id(hooks): type(hooks)()
            for name, hooks in vars(part).items()
            if "_hooks" in name and isinstance(hooks, dict)
        }
    twin = copy.deepcopy(module, kept)
    for part in twin.modules():
        # transformers hooks a model when it is first asked for hidden states, and remembers that it did
        vars(part).pop("_output_capturing_hooks_installed", None)
    return twin
