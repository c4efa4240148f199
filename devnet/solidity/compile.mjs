// Compile Solidity standard JSON from stdin with the compiler at argv[2]; every source is in the input.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const soljson = createRequire(import.meta.url)(process.argv[2]);
const compile = soljson.cwrap("solidity_compile", "string", ["string", "number", "number"]);
process.stdout.write(compile(readFileSync(0, "utf8"), 0, 0));
