// npm start: installs and builds what is missing, then runs the dashboard in this process, so that Ctrl-C and the
// exit code are the dashboard's own.

import { parseArgs, USAGE } from '../examples/dashboard/args.mjs';
import { failWith, Problem } from './lib/run.mjs';
import { ensureBuilt } from './lib/steps.mjs';

/** A wrong argument should not wait for a build. */
function checkArgs() {
  try {
    return parseArgs(process.argv.slice(2));
  } catch (error) {
    throw new Problem(error.message);
  }
}

try {
  if (checkArgs().help) console.log(USAGE);
  else {
    await ensureBuilt();
    await import('../examples/dashboard/server.mjs');
  }
} catch (error) {
  failWith(error);
}
