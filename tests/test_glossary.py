"""The glossary names keys, options and commands that exist, and says where each term appears."""

from __future__ import annotations

import re
from pathlib import Path

from pimc.cli.registry import commands

DOCS = Path(__file__).resolve().parents[1] / "docs"
GLOSSARY = (DOCS / "glossary.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^### (.+)\n\n((?:(?!#).*\n?)*)", GLOSSARY, re.MULTILINE))
#: What a newcomer from the field, or to it, looks for.
STANDARD = {
    "Wordline", "Bitline", "Differential pair", "Write-verify", "IR drop", "ADC range",
    "Stuck-at fault", "Read noise", "Retention", "Programming error", "Bit slicing",
    "Noise-aware training", "Distillation",
}  # fmt: skip


def test_the_standard_terms_are_there() -> None:
    assert set(ENTRIES) >= STANDARD


def test_every_entry_is_short_and_says_where_the_term_appears() -> None:
    for term, text in ENTRIES.items():
        meaning, _, where = text.partition("*Appears in:*")
        assert where.strip(), term
        assert 1 <= len(re.findall(r"[.?](?:\s|$)", meaning)) <= 3, term


def test_keys_options_and_commands_exist() -> None:
    chip = (DOCS / "chip.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"^\| `([\w.]+)` \|", chip, re.MULTILINE))
    options = set(re.findall(r"`(--[a-z-]+)", (DOCS / "commands.md").read_text(encoding="utf-8")))
    sections = {key.partition(".")[0] for key in keys if "." in key}
    named = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)", GLOSSARY))
    ours = {name for name in named if name.partition(".")[0] in sections}
    assert len(ours) >= 15
    assert {name for name in ours if not any(key.startswith(name) for key in keys)} == set()
    assert set(re.findall(r"(--[a-z]+(?:-[a-z]+)*)", GLOSSARY)) <= options
    assert set(re.findall(r"`pimc ([a-z]+)", GLOSSARY)) <= set(commands())
