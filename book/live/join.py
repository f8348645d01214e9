"""ES modules joined into one script, which a page can hold: it needs no loader and no other file.

`python book/live/join.py book/live/js/NAME.js` prints it. It needs the standard library alone.
"""

import re
import sys
from pathlib import Path

IMPORT = re.compile(r'^import \{\s*([^}]+?),?\s*\} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?function\*?|const|let|class) (\w+)", re.MULTILINE)
OTHER = re.compile(r"^\s*(?:import|export)\b.*|\bimport\(.*", re.MULTILINE)
COMMENT = re.compile(r"^\s*//.*\n|/\*\*(?s:.*?)\*/\s*", re.MULTILINE)
INDENT = re.compile(r"^ +", re.MULTILINE)


def join(entry: Path | str) -> str:
    """Give one script that does what a module does, and whose value is what the module exports.

    Each module becomes a function that is called once, after those it imports: their names stay
    apart. Comments and indents are left out, so no string may go over a line. Modules may use named
    imports from their own folder (`import { a, b as c } from "./name.js";`) and exports of
    declarations, all at the start of a line.

    Raises:
        ValueError: another kind of import or export, or a name that a module does not export.
        FileNotFoundError: a module that is not there.
    """
    exports: dict[str, list[str]] = {}
    parts: list[str] = []

    def add(path: Path) -> None:
        if path.stem in exports:
            return
        text = INDENT.sub("", COMMENT.sub("", path.read_text(encoding="utf-8")))
        exports[path.stem] = [match[2] for match in EXPORT.finditer(text)]
        for match in IMPORT.finditer(text):
            add(path.with_name(f"{match[2]}.js"))
            wanted = {name.split()[0] for name in match[1].split(",")}
            if unknown := sorted(wanted - {*exports[match[2]]}):
                raise ValueError(f"{path.name}: {match[2]}.js exports no {', '.join(unknown)}")
        body = EXPORT.sub(r"\1 \2", IMPORT.sub(_as_constants, text))
        if left := OTHER.search(body):
            raise ValueError(f"{path.name}: cannot join {left[0].strip()!r}")
        names = ", ".join(exports[path.stem])
        parts.append(f"const {path.stem}_js = (() => {{\n{body}return {{ {names} }};\n}})();\n")

    add(Path(entry))
    return f'(() => {{\n"use strict";\n{"".join(parts)}return {Path(entry).stem}_js;\n}})()'


def _as_constants(match: re.Match[str]) -> str:
    names = " ".join(match[1].replace(" as ", ": ").split())
    return f"const {{ {names} }} = {match[2]}_js;\n"


if __name__ == "__main__":
    print(join(sys.argv[1]))
