/** Who holds the secrets. Changes are on disk when their promise resolves. */
export interface SecretKeeper {
  list(): readonly SecretEntry[];
  set(secret: SecretName & { readonly value: Uint8Array; readonly by: string }): Promise<void>;
  /** False when there was none. */
  remove(secret: SecretName): Promise<boolean>;
  /** How many were sealed under the new key. */
  rotateKey(): Promise<number>;
}

export interface SecretName {
  readonly namespace: string;
  readonly name: string;
}

interface SecretEntry extends SecretName {
  readonly setAt: number;
  readonly setBy: string;
}
