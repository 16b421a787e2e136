import processOnSpawn from 'process-on-spawn';

/**
 * Loaded into every test file (.taprc). tap has each Node program that a test starts load what records coverage. None
 * is recorded here, and `berth` would take nearly three times the CPU to start.
 */
processOnSpawn.addListener(({ env }) => {
  delete env.NODE_OPTIONS;
});
