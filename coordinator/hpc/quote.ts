/** One word of a POSIX shell, whatever is in it but NUL, which no program can receive. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A command of a POSIX shell that runs exactly this argument vector. */
export function quoteArgv(argv: readonly string[]): string {
  return argv.map(quote).join(' ');
}
