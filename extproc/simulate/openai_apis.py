"""The smaller OpenAI-form APIs: embeddings, models, files, batches, audio, moderations, images.

Rule: one function per API, `(Call, Dialect) -> Answer`. Source: OpenAI API reference, 2026.
"""

import base64
import hashlib
import struct
from typing import Any

from extproc.simulate import multipart
from extproc.simulate.call import CREATED, Answer, Call, StoredFile, Whole, answer
from extproc.simulate.conversation import embed
from extproc.simulate.dialect import Dialect
from extproc.simulate.faults import MARKER
from extproc.simulate.openai_chat import bad, model_of
from extproc.simulate.refusal import Refusal

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\nsimulated").decode()
SEEDED = "file-sim"
"""Files whose id begins so always exist: a gateway's configuration can name one."""


def _tail(call: Call, place: int) -> str:
    return call.api.split("/")[place]


def embeddings(call: Call, dialect: Dialect) -> Answer:
    """`POST embeddings`: texts, or lists of tokens; `encoding_format: base64` honoured."""
    body = call.json()
    model, given = model_of(body, dialect), body.get("input")
    one = isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int))
    inputs = [given] if one else given
    if not isinstance(inputs, list) or not inputs or not all(isinstance(item, str | list) for item in inputs):
        raise bad("'input' must be a text or a list of texts", "input")
    if dialect.check_embeddings is not None:
        dialect.check_embeddings(call, body, inputs)
    call.heed(str(inputs[-1]))
    size = dialect.embedding_size(model, body.get("dimensions"))
    vectors = [embed(str(item), size) for item in inputs]
    packed = body.get("encoding_format") == "base64"
    rows = [
        {
            "object": "embedding",
            "index": at,
            "embedding": base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() if packed else vector,
        }
        for at, vector in enumerate(vectors)
    ]
    tokens = sum(max(1, len(item) // 2) for item in inputs)
    return answer(
        {
            "object": "list",
            "data": rows,
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "simulated"}


def models(_call: Call, dialect: Dialect) -> Answer:
    """`GET models`."""
    return answer({"object": "list", "data": [_model(name) for name in dialect.models]})


def model(call: Call, dialect: Dialect) -> Answer:
    """`GET models/{name}`."""
    name = call.api.partition("/")[2]
    if name not in dialect.models:
        raise Refusal(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
    return answer(_model(name))


def _file(stored: StoredFile) -> dict[str, Any]:
    return {
        "id": stored.id,
        "object": "file",
        "bytes": stored.size,
        "created_at": CREATED,
        "filename": stored.name,
        "purpose": stored.purpose,
        "status": "processed",
    }


def upload(call: Call, _dialect: Dialect) -> Answer:
    """`POST files`, multipart with `file` and `purpose`."""
    form = multipart.read(call)
    if form.file is None:
        raise bad("'file' is a required property", "file")
    if not form.fields.get("purpose"):
        raise bad("'purpose' is a required property", "purpose")
    digest = hashlib.sha256(form.file.content + str(form.file.size).encode()).hexdigest()[:20]
    stored = StoredFile(f"file-{digest}", form.file.name, form.fields["purpose"], form.file.size, form.file.content)
    call.store.files[call.vendor, stored.id] = stored
    return answer(_file(stored))


def _stored(call: Call) -> StoredFile:
    wanted = _tail(call, 1)
    if (call.vendor, wanted) in call.store.files:
        return call.store.files[call.vendor, wanted]
    if wanted.startswith(SEEDED):
        content = f"模拟文件 {wanted} 的内容 📄".encode()
        return StoredFile(wanted, f"{wanted}.txt", "file-extract", len(content), content)
    raise Refusal(404, f"No such File object: {wanted}", param="id", code="not_found")


def files(call: Call, _dialect: Dialect) -> Answer:
    """`GET files`."""
    kept = [_file(item) for (vendor, _), item in call.store.files.items() if vendor == call.vendor]
    return answer({"object": "list", "data": kept, "has_more": False})


def file(call: Call, _dialect: Dialect) -> Answer:
    """`GET files/{id}`."""
    return answer(_file(_stored(call)))


def delete_file(call: Call, _dialect: Dialect) -> Answer:
    """`DELETE files/{id}`."""
    stored = _stored(call)
    call.store.files.pop((call.vendor, stored.id), None)
    return answer({"id": stored.id, "object": "file", "deleted": True})


def file_content(call: Call, dialect: Dialect) -> Answer:
    """`GET files/{id}/content`: the bytes, or JSON with the text where the vendor extracts it."""
    stored = _stored(call)
    if not dialect.file_content_json:
        return Whole(200, stored.content, "application/octet-stream")
    return answer(
        {
            "content": stored.content.decode(errors="replace"),
            "file_type": "text/plain",
            "filename": stored.name,
            "title": "",
            "type": "file",
        }
    )


def create_batch(call: Call, _dialect: Dialect) -> Answer:
    """`POST batches`."""
    body = call.json()
    for name in ("input_file_id", "endpoint", "completion_window"):
        if not isinstance(body.get(name), str):
            raise bad(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    batch = {
        "id": f"batch_{call.request_id}",
        "object": "batch",
        "endpoint": body["endpoint"],
        "input_file_id": body["input_file_id"],
        "completion_window": body["completion_window"],
        "status": "validating",
        "created_at": CREATED,
        "metadata": body.get("metadata"),
    }
    call.store.batches[call.vendor, str(batch["id"])] = batch
    return answer(batch)


def batches(call: Call, _dialect: Dialect) -> Answer:
    """`GET batches`."""
    kept = [item for (vendor, _), item in call.store.batches.items() if vendor == call.vendor]
    return answer({"object": "list", "data": kept, "has_more": False})


def batch(call: Call, _dialect: Dialect) -> Answer:
    """`GET batches/{id}` and `POST batches/{id}/cancel`."""
    found = call.store.batches.get((call.vendor, _tail(call, 1)))
    if found is None:
        raise Refusal(404, f"No batch found with id '{_tail(call, 1)}'.", code="not_found")
    if call.method == "POST":
        found["status"] = "cancelling"
    return answer(found)


def speech(call: Call, dialect: Dialect) -> Answer:
    """`POST audio/speech`: binary."""
    body = call.json()
    model_of(body, dialect)
    if not isinstance(body.get("input"), str) or not isinstance(body.get("voice"), str | dict):
        raise bad("'input' and 'voice' are required", "input")
    call.heed(body["input"])
    said = MARKER.sub("", body["input"]).encode()
    return Whole(200, b"ID3\x04\x00\xff\xfe" + hashlib.sha256(said).digest() * 64, "audio/mpeg")


def transcriptions(call: Call, _dialect: Dialect) -> Answer:
    """`POST audio/transcriptions` and `audio/translations`, multipart with `file` and `model`."""
    form = multipart.read(call)
    if form.file is None or not form.fields.get("model"):
        raise bad("'file' and 'model' are required", "file")
    return answer({"text": f"（模拟转写）收到 {form.file.name}，{form.file.size} 字节 🎧"})


def moderations(call: Call, _dialect: Dialect) -> Answer:
    """`POST moderations`."""
    body = call.json()
    given = body.get("input")
    if not isinstance(given, str | list) or not given:
        raise bad("Missing required parameter: 'input'.", "input")
    call.heed(str(given))
    names = ("harassment", "hate", "self-harm", "sexual", "violence")
    result = {
        "flagged": False,
        "categories": dict.fromkeys(names, False),
        "category_scores": dict.fromkeys(names, 0.0),
    }
    rows = [result for _ in (given if isinstance(given, list) else [given])]
    return answer(
        {
            "id": f"modr-{call.request_id}",
            "model": body.get("model", "omni-moderation-latest"),
            "results": rows,
        }
    )


def images(call: Call, _dialect: Dialect) -> Answer:
    """`POST images/generations`."""
    body = call.json()
    if not isinstance(body.get("prompt"), str) or not body["prompt"]:
        raise bad("Missing required parameter: 'prompt'.", "prompt", "missing_required_parameter")
    call.heed(body["prompt"])
    return answer({"created": CREATED, "data": [{"b64_json": PIXEL} for _ in range(body.get("n") or 1)]})
