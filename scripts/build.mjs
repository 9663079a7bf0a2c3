// npm run build: packages, addon and facade, without running anything.

import { failWith } from './lib/run.mjs';
import { ensureBuilt, say } from './lib/steps.mjs';

try {
  const { file } = await ensureBuilt();
  say(`built: dist/ and ${file}`);
} catch (error) {
  failWith(error);
}
