import type { Reply } from "../support/token-server.js";
import type { Row, Trial } from "./row.js";
import { inTurn, misbehaviour, onScene, type Scene } from "./scene.js";

const PAGE = "<html><body>Access denied</body></html>";

/** What the endpoint does with the first request. Without a status it has rotated the token before that. */
const FAULTS: Readonly<Record<string, Reply>> = {
  "the connection reset, nothing rotated": { fault: "reset", status: 200 },
  "the connection reset after the rotation": { fault: "reset" },
  "the whole answer, then a reset": { fault: "whole-body-reset" },
  "the whole answer, then the end before the promised length": { fault: "whole-body-end" },
  "half of the answer, then a reset": { fault: "half-body-reset" },
  "an answer without an end": { fault: "endless", status: 200 },
  "an answer after five seconds": { delayMs: 5_000 },
  "a redirect (307)": { status: 307, headers: { location: "/elsewhere" } },
  "a proxy's page (403)": { status: 403, body: PAGE, headers: { "content-type": "text/html" } },
  "429 with Retry-After": { status: 429, headers: { "retry-after": "1" } },
  "500": { status: 500, body: PAGE },
  "502": { status: 502, body: PAGE },
  "503 with Retry-After": { status: 503, headers: { "retry-after": "1" } },
};

function serverRow(name: string, reply: Reply): Row {
  const trial = async (scene: Scene): Promise<Trial> => {
    scene.server.script(reply);
    const result = await scene.run();
    return await scene.judge(`${name}: exit ${result.code}`, misbehaviour(result));
  };
  return {
    name: `the endpoint: ${name}`,
    needs: [],
    isComparable: true,
    run: async (subject, depth) =>
      await inTurn(Array.from({ length: depth === "full" ? 4 : 1 }, () => () => onScene(subject, trial))),
  };
}

export const SERVER_ROWS: readonly Row[] = Object.entries(FAULTS).map(([name, reply]) => serverRow(name, reply));
