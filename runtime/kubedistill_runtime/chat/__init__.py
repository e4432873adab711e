"""Chat formats: from messages to prompt ids and back, with a model's tokenizer, template and stop tokens."""

from kubedistill_runtime.chat.format import ChatFormat
from kubedistill_runtime.chat.loading import load_chat_format
from kubedistill_runtime.chat.template import asks_for_date, date_for, load_stop_ids

__all__ = ["ChatFormat", "asks_for_date", "date_for", "load_chat_format", "load_stop_ids"]
