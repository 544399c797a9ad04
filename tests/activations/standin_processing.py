"""What the stand-in checkpoint has as ``processing_maira2.py``: MAIRA-2's processor API with another wording."""

import numpy as np
from PIL import Image
from transformers import BaseImageProcessor, LlavaProcessor, PreTrainedTokenizer


class Maira2Processor(LlavaProcessor):
    def __init__(
        self,
        image_processor: BaseImageProcessor = None,
        tokenizer: PreTrainedTokenizer = None,
        patch_size=None,
        vision_feature_select_strategy=None,
        chat_template=None,
        image_token="<image>",
        phrase_start_token="<obj>",
        num_box_coord_bins=100,
        **kwargs,
    ):
        super().__init__(
            image_processor=image_processor,
            tokenizer=tokenizer,
            patch_size=patch_size,
            vision_feature_select_strategy=vision_feature_select_strategy,
            chat_template=chat_template,
            image_token=image_token,
            **kwargs,
        )
        self.phrase_start_token = phrase_start_token
        self.num_box_coord_bins = num_box_coord_bins

    def _eight_bits(self, picture):
        grey = np.asarray(picture.convert("L"), dtype=float)
        grey = grey - grey.min()
        return Image.fromarray((grey / grey.max() * 255).astype(np.uint8))

    def _ask(self, parts, pictures, answer, options):
        said = [{"role": "user", "content": parts}]
        if answer is not None:
            said.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        text = self.tokenizer.apply_chat_template(said, add_generation_prompt=answer is None, tokenize=False)
        return self(text=text, images=[self._eight_bits(picture) for picture in pictures], **options)

    def format_and_preprocess_reporting_input(
        self,
        current_frontal,
        current_lateral,
        prior_frontal,
        indication,
        technique,
        comparison,
        prior_report,
        get_grounding=False,
        assistant_text=None,
        **options,
    ):
        views = [("front", current_frontal), ("side", current_lateral), ("earlier", prior_frontal)]
        parts = []
        for word, picture in views:
            if picture is not None:
                parts += [{"type": "text", "text": f" The {word} view"}, {"type": "image"}]
        if prior_frontal is not None:
            parts.append({"type": "text", "text": f" EARLIER: {prior_report or 'none'}"})
        parts.append({"type": "text", "text": " Say what is seen" + (" and mark where." if get_grounding else ".")})
        for word, section in (("WHY", indication), ("HOW", technique), ("AGAINST", comparison)):
            parts.append({"type": "text", "text": f" {word}: {section or 'none'}"})
        return self._ask(parts, [picture for _, picture in views if picture is not None], assistant_text, options)

    def format_and_preprocess_phrase_grounding_input(self, frontal_image, phrase, assistant_text=None, **options):
        front, asked = {"type": "text", "text": " The front view"}, {"type": "text", "text": f" {phrase}?"}
        return self._ask([front, {"type": "image"}, asked], [frontal_image], assistant_text, options)
