"""Gradio's chat page for any OpenAI-compatible address."""

import os

import gradio

# Without files, since its box for them has no stop button.
page = gradio.load_chat(
    f"{os.environ['BASE_URL']}/v1", model="gpt-4o-mini", token=os.environ["OPENAI_API_KEY"], file_types=None
)
page.launch(server_name="0.0.0.0", server_port=3000, show_error=True)
