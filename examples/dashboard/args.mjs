// Command line of the dashboard.
//
// Owns: what `npm start -- …` may say, and the one line a person reads when it says something else.
// Never: starts anything, prints anything, exits. It returns options or throws a UsageError.

export class UsageError extends Error {
  name = 'UsageError';
}

export const DEFAULT_PORT = 8080;

export const USAGE = `usage: npm start -- [--port N]     N: 1-65535, or 0 for any free port (default ${DEFAULT_PORT})`;

/** @param {string[]} argv  the arguments after the script's name */
export function parseArgs(argv) {
  const options = { port: DEFAULT_PORT, help: false };
  for (let i = 0; i < argv.length; i++) {
    const [name, inline] = splitOnce(argv[i]);
    if (name === '--help' || name === '-h') options.help = true;
    else if (name === '--port' || name === '-p') options.port = parsePort(inline ?? argv[++i]);
    else throw new UsageError(`unknown argument ${JSON.stringify(argv[i])}; ${USAGE}`);
  }
  return options;
}

function splitOnce(argument) {
  const at = argument.indexOf('=');
  return at === -1 ? [argument, undefined] : [argument.slice(0, at), argument.slice(at + 1)];
}

function parsePort(text) {
  if (text === undefined) throw new UsageError(`--port needs a number; ${USAGE}`);
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65535) {
    throw new UsageError(`--port must be a whole number from 0 to 65535, not ${JSON.stringify(text)}`);
  }
  return Number(text);
}
