"""Cut LiteLLM's public table of prices down to our vendors: `pip download --no-deps litellm`, then
`python -m tools.prices litellm-VERSION-….whl`. Writes extproc/config/litellm_prices.json and its licence beside it.
"""

import json
from pathlib import Path
import sys
import zipfile

from extproc.config.pricing import KEPT, vendor_of

FOLDER = Path(__file__).parents[1] / "extproc" / "config"


def main(wheel: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        version = Path(wheel).name.split("-")[1]
        table = json.loads(archive.read("litellm/model_prices_and_context_window_backup.json"))
        licence = archive.read(f"litellm-{version}.dist-info/licenses/LICENSE")
    kept = {
        name: {member: value for member, value in entry.items() if KEPT.fullmatch(member)}
        for name, entry in table.items()
        if vendor_of(entry) is not None
    }
    kept = {name: entry for name, entry in kept.items() if len(entry) > 1}
    about = {"source": f"litellm {version}", "licence": "MIT, see litellm_prices.LICENSE"}
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in [("_about", about), *sorted(kept.items())]]
    FOLDER.joinpath("litellm_prices.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    FOLDER.joinpath("litellm_prices.LICENSE").write_bytes(licence)
    print(f"{len(kept)} models of litellm {version}")


if __name__ == "__main__":
    main(sys.argv[1])
