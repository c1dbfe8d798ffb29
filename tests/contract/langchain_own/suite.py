"""LangChain's standard tests of a chat model and of embeddings, run by its own environment against a running edge."""

import os
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

EDGE = {"base_url": os.environ["PERENNE_EDGE"], "api_key": os.environ["PERENNE_KEY"], "max_retries": 0}


class TestChatModel(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "tiny-language", "stream_usage": True, **EDGE}


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "use-multilingual-q8", "check_embedding_ctx_length": False, **EDGE}  # texts, not token numbers
