"""Loading a base model's tokenizer, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from pando_shared.errors import InvalidRequest

#: A transformers tokenizer; the library is untyped here.
TextTokenizer = Any

#: For base models that come without a template. Plain words, since such models know no role tokens.
DEFAULT_CHAT_TEMPLATE = """\
{{- bos_token if bos_token is defined else '' -}}
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' -%}
        {{- '### Assistant:\\n' -}}
        {%- generation -%}
            {{- message['content'] + (eos_token if eos_token is defined else '') -}}
        {%- endgeneration -%}
        {{- '\\n\\n' -}}
    {%- else -%}
        {{- '### ' + message['role'] | capitalize + ':\\n' + message['content'] + '\\n\\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '### Assistant:\\n' -}}{%- endif -%}
"""


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer in a model folder, with a chat template in any case.

    Everything that renders a chat must load it here, so that a model is asked in the form it was
    trained on. The generic fast class reads `tokenizer.json` itself; transformers' `AutoTokenizer`
    would import torch.

    Raises:
        InvalidRequest: the folder holds no `tokenizer.json`.
    """
    if not (Path(folder) / "tokenizer.json").exists():
        raise InvalidRequest(
            f"the base model at {folder} has no tokenizer.json, which training needs", param="model"
        )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    if not tokenizer.chat_template:
        tokenizer.chat_template = DEFAULT_CHAT_TEMPLATE
    return tokenizer
