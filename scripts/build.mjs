// npm run build: packages, addon and facade, without running anything.

import { failWith } from './lib/run.mjs';
import { addonFile, ensureBuilt, say } from './lib/steps.mjs';

try {
  await ensureBuilt();
  say(`built: dist/ and ${addonFile()}`);
} catch (error) {
  failWith(error);
}
