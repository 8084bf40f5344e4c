"""Finding this package's models on a Hub by the library that their cards name."""

from __future__ import annotations

import json

from hub_client import Client
from small_hub import small_hub
from small_networks import small

from mots_pretrained.cli import DONE, FAILED
from mots_pretrained.weights.card import model_card


def test_repositories_of_this_library_are_listed(tmp_path):
    with small_hub() as hub:
        hub.add("org/net", {"README.md": model_card(small()).encode()})
        hub.add("org/mine", {"README.md": model_card(small("segmenter")).encode()}, private=True)
        hub.add("org/others", {"README.md": b"---\nlibrary_name: timm\n---\n"})
        hub.add("org/bare", {"config.json": b"{}"})
        client = Client(tmp_path / "a", HF_ENDPOINT=hub.address, HF_TOKEN="reader")
        offline = Client(tmp_path / "b", HF_ENDPOINT=hub.address, HF_HUB_OFFLINE="1")

        def asked(client: Client, *words: str) -> tuple[int, str, str]:
            return tuple(
                client.ask("command", "models", words=["search", *words])["value"].values()
            )

        status, out, _ = asked(client, "--json")
        found = {each["name"]: each["architecture"] for each in json.loads(out)["models"]}
        assert status == DONE
        assert found == {"org/net": "transdodnet", "org/mine": "segmenter"}
        status, out, _ = asked(client, "min")
        assert out.splitlines() == [
            "org/mine  segmenter, 3 downloads",
            "1 on the Hub; load one with: mots_pretrained.load(NAME)",
        ]
        before = len(hub.requests)
        status, _, err = asked(offline)
        assert (status, err.count("\n"), len(hub.requests)) == (FAILED, 1, before)
        assert "HF_HUB_OFFLINE is set" in err
        client.close()
        offline.close()


def test_a_hub_that_fails_is_told(tmp_path):
    with small_hub() as hub:
        hub.broken = True
        client = Client(tmp_path, HF_ENDPOINT=hub.address)
        told = client.ask("command", "models", words=["search"])["value"]
        client.close()
    *tries, last = told["err"].splitlines()
    assert told["status"] == FAILED
    assert last.startswith("failed: ConnectionError: the Hub failed to send the search")
    assert all(line.startswith(("HTTP Error 500", "Retrying in")) for line in tries)
