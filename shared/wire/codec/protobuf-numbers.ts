import protobuf from 'protobufjs/minimal.js';

/**
 * Makes 64-bit fields plain numbers. Import it before generated code, from a module of its own: imports are hoisted.
 *
 * protobufjs finds the `long` package by itself and would decode to its objects whatever the generated types say.
 * Values above 2^53 would be rounded silently; the codec refuses them, and identifiers travel as strings.
 */
(protobuf.util as { Long: unknown }).Long = undefined;
protobuf.configure();
