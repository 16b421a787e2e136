/** A folder that the node's operator lets tasks mount. */
export interface NodeVolume {
  readonly name: string;
  readonly writable: boolean;
  readonly place:
    | FolderPlace
    | NetworkPlace
    /** Memory, made anew for each attempt. */
    | { readonly kind: 'tmpfs'; readonly sizeMiB: number };
}

export interface FolderPlace {
  readonly kind: 'folder';
  readonly path: string;
  /** It is a mount point, and empty of meaning while nothing is mounted there. */
  readonly mustBeMounted: boolean;
}

/** A folder of another machine. */
export interface NetworkPlace {
  readonly kind: 'network';
  readonly protocol: 'nfs' | 'smb';
  /** `server:/export` or `//server/share`. */
  readonly source: string;
  /** For mount(8), besides ours. */
  readonly options: readonly string[];
  /** Of SMB: a file of `username=` and `password=` that nobody else can read; null for a guest. */
  readonly credentialsFile: string | null;
}
