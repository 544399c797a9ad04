"""Asking a language model through any server that speaks the OpenAI form: paced, paid for once, written down, checked.

:class:`~radiology.llm.client.LLMClient` asks at once, :class:`~radiology.llm.batch.BatchClient` through the Batch API.
"""
