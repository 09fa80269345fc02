"""Gradio's chat page for any OpenAI-compatible address."""

import os

import gradio

gradio.load_chat(f"{os.environ['BASE_URL']}/v1", model="gpt-4o-mini", token=os.environ["OPENAI_API_KEY"]).launch(
    server_name="0.0.0.0", server_port=3000
)
