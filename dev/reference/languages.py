"""Writes crates/meno-train/src/rewards/languages.txt: which scripts the languages of the world are written in.

    npm pack cldr-core@48.2.0 && tar xzf cldr-core-48.2.0.tgz
    python3 dev/reference/languages.py package > crates/meno-train/src/rewards/languages.txt

The data are Unicode's CLDR (Unicode License V3). A language has the scripts that `languageData` calls customary, and the
one that `likelySubtags` expects; a region that changes the expected script has a line (`pa-pk`). The other codes of a
language (`zho`, `chi` and `cmn` for `zh`) come from `aliases`.
"""

import json
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

package = Path(sys.argv[1])


def read(name):
    return json.loads((package / f"{name}.json").read_text())


def supplemental(name, *keys):
    value = read(f"supplemental/{name}")["supplemental"]
    for key in keys:
        value = value[key]
    return value


# ISO 15924 has codes for ways of writing; Unicode's Script property knows the scripts they are made of. Korean is
# Hangul alone: with Han among its scripts, an answer in Chinese would count as Korean.
PARTS = {
    "Hans": ["Hani"], "Hant": ["Hani"], "Hanb": ["Hani", "Bopo"], "Jpan": ["Hani", "Hira", "Kana"],
    "Kore": ["Hang"], "Hrkt": ["Hira", "Kana"], "Latf": ["Latn"], "Latg": ["Latn"], "Aran": ["Arab"],
    "Cyrs": ["Cyrl"], "Geok": ["Geor"],
}
# Signs that are drawn, or scripts that Unicode does not encode.
NOT_ENCODED = {"Zxxx", "Zyyy", "Zzzz", "Sgnw", "Kits"}

likely = supplemental("likelySubtags", "likelySubtags")
data = supplemental("languageData", "languageData")
aliases = supplemental("aliases", "metadata", "alias", "languageAlias")


def scripts_of(codes):
    parts = {part for code in codes if code not in NOT_ENCODED for part in PARTS.get(code, [code])}
    return tuple(sorted(parts))


scripts = {}
for code, full in likely.items():
    subtags = code.split("-")
    if subtags[0] == "und" or not (2 <= len(subtags[0]) <= 3):
        continue
    expected = full.split("-")[1]
    if len(subtags) == 1:
        customary = data.get(code, {}).get("_scripts", [])
        scripts[code] = scripts_of([expected, *customary])
for code, entry in data.items():
    if "-" not in code and code not in scripts and code != "und":
        scripts[code] = scripts_of(entry.get("_scripts", []))
for code, full in likely.items():
    subtags = code.split("-")
    if len(subtags) == 2 and subtags[0] in scripts and len(subtags[1]) in (2, 3):
        own = scripts_of([full.split("-")[1]])
        if own and own != scripts[subtags[0]]:
            scripts[code] = own
for code, entry in aliases.items():
    target = entry["_replacement"].split(" ")[0].split("-")
    if "-" in code or code in scripts or target[0] not in scripts:
        continue
    named = [part for part in target[1:] if len(part) == 4]
    scripts[code] = scripts_of(named) if named else scripts[target[0]]

groups = defaultdict(list)
for code, own in scripts.items():
    if own:
        groups[own].append(code.lower())

version = supplemental("likelySubtags", "version", "_cldrVersion")
print(f"# Languages by the scripts they are written in: CLDR {version}, by dev/reference/languages.py.")
print("# Copyright © 1991-2025 Unicode, Inc. Unicode License V3: https://www.unicode.org/license.txt")
for own in sorted(groups, key=lambda g: (len(g), g)):
    print(f"{' '.join(own)}:")
    codes = sorted(groups[own], key=lambda c: (len(c.split('-')[0]), c))
    print(textwrap.fill(" ".join(codes), 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))

# Scripts in which a line may be broken between any two letters: each letter counts as a word, since words are not marked.
metadata = read("scriptMetadata")["scriptMetadata"]
unspaced = scripts_of(code for code, m in metadata.items() if m.get("lbLetters") == "YES" and code != "Tayo")
print(f"unspaced: {' '.join(unspaced)}", file=sys.stderr)
