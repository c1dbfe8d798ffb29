/** All files of a drop, those in folders too; null for what the browser could not read. */

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

type Found = File | null;

async function inFolder(entry: FileSystemDirectoryEntry): Promise<Found[]> {
  const reader = entry.createReader();
  const found: Found[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject)); // 100 at most a call
    if (some.length === 0) return found;
    for (const child of some) found.push(...(await filesOf(child)));
  }
}

async function filesOf(entry: FileSystemEntry): Promise<Found[]> {
  try {
    if (entry.isFile) return [await fileOf(entry as FileSystemFileEntry)];
    return entry.isDirectory ? await inFolder(entry as FileSystemDirectoryEntry) : [];
  } catch {
    return [null]; // one that is locked or gone does not take the others with it
  }
}

export async function droppedFiles(transfer: DataTransfer): Promise<Found[]> {
  // entries must be taken before the first await: the list is emptied when the event ends
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (entries.length === 0) return Array.from(transfer.files);
  return (await Promise.all(entries.map(filesOf))).flat();
}
