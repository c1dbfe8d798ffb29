"""How the parts of an Office package point at each other."""

import posixpath

from actors.ingest.formats.package import Element, Package, local

_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def relations(package: Package, part: str) -> dict[str, tuple[str, str]]:
    """Relation id -> (kind, part it points at), for one part; pointers out of the package are left out."""
    folder, name = posixpath.split(part)
    root = package.optional(f"{folder}/_rels/{name}.rels")
    found: dict[str, tuple[str, str]] = {}
    for relation in () if root is None else root:
        if relation.get("TargetMode") == "External" or not relation.get("Target"):
            continue
        target = relation.get("Target")
        path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
        found[relation.get("Id") or ""] = ((relation.get("Type") or "").rpartition("/")[2], path)
    return found


def relation_id(element: Element) -> str:
    """The id of the relation that an element names."""
    return element.get(_ID) or ""


def package_title(package: Package) -> str | None:
    """What an Office file calls itself."""
    core = package.optional("docProps/core.xml")
    return None if core is None else next((e.text for e in core if local(e) == "title"), None)
