"""Whether a folder can hold SQLite: its locks and its shared memory file need a local disk."""

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")

# Types as the kernel names them. 9p and virtiofs are shares of a host: their locks and mmap don't reach every opener.
NETWORK_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "glusterfs", "lustre", "afs", "ncpfs", "davfs", "sshfs"}
    | {"fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "fuse.ceph", "fuse.davfs", "fuse.gcsfuse", "ocfs2", "gfs2"}
)


def _unescape(field: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, letter)
    return field


def mount_of(path: str, mounts: str) -> tuple[str, str] | None:
    """The deepest mount above `path` and its file system's type, from the text of /proc/mounts."""
    found: tuple[str, str] | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescape(fields[1])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and (found is None or len(point) >= len(found[0])):  # a later mount on the same point hides the earlier
            found = (point, fields[2])
    return found


def type_of(path: str, mounts: str) -> str | None:
    """The file system type of the deepest mount above `path`, from the text of /proc/mounts."""
    found = mount_of(path, mounts)
    return None if found is None else found[1]


def place_of(path: Path | str, mounts: Path | None = None) -> tuple[str, str] | None:
    """The mount point and the file system type that `path` is (or would be) on; None where nobody can tell."""
    try:
        text = (mounts or MOUNTS).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    return mount_of(str(Path(path).resolve()), text)


def network_filesystem(path: Path | str, mounts: Path | None = None) -> str | None:
    """The type of the network file system that `path` is (or would be) on, None on a local one or where nobody can tell."""
    place = place_of(path, mounts)
    return place[1] if place is not None and place[1] in NETWORK_TYPES else None
