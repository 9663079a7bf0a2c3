// npm run build:addon -- PROFILE [flags of `napi build`]: the addon alone, for the release. The border must be the
// committed one.

import { buildAddon } from './lib/addon.mjs';
import { failWith } from './lib/run.mjs';
import { checkRust, say } from './lib/steps.mjs';

try {
  const [profile, ...flags] = process.argv.slice(2);
  checkRust();
  const { file } = await buildAddon({ profile, flags, write: false });
  say(`built: ${file}`);
} catch (error) {
  failWith(error);
}
