/** Something that goes wrong, or that a person does, at a moment after the start. */
export interface Fault {
  readonly at: number;
  readonly what: string;
  readonly act: () => void;
}
